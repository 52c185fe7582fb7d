#include "coordinator/planner/listing.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/file.h"
#include "common/io/hash.h"
#include "coordinator/planner/tar_layout.h"
#include "jobs/specification/json/json_document.h"
#include "jobs/specification/stages/concept_vocabulary.h"
#include "jobs/store/published.h"

namespace trireme::coordinator::planner {
namespace {
namespace fs = std::filesystem;

constexpr std::int64_t kImageNetClasses = 1000;
constexpr const char* kClassFiles[] = {"classnames.txt", "zeroshot_classification_templates.txt"};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_table(const fs::path& path) {
  return path.extension() == ".csv" || path.extension() == ".tsv";
}

std::vector<std::string> tars_in(const fs::path& folder) {
  std::vector<std::string> tars;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".tar" && !fs::is_directory(entry.path()))
      tars.push_back(entry.path().string());
  std::ranges::sort(tars, natural_less);
  return tars;
}

// The files of a CLIP_benchmark split.
std::vector<std::string> numbered_tars(const fs::path& folder) {
  const std::string text = io::read_file(folder / "nshards.txt", 1 << 10);
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || count < 1 || count > 10'000'000)
    throw Error(ErrorKind::kInvalid, (folder / "nshards.txt").string() + " does not hold a number of shards",
                "it says how many of 0.tar, 1.tar … there are");
  std::vector<std::string> tars;
  for (std::int64_t i = 0; i < count; ++i) {
    const fs::path tar = folder / (std::to_string(i) + ".tar");
    if (!fs::is_regular_file(tar))
      throw Error(
          ErrorKind::kInvalid,
          tar.string() + " is missing: nshards.txt beside it says " + std::to_string(count) + " shards",
          "fetch it again, or correct nshards.txt");
    tars.push_back(tar.string());
  }
  return tars;
}

bool clip_files_beside(const fs::path& tar) {
  for (const fs::path& folder : {tar.parent_path(), tar.parent_path().parent_path()})
    for (const char* name : {"classnames.txt", "dataset_type.txt"})
      if (fs::exists(folder / name)) return true;
  return fs::exists(tar.parent_path() / "nshards.txt");
}

ListedShards expand_folder(const fs::path& folder, const std::string& format) {
  if (fs::exists(folder / "nshards.txt") && format != "webdataset")
    return {numbered_tars(folder), "clip_benchmark"};
  if (auto tars = tars_in(folder); !tars.empty()) return {std::move(tars), ""};
  std::vector<fs::path> splits;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_directory() && (fs::exists(entry.path() / "nshards.txt") || !tars_in(entry.path()).empty()))
      splits.push_back(entry.path());
  std::ranges::sort(splits);
  if (splits.size() == 1) return expand_folder(splits[0], format);
  std::string names;
  for (const auto& split : splits) names += (names.empty() ? "" : ", ") + split.string();
  if (splits.empty())
    throw Error(ErrorKind::kInvalid, "the folder " + folder.string() + " holds no .tar file",
                "name a tar, a folder of tars, a CLIP_benchmark folder or a .csv/.tsv table");
  throw Error(ErrorKind::kInvalid, folder.string() + " has several splits", "name one of: " + names);
}

std::uint64_t identity_of(const std::string& path, std::uint64_t& bytes) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) throw system_error("cannot look at " + path, errno);
  bytes = static_cast<std::uint64_t>(status.st_size);
  std::error_code ignored;
  fs::path real = fs::canonical(path, ignored);
  if (real.empty()) real = path;
  return io::xxh3_64(real.string() + '\n' + std::to_string(bytes) + '\n' +
                     std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec));
}

std::string class_files_beside(const fs::path& shard) {
  std::string text;
  for (const char* name : kClassFiles)
    for (const fs::path& folder : {shard.parent_path(), shard.parent_path().parent_path()})
      if (fs::is_regular_file(folder / name)) {
        text += std::string(name) + '\n' + io::read_file(folder / name, 16 << 20) + '\n';
        break;
      }
  return text;
}

class Lister {
 public:
  Lister(const jobs::JobSpec& job, std::vector<jobs::SpecFault>& faults) : job_(job), faults_(faults) {}

