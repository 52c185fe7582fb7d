#include "worker/exchange/weights_tool.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/nearest_name.h"
#include "common/io/folder.h"
#include "jobs/specification/job_spec.h"
#include "jobs/specification/model_defaults.h"
#include "jobs/store/published.h"
#include "worker/exchange/checkpoint_model.h"
#include "worker/exchange/convert_pickle.h"
#include "worker/models/dual_encoder.h"
#include "worker/models/towers/efficientnet_shape.h"

namespace trireme::worker::exchange {
namespace {

using checkpoint::Layout;
using checkpoint::SafetensorsFile;
using nlohmann::ordered_json;

constexpr const char* kUsage =
    "trireme weights inspect PATH [--tensors] [--json]\n"
    "trireme weights convert IN OUT.safetensors [--to LAYOUT] [--take KEY]\n"
    "trireme weights compare A B [--tolerance X]";

struct Arguments {
  std::vector<std::string> operands;
  std::map<std::string, std::string> options;
};

Arguments parse(const std::vector<std::string>& words, const std::vector<std::string>& flags,
                const std::vector<std::string>& valued) {
  Arguments given;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!word.starts_with("--")) {
      given.operands.push_back(word);
    } else if (std::find(flags.begin(), flags.end(), word) != flags.end()) {
      given.options[word] = "yes";
    } else if (std::find(valued.begin(), valued.end(), word) != valued.end() && i + 1 < words.size()) {
      given.options[word] = words[++i];
    } else {
      throw Error(ErrorKind::kUsage, "weights: unknown or incomplete option " + word, kUsage);
    }
  }
  return given;
}

Layout layout_named(const std::string& name) {
  std::vector<std::string> known;
  for (const Layout layout :
       {Layout::kTrireme, Layout::kHfClip, Layout::kHfSiglip, Layout::kHfAlign, Layout::kHfBert,
        Layout::kHfBlip, Layout::kTimmVit, Layout::kTimmEfficientNet, Layout::kEfficientNetLite}) {
    known.push_back(layout_name(layout));
    if (name == known.back()) return layout;
  }
  const std::string near = nearest_name(name, known);
  std::string all;
  for (const std::string& one : known) all += (all.empty() ? "" : ", ") + one;
  throw Error(ErrorKind::kUsage, "there is no layout '" + name + "'",
              near.empty() ? "known are " + all : "did you mean " + near + "? Known are " + all);
}

