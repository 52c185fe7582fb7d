#include <array>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "common/base/error.h"
#include "common/base/nearest_name.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::models {
namespace {

struct Published {
  const char* name;
  const char* file;
};
constexpr std::array<Published, 2> kWeights{
    {{"efficientnet-lite0", "efficientnet-lite0.safetensors"}, {"minilm", "minilm.safetensors"}}};
constexpr std::array<Published, 2> kVocabularies{
    {{"clip", "clip-merges.txt.gz"}, {"minilm", "minilm-vocab.txt"}}};

const std::string kPrefix = "pretrained:";

std::filesystem::path weights_folder() {
  const char* const from_environment = std::getenv("TRIREME_WEIGHTS");
  return from_environment != nullptr && *from_environment != '\0' ? from_environment
                                                                  : TRIREME_DEFAULT_WEIGHTS;
}

template <std::size_t kCount>
std::string resolve(const std::string& given, const std::array<Published, kCount>& published,
                    const std::string& what) {
  if (given.rfind(kPrefix, 0) != 0) {
    if (std::filesystem::is_regular_file(given)) return given;
    for (const char* name : {"open_clip_model.safetensors", "model.safetensors"})  // a checkpoint's folder
      if (std::filesystem::is_regular_file(std::filesystem::path(given) / name))
        return (std::filesystem::path(given) / name).string();
    throw Error(ErrorKind::kNotFound, what + " '" + given + "' is not a file",
                "name an existing file, or one of pretrained:<name>");
  }
  const std::string name = given.substr(kPrefix.size());
  std::vector<std::string> known;
  for (const Published& one : published) {
    known.push_back(one.name);
    if (name != one.name) continue;
    const std::filesystem::path path = weights_folder() / one.file;
    if (std::filesystem::is_regular_file(path)) return path.string();
    throw Error(
        ErrorKind::kNotFound, what + " '" + given + "' is not installed: no file " + path.string(),
        "run ./quickstart build, or point TRIREME_WEIGHTS to the folder that holds " + std::string(one.file));
  }
  const std::string near = nearest_name(name, known);
  std::string names;
  for (const std::string& one : known) names += (names.empty() ? "" : ", ") + one;
  throw Error(ErrorKind::kNotFound, what + " '" + given + "' is unknown",
              near.empty() ? "known are " + names : "did you mean pretrained:" + near + "?");
}

}  // namespace

std::string resolve_weights(const std::string& weights) {
  return resolve(weights, kWeights, "weights");
}

std::string resolve_vocabulary(const std::string& vocabulary) {
  return resolve(vocabulary, kVocabularies, "vocabulary");
}

}  // namespace trireme::worker::models