  ListedJob run() {
    check_output();
    for (const auto& [name, data] : job_.spec.data) list_data(name, data);
    for (const auto& [name, model] : job_.spec.models) {
      const std::string at = "/spec/models" + jobs::pointer_token(name);
      hash("weights", model.image.weights, at + "/image/weights", jobs::resolve_weights);
      hash("weights", model.text.weights, at + "/text/weights", jobs::resolve_weights);
      hash("init_from", model.init_from, at + "/init_from", jobs::resolve_weights);
      if (model.text.tokenizer.kind != "hashed_words" && jobs::vocabulary_stage(model.text.tokenizer).empty())
        hash("vocabulary", model.text.tokenizer.vocabulary, at + "/text/tokenizer/vocabulary",
             jobs::resolve_vocabulary);
    }
    for (std::size_t i = 0; i < job_.spec.stages.size(); ++i)
      if (const auto* filter = std::get_if<jobs::FilterSettings>(&job_.spec.stages[i].settings))
        list_filter(job_.spec.stages[i].name, *filter, "/spec/stages/" + std::to_string(i));
    for (std::size_t i = 0; i < job_.spec.stages.size(); ++i)
      list_concept_files(job_.spec.stages[i], "/spec/stages/" + std::to_string(i));
    return std::move(listed_);
  }

 private:
  // Runs a look-up; its error becomes a fault at `pointer`.
  template <class LookUp>
  void attempt(const std::string& pointer, const std::string& hint, const LookUp& look_up) {
    try {
      look_up();
    } catch (const Error& error) {
      faults_.push_back(
          {pointer, error.kind() == ErrorKind::kNotFound ? "not_found" : "invalid", error.what(), hint});
    } catch (const fs::filesystem_error& error) {
      faults_.push_back({pointer, "invalid", error.what(), hint});
    }
  }

  void check_output() {
    const auto writable = [&](const std::string& path, const std::string& pointer) {
      if (path.empty()) return;
      fs::path here = fs::absolute(path);
      std::error_code ignored;
      while (!fs::exists(here, ignored) && here.has_relative_path()) here = here.parent_path();
      if (!fs::is_directory(here, ignored))
        faults_.push_back(
            {pointer, "invalid", here.string() + " is a file, not a folder", "name another folder"});
      else if (::access(here.c_str(), W_OK | X_OK) != 0)
        faults_.push_back(
            {pointer, "invalid", "cannot write in " + here.string(), "name a folder you may write in"});
    };
    writable(job_.spec.output, "/spec/output");
    writable(job_.spec.store, "/spec/store");
  }

  void list_data(const std::string& name, const jobs::DataSpec& data) {
    auto& shards = listed_.shards[name];
    auto& identities = listed_.identities[name];
    std::int64_t position = 0;
    std::string class_files;
    for (std::size_t i = 0; i < data.sources.size(); ++i) {
      const jobs::SourceSpec& source = data.sources[i];
      if (source.synthetic) {
        position += source.synthetic->shards;
        continue;
      }
      const bool alone = data.sources.size() == 1;
      const std::string set = "spec.data." + name + (alone ? "" : ".sources." + std::to_string(i) + ".path");
      attempt("/spec/data" + jobs::pointer_token(name) + "/sources/" + std::to_string(i) + "/path",
              "--set " + set + "=PATH points it elsewhere", [&] {
                const ListedShards found = expand_path(source.path, source.format);
                class_files += class_files_beside(found.paths.front());
                for (const auto& path : found.paths) {
                  jobs::ShardRef shard;
                  shard.data = name;
                  shard.shard = position++;
                  shard.path = path;
                  shard.format = found.format;
                  shard.source = static_cast<std::int64_t>(i);
                  identities.push_back(identity_of(path, shard.bytes));
                  if (shard.bytes == 0)
                    throw Error(ErrorKind::kInvalid, path + " is empty", "fetch or write it again");
                  shards.push_back(std::move(shard));
                }
              });
    }
    listed_.labels[name] = class_files.empty() ? 0 : io::xxh3_64(class_files);
  }

