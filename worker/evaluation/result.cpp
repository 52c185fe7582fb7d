#include "worker/evaluation/result.h"

#include <cmath>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/nearest_name.h"

namespace trireme::worker::evaluation {
namespace {

nlohmann::ordered_json json_of(const Metrics& metrics) {
  auto json = nlohmann::ordered_json::object();
  for (const auto& [name, value] : metrics) {
    json[name] = std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
  }
  return json;
}

std::string dumped(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

double metric(const Metrics& metrics, const std::string& name) {
  std::vector<std::string> known;
  for (const auto& [key, value] : metrics) {
    if (key == name) return value;
    known.push_back(key);
  }
  const std::string nearest = nearest_name(name, known);
  throw Error(ErrorKind::kNotFound, "this evaluation has no metric '" + name + "'",
              nearest.empty() ? "" : "did you mean '" + nearest + "'?");
}

std::string to_json(const EvaluationResult& result) {
  nlohmann::ordered_json json;
  json["dataset"] = result.dataset;
  json["model"] = result.model;
  json["pretrained"] = result.pretrained;
  json["task"] = result.task;
  json["metrics"] = json_of(result.metrics);
  json["language"] = result.language;
  if (!result.chance.empty()) json["chance"] = json_of(result.chance);
  for (const auto& [name, count] : result.counts) json["counts"][name] = count;
  if (!result.rules.empty()) json["rules"] = result.rules;
  return dumped(json);
}

std::string to_json(const Metrics& metrics) {
  return dumped(json_of(metrics));
}

}  // namespace trireme::worker::evaluation
