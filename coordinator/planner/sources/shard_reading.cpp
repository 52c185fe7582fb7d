#include "coordinator/planner/sources/shard_reading.h"

#include "common/base/error.h"

namespace trireme::coordinator::planner {

void check_shard_reading(const jobs::ShardRef& shard, const jobs::SourceSpec& source, const std::string& data,
                         std::int64_t classes, const jobs::ShardSummary& summary) {
  const auto count = [&](const char* what) {
    const auto found = summary.seen.find(what);
    return found == summary.seen.end() ? std::int64_t{0} : found->second;
  };
  const bool guessed =
      source.captions == jobs::CaptionForm::kAuto &&
      (shard.format == jobs::DataFormat::kFiles ||
       (shard.format == jobs::DataFormat::kWebdataset && source.wanted_layout() == jobs::DataFormat::kAuto));
  if (guessed && 2 * count("texts.lines") > count("texts"))
    throw Error(
        ErrorKind::kInvalid,
        "shard " + shard.path + " contradicts what the first texts of its source told: " +
            std::to_string(count("texts.lines")) + " of its " + std::to_string(count("texts")) +
            " texts have several lines, and the source was taken to have one caption per text",
        "set \"captions\" of the source: \"one\" (a text is a caption) or \"lines\" (each line is one)");
  if (classes > 0 && summary.labels && count("label.largest") >= classes)
    throw Error(ErrorKind::kInvalid,
                "shard " + shard.path + " has label " + std::to_string(count("label.largest")) +
                    ", but data set \"" + data + "\" has " + std::to_string(classes) +
                    " class names (labels count from 0)",
                "name all classes, in the order of their labels");
}

}  // namespace trireme::coordinator::planner
