#include "worker/stages/train/state/step_log.h"

#include <nlohmann/json.hpp>

#include "common/io/folder.h"

namespace trireme::worker::stages::train {
namespace {

// The lines whose steps are 1 … last, one each; the first of two rows of a step.
std::string rows_up_to(const std::string& text, std::int64_t last) {
  std::string kept;
  std::int64_t next = 1;
  for (std::size_t at = 0; at < text.size() && next <= last;) {
    const auto end = text.find('\n', at);
    if (end == std::string::npos) break;  // torn
    const auto line = text.substr(at, end - at);
    at = end + 1;
    const auto row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!row.is_object() || !row.contains("step") || row["step"] != next) continue;
    kept += line + "\n";
    ++next;
  }
  return kept;
}

}  // namespace

StepLog::StepLog(const io::Path& path, std::int64_t resumed_step) {
  const std::string before = io::exists(path) ? io::read_file(path) : "";
  io::write_file_atomic(path, rows_up_to(before, resumed_step));
  lines_ = std::make_unique<io::LineAppender>(path);
}

void StepLog::append(const StepRow& row) {
  nlohmann::ordered_json json{{"step", row.step},
                              {"epoch", row.epoch},
                              {"loss", row.loss},
                              {"learning_rate", row.learning_rate},
                              {"logit_scale", row.logit_scale},
                              {"gradient_norm", row.gradient_norm},
                              {"samples", row.samples},
                              {"live", row.live},
                              {"seconds", row.seconds},
                              {"data_wait_seconds", row.data_wait_seconds},
                              {"order_hash", row.order_hash}};
  for (const auto& [part, value] : row.parts) json["parts"][part] = value;
  for (const auto& [gate, value] : row.gates) json["gates"][gate] = value;
  if (row.skipped) json["skipped"] = true;
  if (row.non_finite) json["non_finite"] = true;
  if (row.rolled_back_to >= 0) json["rolled_back_to"] = row.rolled_back_to;
  if (!row.evaluation.empty()) json["evaluation"] = nlohmann::ordered_json::parse(row.evaluation);
  lines_->append(json.dump());  // a number that is not finite becomes null
}

}  // namespace trireme::worker::stages::train
