// Messages with random content, for round trips and mutation.
#pragma once

#include "common/base/random.h"
#include "jobs/protocol/messages.h"

namespace trireme::jobs::test {

class RandomMessages {
 public:
  explicit RandomMessages(std::uint64_t seed) : random_(seed, RandomPurpose::kTest) {}
  Envelope envelope(std::size_t type) {
    Envelope out{random_.next_u64(), {random_.next_u64()}, {}};
    out.message = message(type);
    return out;
  }
  Message message(std::size_t type);
  Task task();
  InputFile input();
  ShardRef shard();
  ShardSummary summary();

 private:
  std::string text();  // any bytes: UTF-8, quotes, zeros, stray bytes
  std::string name();
  std::int64_t integer();
  double number();
  std::map<std::string, std::int64_t> counts();
  OutputFile output();
  template <class Make>
  auto list(Make make) {
    std::vector<decltype(make())> values(random_.below(4));
    for (auto& value : values) value = make();
    return values;
  }
  RandomStream random_;
};

inline std::string RandomMessages::text() {
  static const std::string kPieces[] = {"a",
                                        "\"",
                                        "\\",
                                        "\n",
                                        std::string(1, '\0'),
                                        "\xff",
                                        "\xc3\xa9",
                                        "\xed\xa0\x80",
                                        "\xf0\x9f\x9a\xa3",
                                        "/store/",
                                        "{}",
                                        "\xc3",
                                        "\xc0\x80",
                                        "\xf4\x90\x80\x80"};
  std::string out;
  for (auto n = random_.below(12); n > 0; --n) out += kPieces[random_.below(std::size(kPieces))];
  return out;
}
inline std::string RandomMessages::name() {
  return "count." + std::to_string(random_.below(1000));
}
inline std::int64_t RandomMessages::integer() {
  return static_cast<std::int64_t>(random_.next_u64() >> random_.below(64)) *
         (random_.below(2) == 0 ? 1 : -1);
}
inline double RandomMessages::number() {
  switch (random_.below(6)) {
    case 0:
      return std::numeric_limits<double>::infinity();
    case 1:
      return -std::numeric_limits<double>::infinity();
    case 2:
      return 3;
    default:
      return random_.normal() * 1e-3;
  }
}
inline std::map<std::string, std::int64_t> RandomMessages::counts() {
  std::map<std::string, std::int64_t> out;
  for (auto n = random_.below(5); n > 0; --n) out[name()] = integer();
  return out;
}
inline OutputFile RandomMessages::output() {
  return {text(), text(), random_.next_u64(), random_.next_u64()};
}
inline InputFile RandomMessages::input() {
  return {static_cast<Role>(random_.below(names_of(Role{}).size())),
          text(),
          text(),
          integer(),
          integer(),
          text(),
          random_.next_u64()};
}
inline ShardRef RandomMessages::shard() {
  return {text(),    integer(),
          text(),    static_cast<DataFormat>(random_.below(names_of(DataFormat{}).size())),
          integer(), random_.next_u64(),
          text(),    integer()};
}
inline ShardSummary RandomMessages::summary() {
  return {text(), integer(), integer(), random_.below(2) == 0, counts(), {}, counts(), text(), text()};
}
inline Task RandomMessages::task() {
  Task task;
  task.lease = {random_.next_u64()};
  task.kind = static_cast<TaskKind>(random_.below(std::size(kTasks)));
  for (std::string* member :
       {&task.job, &task.stage, &task.settings, &task.data, &task.model, &task.inputs_file, &task.address,
        &task.output, &task.stage_folder, &task.checkpoint_folder, &task.resume_from})
    *member = text();
  if (random_.below(2) == 0) task.shard = shard();
  task.device = static_cast<DevicePolicy>(random_.below(3));
  task.first = integer();
  task.count = integer();
  task.part = integer();
  task.parts = integer();
  task.inputs = list([&] { return input(); });
  task.members = list([&] { return static_cast<Rank>(random_.below(1000)); });
  task.checkpoint_every_steps = integer();
  task.checkpoint_every_seconds = number();
  return task;
}

inline Message RandomMessages::message(std::size_t type) {
  const LeaseId lease{random_.next_u64()};
  const bool flag = random_.below(2) == 0;
  switch (type) {
    case 0:
      return Hello{text(), integer(), integer(), text(), text(), integer()};
    case 1:
      return Heartbeat{random_.next_u64(), lease, integer(), integer(), random_.next_u64()};
    case 2:
      return StepReport{lease,    integer(), integer(), integer(), integer(), number(),
                        number(), number(),  number(),  number(),  text()};
    case 3:
      return TaskDone{lease, flag, list([&] { return output(); }), counts(), text(), number()};
    case 4:
      return TaskFailed{lease, static_cast<ErrorKind>(random_.below(11)), flag, text()};
    case 5:
      return CheckpointWritten{
          lease,  integer(), integer(), flag, number(), text(), list([&] { return output(); }),
          text(), number(),  number()};
    case 6:
      return Welcome{text(), text(), number(), number()};
    case 7:
      return Assign{task()};
    case 8:
      return Cancel{lease, flag, text()};
    case 9:
      return CheckpointCommitted{lease, integer()};
    case 10:
      return Ping{};
    default:
      return Leave{};
  }
}

}  // namespace trireme::jobs::test