  // Lists of keys and score files of a filter, by content: a rule whose sidecar is absent fails here.
  void list_filter(const std::string& stage, const jobs::FilterSettings& filter, const std::string& at) {
    const auto same = [](const std::string& path) {
      if (!fs::is_regular_file(path)) throw Error(ErrorKind::kNotFound, "there is no file " + path);
      return path;
    };
    hash("list", filter.keep_list, at + "/keep_list", same);
    hash("list", filter.drop_list, at + "/drop_list", same);
    for (const auto& data : filter.data) {
      std::string hashes;
      for (std::size_t i = 0; i < filter.columns.size(); ++i)
        if (const jobs::ColumnRule& rule = filter.columns[i];
            !rule.sidecar.empty() && jobs::named_stage(rule.sidecar).empty())
          attempt(at + "/columns/" + std::to_string(i) + "/sidecar",
                  "write the scores first, or take the rule out",
                  [&] { hashes += score_hashes(rule, data); });
      if (!hashes.empty()) listed_.weights["scores " + stage + "/" + data] = io::xxh3_64(hashes);
    }
  }

  std::string score_hashes(const jobs::ColumnRule& rule, const std::string& data) {
    std::string hashes = rule.name + "\n";
    for (const auto& source : job_.spec.data.at(data).sources)
      if (source.synthetic)
        throw Error(ErrorKind::kInvalid,
                    "data set \"" + data + "\" is rendered, so nobody can have scored it");
    for (const auto& shard : listed_.shards[data]) {
      const fs::path tar(shard.path);
      const std::string name = tar.stem().string() + "." + rule.name + ".scores.jsonl";
      const fs::path file = (rule.sidecar == "." ? tar.parent_path() : fs::path(rule.sidecar)) / name;
      if (!fs::is_regular_file(file))
        throw Error(ErrorKind::kNotFound, "the scores \"" + rule.name + "\" of " + shard.path +
                                              " are absent: there is no " + file.string());
      hashes += io::hex(io::xxh3_of_file(file)) + "\n";
    }
    return hashes;
  }

  // Teachers, vocabularies and captions that files give; what does not fit together fails here.
  void list_concept_files(const jobs::StageSpec& stage, const std::string& at) {
    if (const auto* evaluate = std::get_if<jobs::EvaluateSettings>(&stage.settings))
      list_captions(evaluate->captions, at + "/captions");
    if (const auto* train = std::get_if<jobs::TrainSettings>(&stage.settings))
      for (std::size_t h = 0; h < train->concepts.heads.size(); ++h) {
        const jobs::ConceptHeadSpec& head = train->concepts.heads[h];
        const std::string pointer = at + "/concepts/heads/" + std::to_string(h) + "/vocabulary_from";
        list_vocabulary(head.vocabulary_from, pointer, [&](const auto& file) { check_head(head, file); });
      }
    const auto* concepts = std::get_if<jobs::ConceptsSettings>(&stage.settings);
    if (concepts == nullptr) return;
    const bool classifier = jobs::is_classifier(concepts->teacher);
    if (jobs::named_stage(concepts->teacher).empty())
      attempt(at + "/teacher", "", [&] {
        listed_.weights["teacher " + concepts->teacher] =
            classifier ? io::xxh3_of_file(jobs::resolve_weights(concepts->teacher))
                       : model_hash(concepts->teacher);
      });
    if (concepts->vocabulary == "imagenet" || (classifier && concepts->vocabulary.empty()))
      attempt(at + "/vocabulary", "", [&] { check_sizes(*concepts, {{"imagenet", kImageNetClasses}}); });
    else
      list_vocabulary(concepts->vocabulary, at + "/vocabulary", [&](const auto& file) {
        std::vector<std::pair<std::string, std::int64_t>> sizes;
        for (const auto& list : file.lists) sizes.emplace_back(list.name, list.size());
        check_sizes(*concepts, sizes);
      });
  }