std::string shape_text(at::IntArrayRef sizes) {
  std::string text = "[";
  for (std::size_t i = 0; i < sizes.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

// The model, as a job takes it: with the file to start from and the tokenizer's usual vocabulary.
ordered_json model_of(const CheckpointModel& model, const std::string& given) {
  jobs::ModelSpec whole = model.spec;
  if (!model.own) jobs::resolve_model_defaults(whole);
  jobs::TokenizerSpec& words = whole.text.tokenizer;
  if (words.vocabulary.empty() && words.kind == jobs::TokenizerKind::kClipBpe)
    words.vocabulary = "pretrained:clip";
  const auto beside = [&](const char* name) { return io::Path(model.file).parent_path() / name; };
  for (const char* name : {"vocab.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model"})
    if (words.vocabulary.empty() && io::is_file(beside(name))) words.vocabulary = beside(name);
  if (model.image && model.text) whole.init_from = given;
  const auto spec = ordered_json::parse(jobs::model_json(whole));
  ordered_json out;
  for (const auto& [key, value] : spec.items())
    if (key == "image" ? model.image : key == "text" ? model.text : true) out[key] = value;
  return out;
}

// One pass over the numbers of each tensor.
bool is_finite(const at::Tensor& value) {
  if (!at::isFloatingType(value.scalar_type()) || value.numel() == 0) return true;
  const auto [least, most] = at::aminmax(value);
  return std::isfinite(least.item<double>()) && std::isfinite(most.item<double>());
}

void describe_tensors(const SafetensorsFile& file, bool listed, ordered_json& out) {
  std::map<std::string, std::int64_t> dtypes;
  std::int64_t elements = 0, bytes = 0;
  ordered_json tensors = ordered_json::array(), not_finite = ordered_json::array();
  const std::vector<std::string> names = file.names();
  for (const std::string& name : names) {
    const at::Tensor value = file.view(name);
    const std::string dtype = c10::toString(value.scalar_type());
    ++dtypes[dtype];
    elements += value.numel();
    bytes += static_cast<std::int64_t>(value.nbytes());
    if (listed) tensors.push_back({{"name", name}, {"dtype", dtype}, {"shape", value.sizes().vec()}});
    if (!is_finite(value)) not_finite.push_back(name);
  }
  out["tensors"] = names.size();
  out["elements"] = elements;
  out["bytes"] = bytes;
  out["dtypes"] = dtypes;
  out["not_finite"] = not_finite;
  if (!file.remark().empty()) out["remark"] = file.remark();
  if (listed) out["all"] = tensors;
}

void print_inspection(const ordered_json& out) {
  std::cout << out["file"].get<std::string>() << ": " << out["tensors"] << " tensors, " << out["elements"]
            << " numbers, " << out["bytes"] << " bytes\ndtypes " << out["dtypes"].dump() << "\nlayout "
            << (out["layout"].is_null() ? "unknown: " + out["why"].get<std::string>()
                                        : out["layout"].get<std::string>())
            << "\n";
  if (out.contains("remark")) std::cout << out["remark"].get<std::string>() << "\n";
  for (const auto& name : out["not_finite"]) std::cout << "not finite: " << name.get<std::string>() << "\n";
  if (out.contains("all"))
    for (const auto& one : out["all"])
      std::cout << "  " << one["name"].get<std::string>() << "  " << one["dtype"].get<std::string>() << "  "
                << one["shape"].dump() << "\n";
  if (out.contains("refused"))
    for (const auto& what : out["refused"]) std::cout << "refused: " << what.get<std::string>() << "\n";
  if (out.contains("model")) std::cout << "model " << out["model"].dump(2) << "\n";
}

// A file is inspected even when no model of ours fits it.
int inspect(const Arguments& given) {
  if (given.operands.size() != 1) throw Error(ErrorKind::kUsage, "weights inspect takes one path", kUsage);
  const std::string path = jobs::resolve_weights(given.operands[0]);
  ordered_json out{{"file", path}};
  const auto file = SafetensorsFile::of_checkpoint(path);
  describe_tensors(file, given.options.contains("--tensors"), out);
  try {
    const CheckpointModel model = recognise(path, file);
    out["layout"] = model.own ? "trireme" : layout_name(model.layout);
    if (!model.refused.empty()) out["refused"] = model.refused;
    out["model"] = model_of(model, given.operands[0]);
    if (model.text) out["vocabulary_size"] = model.vocabulary_size;
  } catch (const Error& error) {
    out["layout"] = nullptr;
    out["why"] = error.what();
  } catch (const c10::Error&) {
    out["layout"] = nullptr;
    out["why"] = path + ": its tensors have shapes that no model of ours has";
  }
  if (given.options.contains("--json"))
    std::cout << out.dump() << "\n";
  else
    print_inspection(out);
  return 0;
}

// The same tensors in one file, without wrappers.
int copy_plain(const std::string& from, const std::string& to) {
  const std::string path = jobs::resolve_weights(from);
  const auto file = SafetensorsFile::of_checkpoint(path);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const std::string& name : file.names()) tensors.emplace_back(name, file.view(name));
  checkpoint::write_safetensors(to, tensors, file.metadata());
  std::cout << to << ": " << tensors.size() << " tensors of " << path << "\n"
            << (file.remark().empty() ? "" : file.remark() + "\n");
  return 0;
}

int convert(const Arguments& given) {
  const auto to = given.options.find("--to");
  if (given.operands.size() != 2) throw Error(ErrorKind::kUsage, "weights convert takes two paths", kUsage);
  std::string from = given.operands[0];
  if (io::is_file(from) && is_pickled(from)) {
    const auto take = given.options.find("--take");
    convert_pickle(from, given.operands[1], take == given.options.end() ? "" : take->second);
    if (to == given.options.end()) return 0;
    from = given.operands[1];
  } else if (to == given.options.end()) {
    return copy_plain(from, given.operands[1]);
  }
  const Layout layout = layout_named(to->second);
  const CheckpointModel model = recognise(from);
  std::vector<std::int64_t> repeats;
  if (model.image && model.spec.image.kind != jobs::ImageTowerKind::kVit)
    repeats = models::efficientnet_shape(model.spec.image).repeats;
  const checkpoint::NameMap map(layout, repeats);
  std::vector<std::pair<std::string, at::Tensor>> written;
  std::string without;
  for (const auto& [name, tensor] : read_tensors(model)) {
    const auto rule = map.rule(name);
    if (!rule) {
      without += " " + name;
      continue;
    }
    for (auto& one : write_rule(*rule, tensor)) written.push_back(std::move(one));
  }
  if (written.empty())
    throw Error(
        ErrorKind::kInvalid,
        "no tensor of " + model.file + " (" + layout_name(model.layout) + ") has a place in " + to->second,
        "choose a layout of the same family");
  // It may be what is converted: tensors without a place there would be lost.
  if (io::exists(given.operands[1]))
    throw Error(ErrorKind::kConflict, given.operands[1] + " is there already", "name a new file");
  checkpoint::write_safetensors(given.operands[1], written, {{"format", "pt"}});
  std::cout << given.operands[1] << ": " << written.size() << " tensors, " << layout_name(model.layout)
            << " -> " << to->second << "\n";
  if (!without.empty()) std::cout << "without a place there:" << without << "\n";
  return 0;
}

int compare(const Arguments& given) {
  if (given.operands.size() != 2) throw Error(ErrorKind::kUsage, "weights compare takes two paths", kUsage);
  double tolerance = 0;
  if (const auto found = given.options.find("--tolerance"); found != given.options.end())
    tolerance = std::strtod(found->second.c_str(), nullptr);
  const auto first = read_tensors(recognise(given.operands[0]));
  const auto second = read_tensors(recognise(given.operands[1]));
  const std::map<std::string, at::Tensor> other(second.begin(), second.end());
  std::map<std::string, at::Tensor> left(second.begin(), second.end());
  std::vector<std::pair<double, std::string>> rows;
  bool same = true;
  for (const auto& [name, tensor] : first) {
    left.erase(name);
    const auto found = other.find(name);
    if (found == other.end() || found->second.sizes() != tensor.sizes()) {
      std::cout << name << ": "
                << (found == other.end() ? "only in the first"
                                         : "shapes " + shape_text(tensor.sizes()) + " and " +
                                               shape_text(found->second.sizes()))
                << "\n";
      same = false;
      continue;
    }
    const double away = tensor.numel() == 0 ? 0 : (tensor - found->second).abs().max().item<double>();
    rows.emplace_back(away, name);
    same = same && away <= tolerance;  // false for NaN
  }
  for (const auto& [name, tensor] : left) {
    std::cout << name << ": only in the second\n";
    same = false;
  }
  std::sort(rows.begin(), rows.end(), std::greater<>());
  for (std::size_t i = 0; i < std::min<std::size_t>(rows.size(), 10) && !(rows[i].first <= 0); ++i)
    std::printf("%-60s %.6g\n", rows[i].second.c_str(), rows[i].first);
  std::printf("%zu tensors compared, largest difference %.6g\n", rows.size(),
              rows.empty() ? 0.0 : rows[0].first);
  return same ? 0 : 1;
}

}  // namespace

int run_weights(int argc, char** argv) {
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  const std::string verb = words.empty() ? "" : words[0];
  const std::vector<std::string> rest(words.begin() + (words.empty() ? 0 : 1), words.end());
  if (verb == "inspect") return inspect(parse(rest, {"--tensors", "--json"}, {}));
  if (verb == "convert") return convert(parse(rest, {}, {"--to", "--take"}));
  if (verb == "compare") return compare(parse(rest, {}, {"--tolerance"}));
  if (verb == "--help" || verb == "-h") {
    std::cout << kUsage << "\n";
    return 0;
  }
  throw Error(ErrorKind::kUsage, "weights: unknown verb '" + verb + "'", kUsage);
}

}  // namespace trireme::worker::exchange
