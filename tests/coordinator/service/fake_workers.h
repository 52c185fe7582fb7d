// Workers without tensors, for the coordinator's tests: they answer every task at once with a result that is
// a pure function of it, leave real files where others read them, and train by counting steps.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "common/io/file.h"
#include "common/io/hash.h"
#include "common/mailbox/mailbox.h"
#include "jobs/protocol/device_lost.h"
#include "jobs/protocol/messages.h"

namespace trireme::coordinator::service {

struct FakeHabits {
  std::int64_t steps = 40;             // of a training
  std::int64_t checkpoint_every = 10;  // steps
  int step_milliseconds = 0;
  // Called with every task; what it returns (if anything) is sent instead of the result.
  std::function<std::optional<jobs::TaskFailed>(Rank, const jobs::Task&)> fail;
  // Called with every task: true when no answer comes until it is cancelled.
  std::function<bool(Rank, const jobs::Task&)> hold;
  std::function<bool(std::int64_t step)> fall_silent;  // all workers stop talking at that step
  bool members_leave_first = false;  // asked to checkpoint and stop, all but gang rank 0 answer at once
  std::int64_t member_fails_at = 0;  // at that step one gives up while gang rank 0 writes a checkpoint; once
  std::function<void(Rank, jobs::Hello&)> greet;  // changes what a worker says of itself
  std::set<std::int64_t> device_lost_at;  // at these steps the last member's device is lost, each once
};

class FakeWorkers {
 public:
  // mailboxes[1 …] are used.
  FakeWorkers(std::vector<std::unique_ptr<Mailbox>> mailboxes, FakeHabits habits)
      : mailboxes_(std::move(mailboxes)), habits_(std::move(habits)), thread_([this] { loop(); }) {}
  ~FakeWorkers() {
    {
      const std::lock_guard lock(mutex);
      stop_ = true;
    }
    stopped_.notify_all();
    thread_.join();
  }

  std::map<std::string, int> runs;        // stage/first/shard -> times a result was sent
  std::vector<std::string> resumed_from;  // of every gang, gang rank 0
  std::vector<std::vector<Rank>> gangs;
  std::vector<std::string> gang_outputs;
  std::vector<std::string> let_go;  // why tasks that were held were cancelled
  std::atomic<int> left{0};
  std::mutex mutex;

 private:
  struct Gang {
    jobs::Task task;
    std::int64_t step = 0, committed = -1;
    SteadyTime next{};
    bool checkpoint_and_stop = false, waiting = false;
  };

  jobs::Hello hello(Rank rank) const {
    jobs::Hello said{"host", 1, 1, "cpu", "test", 0};
    if (habits_.greet) habits_.greet(rank, said);
    return said;
  }

  void loop() {
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t rank = 1; rank < mailboxes_.size(); ++rank)
      send(static_cast<Rank>(rank), hello(static_cast<Rank>(rank)));
    auto beat = begin;
    while (!stop_) {
      for (std::size_t rank = 1; rank < mailboxes_.size(); ++rank)
        while (auto mail = mailboxes_[rank]->poll())
          receive(static_cast<Rank>(rank), jobs::decode(mail->bytes));
      if (gang_) train();
      const auto now = std::chrono::steady_clock::now();
      if (now - beat > std::chrono::milliseconds(20) && !silent_) {
        beat = now;
        for (std::size_t rank = 1; rank < mailboxes_.size(); ++rank) {
          const bool member = gang_ && std::count(gang_->task.members.begin(), gang_->task.members.end(),
                                                  static_cast<Rank>(rank)) > 0;
          const auto held = held_.find(static_cast<Rank>(rank));
          const LeaseId lease = member ? gang_->task.lease : held != held_.end() ? held->second : LeaseId{};
          send(static_cast<Rank>(rank), jobs::Heartbeat{++sequence_, lease, member ? gang_->step : 0, 0, 0});
        }
      }
      std::unique_lock lock(mutex);
      stopped_.wait_for(lock, std::chrono::microseconds(200), [this] { return stop_.load(); });
    }
  }

  void send(Rank from, jobs::Message message) {
    if (silent_) return;
    mailboxes_[static_cast<std::size_t>(from)]->send(0,
                                                     jobs::encode({run_, incarnation_, std::move(message)}));
  }

  void receive(Rank rank, const jobs::Envelope& envelope) {
    run_ = envelope.run;
    incarnation_ = envelope.incarnation;
    if (const auto* assign = std::get_if<jobs::Assign>(&envelope.message)) work(rank, assign->task);
    if (std::holds_alternative<jobs::Leave>(envelope.message)) ++left;
    if (const auto* done = std::get_if<jobs::CheckpointCommitted>(&envelope.message))
      if (gang_ && gang_->task.lease == done->lease) gang_->committed = done->step;
    if (const auto* cancel = std::get_if<jobs::Cancel>(&envelope.message)) {
      if (const auto held = held_.find(rank); held != held_.end() && held->second == cancel->lease) {
        held_.erase(held);
        {
          const std::lock_guard lock(mutex);
          let_go.push_back(cancel->reason);
        }
        return send(rank, jobs::TaskFailed{cancel->lease, ErrorKind::kCancelled, false, "cancelled"});
      }
      if (gang_ && gang_->task.lease == cancel->lease) {
        if (cancel->checkpoint_first) {
          gang_->checkpoint_and_stop = true;
          if (habits_.members_leave_first && rank != gang_->task.members.front())
            send(rank, jobs::TaskFailed{cancel->lease, ErrorKind::kCancelled, false, "stopped"});
        } else
          end_gang(jobs::TaskFailed{cancel->lease, ErrorKind::kCancelled, false, "cancelled"});
      }
    }
  }

