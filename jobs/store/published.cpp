#include "jobs/store/published.h"

#include <algorithm>
#include <cstdlib>

#include "common/base/error.h"
#include "common/base/nearest_name.h"
#include "common/io/door.h"
#include "common/io/folder.h"
#include "jobs/specification/json/json_document.h"

namespace trireme::jobs {
namespace {

struct Published {
  std::string name, file;
};

constexpr std::string_view kPrefix = "pretrained:";
constexpr std::size_t kIndexLimit = std::size_t{64} << 20;

std::string installed(const std::string& given, const std::string& file, const std::string& what) {
  const io::Path folder = weights_folder();
  if (!folder.empty() && io::is_file(folder / file)) return (folder / file).string();
  throw Error(
      ErrorKind::kNotFound,
      what + " \"" + given + "\" is not installed: " +
          (folder.empty() ? "no folder of weights beside this program"
                          : "no file " + (folder / file).string()),
      "`./quickstart build` and `cmake --install` put it there; or point TRIREME_WEIGHTS to the folder "
      "that holds " +
          file);
}

std::string published_file(const std::string& given, const std::vector<Published>& published,
                           const std::string& what) {
  const std::string name = given.substr(kPrefix.size());
  std::vector<std::string> known;
  std::string listed;
  for (const auto& one : published) {
    if (name == one.name) return installed(given, one.file, what);
    known.push_back(one.name);
    listed += (listed.empty() ? "pretrained:" : ", pretrained:") + one.name;
  }
  const std::string near = nearest_name(name, known);
  throw Error(ErrorKind::kNotFound, "there is no " + what + " \"" + given + "\"",
              near.empty() ? "known are " + listed : "did you mean pretrained:" + near + "?");
}

// Whether an index sends every tensor to that file.
bool only_names(const io::Path& index, const std::string& file) {
  std::vector<SpecFault> faults;
  const Json root = parse_json(io::read_file(index, kIndexLimit), faults, {.bytes = kIndexLimit});
  const Json* map = root.find("weight_map");
  return map != nullptr &&
         std::ranges::all_of(map->items, [&](const Json& part) { return part.text == file; });
}

// What a folder's one model is must not depend on whose habit of looking is followed.
std::string checkpoint_in(const io::Path& folder) {
  const auto there = [&](const std::string& name) { return io::is_file(folder / name); };
  for (const char* stem : {"open_clip_model.safetensors", "model.safetensors"}) {
    const std::string plain = stem, index = plain + ".index.json";
    if (!there(plain) && !there(index)) continue;
    if (there("adapter_config.json"))
      throw Error(
          ErrorKind::kInvalid,
          folder.string() + " holds an adapter beside the model (adapter_config.json), which changes it",
          "merge it into the weights first, or name " + (folder / (there(plain) ? plain : index)).string() +
              " for the model without it");
    if (there(plain) && there(index) && !only_names(folder / index, plain))
      throw Error(ErrorKind::kInvalid,
                  folder.string() + " holds " + plain + " and " + index + ", whose parts are other files",
                  "name the file that is meant, or take the other away");
    return (folder / (there(plain) ? plain : index)).string();
  }
  return "";
}

// What to do about a folder without a model, by what lies there.
std::string hint_for_no_model(const io::Path& folder) {
  const io::Path model = folder / "final";  // of a run
  if (io::is_file(model / "model.safetensors")) return "did you mean " + model.string() + "?";
  if (const auto snapshots = io::list_folder_if_there(folder / "snapshots"); !snapshots.empty())
    return "it is a cache of the hub: name the folder of its snapshot, " + snapshots.front().string();
  std::string weights, foreign;
  for (const io::Path& file : io::list_folder_if_there(folder)) {
    const std::string name = file.filename().string(), kind = file.extension().string();
    const auto one_of = [&](std::initializer_list<const char*> kinds) {
      return std::ranges::find(kinds, kind) != kinds.end();
    };
    if (kind == ".safetensors") weights += (weights.empty() ? "" : ", ") + name;
    if (one_of({".pt", ".pth", ".ckpt", ".bin"}))
      foreign = "convert it once: trireme weights convert " + file.string() + " " +
                (folder / "model.safetensors").string();
    if (foreign.empty() && one_of({".h5", ".msgpack", ".onnx", ".gguf", ".npz"}))
      foreign =
          name +
          " is no safetensors file; get the model as one, or as PyTorch's for `trireme weights convert`";
  }
  if (!weights.empty()) return "it holds " + weights + ": name the file that is meant";
  return foreign.empty() ? "name a safetensors file, a checkpoint's folder, or pretrained:<name>" : foreign;
}

std::string resolve(const std::string& given, const std::vector<Published>& published,
                    const std::string& what) {
  if (given.starts_with(kPrefix)) return published_file(given, published, what);
  if (io::is_file(given)) return given;
  if (std::string file = checkpoint_in(given); !file.empty()) return file;
  for (const char* name : {"pytorch_model.bin", "open_clip_pytorch_model.bin", "pytorch_model.pt"})
    if (const io::Path file = io::Path(given) / name; io::is_file(file))
      throw Error(ErrorKind::kInvalid, what + " \"" + given + "\" holds a PyTorch file, not safetensors",
                  "convert it once: trireme weights convert " + file.string() + " " +
                      (io::Path(given) / "model.safetensors").string());
  throw Error(ErrorKind::kNotFound, what + " \"" + given + "\" is no file and no folder of a model",
              hint_for_no_model(given));
}

}  // namespace

io::Path weights_folder() {
  const io::Behind nothing(nullptr);  // the program's own, wherever it lies
  if (const char* given = std::getenv("TRIREME_WEIGHTS"); given != nullptr && *given != '\0') return given;
  const io::Path program = io::own_program().parent_path();
  std::vector<io::Path> candidates{program.parent_path() / "share" / "trireme" / "weights"};
  for (io::Path folder = program; folder.has_relative_path(); folder = folder.parent_path())
    candidates.push_back(folder / ".trireme" / "weights");
  candidates.emplace_back("/opt/trireme/weights");
  for (const auto& candidate : candidates)
    if (io::is_folder(candidate)) return candidate;
  return {};
}

std::string resolve_weights(const std::string& given) {
  return resolve(given,
                 {{"efficientnet-lite0", "efficientnet-lite0.safetensors"}, {"minilm", "minilm.safetensors"}},
                 "weights");
}

std::string resolve_vocabulary(const std::string& given) {
  return resolve(given, {{"clip", "clip-merges.txt.gz"}, {"minilm", "minilm-vocab.txt"}}, "vocabulary");
}

}  // namespace trireme::jobs
