// Where published weights and vocabularies lie; the same rule as the worker's models.
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "common/base/error.h"
#include "common/base/nearest_name.h"
#include "coordinator/planner/listing.h"

namespace trireme::coordinator::planner {
namespace {

struct Published {
  std::string name, file;
};

std::string resolve(const std::string& given, const std::vector<Published>& published,
                    const std::string& what) {
  static constexpr std::string_view kPrefix = "pretrained:";
  if (given.rfind(kPrefix, 0) != 0) {
    if (std::filesystem::is_regular_file(given)) return given;
    for (const char* name : {"open_clip_model.safetensors", "model.safetensors"})  // a checkpoint's folder
      if (std::filesystem::is_regular_file(std::filesystem::path(given) / name))
        return (std::filesystem::path(given) / name).string();
    const auto model = std::filesystem::path(given) / "final";  // of a run
    throw Error(ErrorKind::kNotFound, what + " \"" + given + "\" is no file and no folder of a model",
                std::filesystem::is_regular_file(model / "model.safetensors")
                    ? "did you mean " + model.string() + "?"
                    : "name a safetensors file, a checkpoint's folder, or pretrained:<name>");
  }
  const char* const folder = std::getenv("TRIREME_WEIGHTS");
  const std::string name = given.substr(kPrefix.size());
  std::vector<std::string> known;
  std::string listed;
  for (const auto& one : published) {
    known.push_back(one.name);
    listed += (listed.empty() ? "pretrained:" : ", pretrained:") + one.name;
    if (name != one.name) continue;
    const std::filesystem::path path =
        std::filesystem::path(folder != nullptr && *folder != 0 ? folder : TRIREME_DEFAULT_WEIGHTS) /
        one.file;
    if (std::filesystem::is_regular_file(path)) return path.string();
    throw Error(ErrorKind::kNotFound, what + " \"" + given + "\" is not installed: no file " + path.string(),
                "`./quickstart build` installs it; or point TRIREME_WEIGHTS to the folder that holds it");
  }
  const std::string near = nearest_name(name, known);
  throw Error(ErrorKind::kNotFound, "there is no " + what + " \"" + given + "\"",
              near.empty() ? "known are " + listed : "did you mean pretrained:" + near + "?");
}

}  // namespace

std::string resolve_weights(const std::string& weights) {
  return resolve(weights,
                 {{"efficientnet-lite0", "efficientnet-lite0.safetensors"}, {"minilm", "minilm.safetensors"}},
                 "weights");
}

std::string resolve_vocabulary(const std::string& vocabulary) {
  return resolve(vocabulary, {{"clip", "clip-merges.txt.gz"}, {"minilm", "minilm-vocab.txt"}}, "vocabulary");
}

}  // namespace trireme::coordinator::planner