  void work(Rank rank, const jobs::Task& task) {
    if (habits_.fail)
      if (auto failed = habits_.fail(rank, task)) {
        failed->lease = task.lease;
        return send(rank, *failed);
      }
    if (habits_.hold && habits_.hold(rank, task)) {
      held_[rank] = task.lease;
      return;
    }
    if (task.kind == jobs::TaskKind::kTrain) {
      if (task.members.front() != rank) return;
      const std::lock_guard lock(mutex);
      gang_ = Gang{task};
      gangs.push_back(task.members);
      resumed_from.push_back(task.resume_from);
      gang_outputs.push_back(task.output);
      if (!task.resume_from.empty())
        gang_->step = std::stoll(io::read_file(io::Path(task.resume_from) / "model.safetensors"));
      return;
    }
    jobs::TaskDone done;
    done.lease = task.lease;
    done.seconds = 0.001;
    std::string output = task.output + ".out";
    if (task.kind == jobs::TaskKind::kEvaluate) output = task.output + ".evaluation.json";
    if (task.kind == jobs::TaskKind::kIndex) {
      io::write_file_atomic(io::Path(task.output) / "items.jsonl", "{}\n", false);
      output = task.output;
    } else {
      io::write_file_atomic(output, R"({"acc1":0.5})", false);
    }
    done.outputs.push_back({"", output, 12, io::xxh3_64(task.address)});
    if (task.kind == jobs::TaskKind::kInspect) {
      jobs::ShardSummary summary;
      summary.sha256 = io::sha256_hex(io::Path(task.shard->path).filename().string());
      summary.samples = 600;
      done.summary = jobs::to_json(summary);
    }
    if (task.count > 0) done.counts = {{"in", task.count}, {"kept", task.count}};
    {
      const std::lock_guard lock(mutex);
      ++runs[task.stage + "/" + task.address];
    }
    send(rank, done);
  }

  void train() {
    Gang& gang = *gang_;
    const auto now = std::chrono::steady_clock::now();
    if (gang.waiting) {
      if (gang.committed < gang.step) return;
      return end_gang(
          jobs::TaskFailed{gang.task.lease, ErrorKind::kCancelled, false, "stopped at a checkpoint"});
    }
    if (now < gang.next) return;
    gang.next = now + std::chrono::milliseconds(habits_.step_milliseconds);
    ++gang.step;
    if (habits_.fall_silent && habits_.fall_silent(gang.step)) silent_ = true;
    send(gang.task.members.front(), jobs::StepReport{gang.task.lease, gang.step, habits_.steps, 0,
                                                     gang.step * 64, 1.0 / gang.step, 0.001});
    if (gang.step == habits_.member_fails_at) {
      habits_.member_fails_at = 0;
      send(gang.task.members.back(),
           jobs::TaskFailed{gang.task.lease, ErrorKind::kTryAgain, true, "no luck"});
      checkpoint();
      const auto answer = jobs::TaskFailed{gang.task.lease, ErrorKind::kCancelled, false, "cancelled"};
      send(gang.task.members.front(), answer);
      gang_.reset();
      return;
    }
    if (habits_.device_lost_at.erase(gang.step) > 0) {
      gang.waiting = true;  // for it, until they are cancelled
      return send(gang.task.members.back(), jobs::device_lost(gang.task.lease, "CUDA error: gone"));
    }
    if (gang.step % habits_.checkpoint_every == 0 || gang.checkpoint_and_stop) checkpoint();
    if (gang.checkpoint_and_stop) {
      gang.waiting = true;
      return;
    }
    if (gang.step < habits_.steps) return;
    jobs::TaskDone done;
    done.lease = gang.task.lease;
    io::write_file_atomic(io::Path(gang.task.output) / "model.safetensors", std::to_string(gang.step), false);
    done.outputs.push_back({"", gang.task.output + "/", 12, 3});
    end_gang(done);
  }

  void checkpoint() {
    const Gang& gang = *gang_;
    const io::Path folder = io::Path(gang.task.checkpoint_folder) /
                            (".tmp-" + std::to_string(gang.step) + "-" + std::to_string(incarnation_.value));
    const std::string bytes = std::to_string(gang.step);
    io::write_file_atomic(folder / "model.safetensors", bytes, false);
    jobs::CheckpointWritten written;
    written.lease = gang.task.lease;
    written.step = gang.step;
    written.folder = folder.string();
    written.files = {
        {"model.safetensors", (folder / "model.safetensors").string(), bytes.size(), io::xxh3_64(bytes)}};
    written.state = R"({"seed":1})";
    send(gang.task.members.front(), written);
  }

  // Every member answers, as real ones do.
  void end_gang(jobs::Message answer) {
    const auto members = gang_->task.members;
    gang_.reset();
    for (auto rank = members.rbegin(); rank != members.rend(); ++rank) send(*rank, answer);
  }

  std::vector<std::unique_ptr<Mailbox>> mailboxes_;
  FakeHabits habits_;
  std::optional<Gang> gang_;
  std::map<Rank, LeaseId> held_;
  std::uint64_t run_ = 0, sequence_ = 0;
  Incarnation incarnation_;
  bool silent_ = false;
  std::atomic<bool> stop_{false};
  std::condition_variable stopped_;
  std::thread thread_;
};

}  // namespace trireme::coordinator::service