  template <class Check>
  void list_vocabulary(const std::string& path, const std::string& pointer, const Check& check) {
    if (path.empty() || !jobs::named_stage(path).empty()) return;
    attempt(pointer, "", [&] {
      if (!fs::is_regular_file(path)) throw Error(ErrorKind::kNotFound, "there is no file " + path);
      const std::string text = io::read_file(path);
      check(jobs::concept_vocabularies_from_json(text, path));
      listed_.weights["concepts " + path] = io::xxh3_64(text);
    });
  }

  static void check_head(const jobs::ConceptHeadSpec& head, const jobs::ConceptVocabularies& file) {
    const jobs::ConceptVocabulary* list = file.find(head.field);
    if (list == nullptr)
      throw Error(ErrorKind::kInvalid, "the file has no vocabulary \"" + head.field + "\"",
                  "the head's field names one of its lists");
    if (head.top_k > list->size())
      throw Error(ErrorKind::kInvalid, "top_k " + std::to_string(head.top_k) + " is beyond a vocabulary of " +
                                           std::to_string(list->size()));
  }

  // k and the classes of a teacher against the vocabularies, as far as files tell.
  static void check_sizes(const jobs::ConceptsSettings& concepts,
                          const std::vector<std::pair<std::string, std::int64_t>>& sizes) {
    for (const auto& [name, size] : sizes)
      if (concepts.top_k > size)
        throw Error(ErrorKind::kInvalid,
                    "top_k " + std::to_string(concepts.top_k) + " is beyond the vocabulary " + name + " of " +
                        std::to_string(size),
                    "set top_k to at most the size of the vocabulary");
    if (!jobs::is_classifier(concepts.teacher)) return;
    const std::int64_t classes = classes_of(jobs::resolve_weights(concepts.teacher));
    if (sizes.size() != 1 || sizes[0].second != classes)
      throw Error(ErrorKind::kInvalid,
                  "the teacher has " + std::to_string(classes) + " classes, the vocabulary " +
                      (sizes.size() == 1 ? std::to_string(sizes[0].second) + " concepts"
                                         : std::to_string(sizes.size()) + " lists"),
                  "a classifier needs one list, a concept per class in its order");
  }

  // Of a published classifier, from the header of its weights.
  static std::int64_t classes_of(const std::string& path) {
    const io::MappedFile file{io::Path(path)};
    const auto bytes = file.bytes();
    std::uint64_t length = 0;
    for (std::size_t i = 8; i-- > 0 && bytes.size() >= 8;) length = (length << 8) | bytes[i];
    if (length > bytes.size() - std::min<std::size_t>(8, bytes.size()))
      throw Error(ErrorKind::kDamaged, path + " is no safetensors file");
    std::vector<jobs::SpecFault> faults;
    const jobs::Json header = jobs::parse_json({reinterpret_cast<const char*>(bytes.data()) + 8, length},
                                               faults, {std::size_t{100} << 20, 8});
    for (const char* name : {"_fc.bias", "classifier.bias", "fc.bias"})
      if (const jobs::Json* tensor = header.find(name))
        if (const jobs::Json* shape = tensor->find("shape"); shape != nullptr && shape->items.size() == 1)
          return shape->items[0].integer;
    throw Error(ErrorKind::kInvalid, path + " holds no classifier",
                "name weights with their head, for example pretrained:efficientnet-lite0");
  }

  static std::uint64_t model_hash(const std::string& folder) {
    std::string hashes;
    for (const char* name : {"model.safetensors", "config.json", "concepts.safetensors", "concepts.json"}) {
      const fs::path file = fs::path(folder) / name;
      if (fs::is_regular_file(file))
        hashes += io::hex(io::xxh3_of_file(file)) + "\n";
      else if (hashes.empty())
        throw Error(ErrorKind::kNotFound, "there is no model folder " + folder + ": no file " + file.string(),
                    "name the folder that a train stage has left");
    }
    return io::xxh3_64(hashes);
  }

