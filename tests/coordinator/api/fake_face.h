// A coordinator that keeps jobs in a map and remembers what it was asked.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "coordinator/service/face.h"

namespace trireme::coordinator::api {

class FakeFace final : public service::Face {
 public:
  using Outcome = service::SubmitAnswer::Outcome;

  service::SubmitAnswer submit(const std::string& spec, const std::string& key) override {
    const std::lock_guard lock(mutex_);
    ++submits;
    if (spec.find("\"bad\"") != std::string::npos)
      return {
          Outcome::kInvalid, "", "", {{"/bad", "unknown_key", "unknown key 'bad'", "did you mean 'name'?"}}};
    if (!key.empty() && keys_.count(key) != 0) {
      const auto& [id, body] = keys_[key];
      return {body == spec ? Outcome::kSameAsBefore : Outcome::kKeyReused, id, document(id), {}};
    }
    const std::string id = "job-" + std::to_string(states_.size() + 1);
    states_[id] = "QUEUED";
    if (!key.empty()) keys_[key] = {id, spec};
    return {Outcome::kCreated, id, document(id), {}};
  }
  std::string plan(const std::string&, std::vector<jobs::SpecFault>&) override {
    held.wait(true);
    return "{\"plan\":{}}";
  }
  std::string list_jobs(const std::string& state, std::int64_t limit, const std::string& token) override {
    return "{\"jobs\":[],\"state\":\"" + state + "\",\"limit\":" + std::to_string(limit) + ",\"token\":\"" +
           token + "\"}";
  }
  std::string describe(const std::string& id) override {
    if (id == "job-slow") held.wait(true);
    const std::lock_guard lock(mutex_);
    if (failure) throw Error(*failure, "the coordinator says no");
    return document(id);
  }
  std::string spec(const std::string& id) override { return describe(id); }
  std::string events(const std::string& id, std::uint64_t after, std::int64_t) override {
    describe(id);
    return "{\"events\":[],\"after\":" + std::to_string(after) + "}";
  }
  std::string cancel(const std::string& id) override {
    const std::lock_guard lock(mutex_);
    document(id);
    states_[id] = "CANCELLED";
    return document(id);
  }
  std::string report(const std::string& id) override {
    describe(id);
    return report_file;
  }
  std::string service_discovery() override { return "[]"; }
  bool ready(std::string& reasons) override {
    if (!is_ready) reasons = "no worker yet";
    return is_ready;
  }

  void set_state(const std::string& id, const std::string& state) {
    const std::lock_guard lock(mutex_);
    states_[id] = state;
  }
  std::size_t jobs() {
    const std::lock_guard lock(mutex_);
    return states_.size();
  }

  // While true, plans and whoever asks for job-slow wait.
  std::atomic<bool> held{false};
  void let_go() {
    held = false;
    held.notify_all();
  }
  std::atomic<int> submits{0};
  std::atomic<bool> is_ready{true};
  std::optional<ErrorKind> failure;
  std::string report_file;

 private:
  std::string document(const std::string& id) {
    if (states_.count(id) == 0) throw Error(ErrorKind::kNotFound, "there is no job " + id);
    return "{\"id\":\"" + id + "\",\"state\":\"" + states_[id] + "\"}";
  }
  std::mutex mutex_;
  std::map<std::string, std::string> states_;
  std::map<std::string, std::pair<std::string, std::string>> keys_;
};

}  // namespace trireme::coordinator::api