  void list_captions(const std::string& path, const std::string& pointer) {
    if (path.empty() || !jobs::named_stage(path).empty()) return;
    attempt(pointer, "", [&] {
      if (!fs::exists(path)) throw Error(ErrorKind::kNotFound, "there is no file or folder " + path);
      std::vector<fs::path> files;
      if (fs::is_directory(path)) {
        for (const auto& entry : fs::recursive_directory_iterator(path))
          if (entry.path().extension() == ".jsonl") files.push_back(entry.path());
      } else {
        files.emplace_back(path);
      }
      if (files.empty()) throw Error(ErrorKind::kInvalid, path + " holds no .jsonl file");
      std::ranges::sort(files);
      std::string hashes;
      for (const auto& file : files) hashes += io::hex(io::xxh3_of_file(file)) + "\n";
      listed_.weights["captions " + path] = io::xxh3_64(hashes);
    });
  }

  template <class Resolve>
  void hash(const std::string& what, const std::string& path, const std::string& pointer,
            const Resolve& resolve) {
    if (path.empty()) return;
    attempt(pointer, "", [&] {
      const std::string file = resolve(path);
      auto [known, fresh] = hashes_.try_emplace(file, 0);
      if (fresh) known->second = io::xxh3_of_file(file);
      listed_.weights[what + " " + path] = known->second;
    });
  }

  const jobs::JobSpec& job_;
  std::vector<jobs::SpecFault>& faults_;
  ListedJob listed_;
  std::map<std::string, std::uint64_t> hashes_;
};

}  // namespace

bool natural_less(const std::string& a, const std::string& b) {
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      std::size_t a_end = i, b_end = j;
      while (a_end < a.size() && is_digit(a[a_end])) ++a_end;
      while (b_end < b.size() && is_digit(b[b_end])) ++b_end;
      while (i + 1 < a_end && a[i] == '0') ++i;
      while (j + 1 < b_end && b[j] == '0') ++j;
      if (a_end - i != b_end - j) return a_end - i < b_end - j;
      if (const int order = a.compare(i, a_end - i, b, j, b_end - j); order != 0) return order < 0;
      i = a_end;
      j = b_end;
    } else if (a[i] != b[j]) {
      return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
    } else {
      ++i;
      ++j;
    }
  }
  if ((i < a.size()) != (j < b.size())) return j < b.size();
  return a < b;  // 01.tar and 1.tar
}

ListedShards expand_path(const std::string& path, const std::string& format) {
  const fs::path given = fs::absolute(path).lexically_normal();
  if (!fs::exists(given)) throw Error(ErrorKind::kNotFound, "there is no file or folder " + given.string());
  ListedShards listed;
  if (fs::is_directory(given)) {
    if (format == "table")
      throw Error(ErrorKind::kInvalid, given.string() + " is a folder, not a table",
                  "name the .csv or .tsv file");
    listed = expand_folder(given, format);
  } else if (is_table(given) || format == "table") {
    if (format != "auto" && format != "table")
      throw Error(ErrorKind::kInvalid, given.string() + " is a table, not " + format, "leave \"format\" out");
    return {{given.string()}, "table"};
  } else if (given.extension() == ".tar" || format != "auto") {
    listed.paths = {given.string()};
  } else {
    throw Error(ErrorKind::kInvalid, given.string() + " is neither .tar nor .csv nor .tsv",
                "set \"format\" when the name does not tell");
  }
  if (format != "auto") listed.format = format;
  if (listed.format.empty()) {
    const bool clip =
        clip_files_beside(listed.paths.front()) || looks_like_clip_benchmark(listed.paths.front());
    listed.format = clip ? "clip_benchmark" : "webdataset";
  }
  return listed;
}

ListedJob list_job(const jobs::JobSpec& job, std::vector<jobs::SpecFault>& faults) {
  return Lister(job, faults).run();
}

ListedJob list_job(const jobs::JobSpec& job) {
  std::vector<jobs::SpecFault> faults;
  ListedJob listed = list_job(job, faults);
  if (faults.empty()) return listed;
  std::string text;
  bool missing = false;
  for (const auto& fault : faults) {
    text += (text.empty() ? "" : "\n") + fault.pointer + ": " + fault.detail +
            (fault.hint.empty() ? "" : " (" + fault.hint + ")");
    missing = missing || fault.code == "not_found";
  }
  throw Error(missing ? ErrorKind::kNotFound : ErrorKind::kInvalid, text);
}

}  // namespace trireme::coordinator::planner
