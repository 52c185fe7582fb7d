#include "coordinator/planner/listing.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "coordinator/planner/sources/prompt_listing.h"
#include "coordinator/planner/sources/shard_identity.h"
#include "coordinator/planner/sources/source_listing.h"
#include "jobs/layouts/folder_listing.h"
#include "jobs/layouts/line_list.h"
#include "jobs/specification/json/json_document.h"
#include "jobs/specification/stages/concept_vocabulary.h"
#include "jobs/store/published.h"
#include "jobs/store/safetensors_header.h"

namespace trireme::coordinator::planner {
namespace {

constexpr std::int64_t kImageNetClasses = 1000;

std::string class_files_beside(const io::Path& shard) {
  std::string text;
  for (const char* name : {jobs::kClassNamesFile, jobs::kTemplatesFile})
    for (const io::Path& folder : {shard.parent_path(), shard.parent_path().parent_path()})
      if (io::is_file(folder / name)) {
        text += std::string(name) + '\n' + io::read_file(folder / name, 16 << 20) + '\n';
        break;
      }
  return text;
}

// Of an index also of the files beside it that it can name.
std::uint64_t hash_of_weights(const io::Path& file) {
  const std::uint64_t own = io::xxh3_of_file(file);
  if (!file.string().ends_with(".index.json")) return own;
  std::map<std::string, std::uint64_t> parts;
  for (const io::Path& part : io::list_folder(file.parent_path()))
    if (part.extension() == ".safetensors") parts[part.filename()] = io::xxh3_of_file(part);
  std::string text = io::hex(own);
  for (const auto& [name, hash] : parts) text += '\n' + name + ' ' + io::hex(hash);
  return io::xxh3_64(text);
}

class Lister {
 public:
  Lister(const jobs::JobSpec& job, std::vector<jobs::SpecFault>& faults) : job_(job), faults_(faults) {}

  ListedJob run() {
    check_output();
    for (const auto& [name, data] : job_.spec.data) list_data(name, data);
    check_texts();
    for (const auto& [name, model] : job_.spec.models) {
      const std::string at = "/spec/models" + jobs::pointer_token(name);
      hash("weights", model.image.weights, at + "/image/weights", jobs::resolve_weights);
      hash("weights", model.text.weights, at + "/text/weights", jobs::resolve_weights);
      hash("init_from", model.init_from, at + "/init_from", jobs::resolve_weights);
      if (model.blend) hash("blend", model.blend->with, at + "/blend/with", jobs::resolve_weights);
      if (model.text.tokenizer.kind != jobs::TokenizerKind::kHashedWords)
        hash("vocabulary", model.text.tokenizer.vocabulary, at + "/text/tokenizer/vocabulary",
             jobs::resolve_vocabulary);
    }
    for (std::size_t i = 0; i < job_.spec.stages.size(); ++i) {
      const std::string at = "/spec/stages/" + std::to_string(i);
      const jobs::StageSpec& stage = job_.spec.stages[i];
      if (const auto* f = std::get_if<jobs::FilterSettings>(&stage.settings)) list_filter(stage.name, *f, at);
      list_concept_files(stage, at);
    }
    return std::move(listed_);
  }

 private:
  // Runs a look-up; its error becomes a fault at `pointer`.
  template <class LookUp>
  void attempt(const std::string& pointer, const std::string& hint, const LookUp& look_up) {
    try {
      look_up();
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kUnavailable) throw;  // no fault of the job
      faults_.push_back(
          {pointer, error.kind() == ErrorKind::kNotFound ? "not_found" : "invalid", error.what(), hint});
    }
  }

  void check_output() {
    const auto writable = [&](const std::string& path, const std::string& pointer) {
      if (path.empty()) return;
      io::Path here = io::absolute(path);
      while (!io::exists(here) && here.has_relative_path()) here = here.parent_path();
      if (!io::is_folder(here))
        faults_.push_back(
            {pointer, "invalid", here.string() + " is a file, not a folder", "name another folder"});
      else if (!io::may_write_into(here))
        faults_.push_back(
            {pointer, "invalid", "cannot write in " + here.string(), "name a folder you may write in"});
    };
    writable(job_.spec.output, "/spec/output");
    writable(job_.spec.store, "/spec/store");
  }

  void list_data(const std::string& name, const jobs::DataSpec& data) {
    listed_.shards[name];
    listed_.identities[name];
    jobs::DataSpec resolved = data;
    std::int64_t position = 0;
    std::string class_files;
    for (std::size_t i = 0; i < data.sources.size(); ++i) {
      const jobs::SourceSpec& source = data.sources[i];
      if (source.synthetic) {
        position += source.synthetic->shards;
        continue;
      }
      const std::string set =
          "spec.data." + name + (data.sources.size() == 1 ? "" : ".sources." + std::to_string(i) + ".path");
      attempt("/spec/data" + jobs::pointer_token(name) + "/sources/" + std::to_string(i) + "/path",
              "--set " + set + "=PATH points it elsewhere", [&] {
                const ListedSource found = list_source(source);
                class_files += class_files_beside(found.paths.front());
                resolved.sources[i] = found.resolved;
                listed_.decided[name].push_back(found.decided);
                listed_.notes.insert(listed_.notes.end(), found.notes.begin(), found.notes.end());
                name_classes(name, found, resolved);
                for (const auto& path : found.paths) add_shard(name, path, found, i, position++);
              });
    }
    listed_.labels[name] = class_files.empty() ? 0 : io::xxh3_64(class_files);
    listed_.data[name] = std::move(resolved);
  }

  void add_shard(const std::string& name, const std::string& path, const ListedSource& found,
                 std::size_t source, std::int64_t position) {
    jobs::ShardRef shard;
    shard.data = name;
    shard.shard = position;
    shard.path = path;
    shard.format = found.format;
    shard.source = static_cast<std::int64_t>(source);
    listed_.identities[name].push_back(identity_of(path, found.format, found.resolved.parquet, shard.bytes));
    if (shard.bytes == 0) throw Error(ErrorKind::kInvalid, path + " is empty", "fetch or write it again");
    listed_.shards[name].push_back(std::move(shard));
  }

  // The lists beside the shards are read here, so that a broken line is said before anything runs.
  void name_classes(const std::string& name, const ListedSource& found, jobs::DataSpec& data) {
    const io::Path first = found.paths.front();
    std::vector<std::string> names = data.classes;
    const auto warn = [&](const std::string& repeated) {
      if (!repeated.empty()) listed_.notes.push_back(repeated);
    };
    if (names.empty()) {
      names = jobs::class_names_near(first);
      warn_of_odd_names(names, jobs::file_near(first, jobs::kClassNamesFile).string());
    }
    if (!found.classes.empty() && !names.empty() && names.size() != found.classes.size())
      throw Error(ErrorKind::kInvalid,
                  std::to_string(names.size()) + " class names for " + std::to_string(found.classes.size()) +
                      " class folders",
                  "name every folder, in the order of the folders' names");
    if (names.empty()) names = data.classes = found.classes;
    warn(jobs::repeated_lines(names, "classes of data set \"" + name + "\""));
    warn(jobs::repeated_lines(jobs::class_templates_near(first),
                              jobs::file_near(first, jobs::kTemplatesFile).string()));
    listed_.classes[name] = static_cast<std::int64_t>(names.size());
    if (!names.empty())
      listed_.decided[name].back() += "; classes: " + std::to_string(names.size()) + " names";
  }

  void warn_of_odd_names(const std::vector<std::string>& names, const std::string& file) {
    if (!names.empty() && names[0].starts_with("["))
      throw Error(ErrorKind::kInvalid, file + " is a JSON list, not one class name a line",
                  "write a name a line, or put the list into the job as \"classes\" of the data set");
    std::size_t numbered = 0;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::string number = std::to_string(i);
      numbered += names[i].starts_with(number) && names[i].size() > number.size() + 1 &&
                          std::string_view(" \t:,").find(names[i][number.size()]) != std::string_view::npos
                      ? 1
                      : 0;
    }
    if (names.size() > 1 && numbered == names.size())
      listed_.notes.push_back(file +
                              ": every line begins with its number, which becomes a part of the class names");
  }

  // What a stage needs and photographs alone do not have.
  void check_texts() {
    for (std::size_t i = 0; i < job_.spec.stages.size(); ++i) {
      const auto* train = std::get_if<jobs::TrainSettings>(&job_.spec.stages[i].settings);
      if (train == nullptr || !listed_.data.contains(train->data)) continue;
      const jobs::DataSpec& data = listed_.data.at(train->data);
      const auto classes = listed_.classes.find(train->data);
      const bool named = classes != listed_.classes.end() && classes->second > 0;
      for (const auto& source : data.sources)
        if (source.captions == jobs::CaptionForm::kNone && !named)
          faults_.push_back({"/spec/stages/" + std::to_string(i) + "/data", "invalid",
                             "data set \"" + train->data + "\" holds pictures without captions (" +
                                 source.path + "), and training needs a text to each",
                             "write captions first, or name where they stand (caption_field, text_member)"});
    }
  }

  // Lists of keys and score files of a filter, by content: a rule whose sidecar is absent fails here.
  void list_filter(const std::string& stage, const jobs::FilterSettings& filter, const std::string& at) {
    const auto same = [&](const std::string& path) {
      if (!io::is_file(path)) throw Error(ErrorKind::kNotFound, "there is no file " + path);
      const std::string repeated = jobs::repeated_lines(jobs::read_line_list(path), path);
      if (!repeated.empty()) listed_.notes.push_back(repeated);
      return path;
    };
    hash("list", filter.keep_list, at + "/keep_list", same);
    hash("list", filter.drop_list, at + "/drop_list", same);
    for (const auto& data : filter.data) {
      std::string hashes;
      for (std::size_t i = 0; i < filter.columns.size(); ++i) {
        const jobs::ColumnRule& rule = filter.columns[i];
        if (rule.sidecar.empty() || !jobs::named_stage(rule.sidecar).empty()) continue;
        const std::string here =
            std::string(at).append("/columns/").append(std::to_string(i)).append("/sidecar");
        attempt(here, "write the scores first, or take the rule out",
                [&] { hashes += score_hashes(rule, data); });
      }
      if (!hashes.empty())
        listed_.weights[std::string("scores ").append(stage).append("/").append(data)] = io::xxh3_64(hashes);
    }
  }

  std::string score_hashes(const jobs::ColumnRule& rule, const std::string& data) {
    std::string hashes = rule.name + "\n";
    for (const auto& source : job_.spec.data.at(data).sources)
      if (source.synthetic)
        throw Error(ErrorKind::kInvalid,
                    "data set \"" + data + "\" is rendered, so nobody can have scored it");
    for (const auto& shard : listed_.shards[data]) {
      const io::Path tar(shard.path);
      const std::string name = tar.stem().string() + "." + rule.name + ".scores.jsonl";
      const io::Path file = (rule.sidecar == "." ? tar.parent_path() : io::Path(rule.sidecar)) / name;
      if (!io::is_file(file))
        throw Error(ErrorKind::kNotFound, "the scores \"" + rule.name + "\" of " + shard.path +
                                              " are absent: there is no " + file.string());
      hashes += io::hex(io::xxh3_of_file(file)) + "\n";
    }
    return hashes;
  }

  // Teachers, vocabularies and captions that files give; what does not fit together fails here.
  void list_concept_files(const jobs::StageSpec& stage, const std::string& at) {
    if (const auto* evaluate = std::get_if<jobs::EvaluateSettings>(&stage.settings))
      list_prompts(*evaluate, at, listed_, faults_), list_captions(evaluate->captions, at + "/captions");
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
      if (!io::is_file(path)) throw Error(ErrorKind::kNotFound, "there is no file " + path);
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
    const store::SafetensorsHeader header = store::read_safetensors_header(file.text(), path);
    for (const char* name : {"_fc.bias", "classifier.bias", "fc.bias"})
      if (const store::TensorEntry* tensor = header.find(name);
          tensor != nullptr && tensor->shape.size() == 1)
        return tensor->shape[0];
    throw Error(ErrorKind::kInvalid, path + " holds no classifier",
                "name weights with their head, for example pretrained:efficientnet-lite0");
  }

  static std::uint64_t model_hash(const std::string& folder) {
    std::string hashes;
    for (const char* name : {"model.safetensors", "config.json", "concepts.safetensors", "concepts.json"}) {
      const io::Path file = io::Path(folder) / name;
      if (io::is_file(file))
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
      if (!io::exists(path)) throw Error(ErrorKind::kNotFound, "there is no file or folder " + path);
      std::vector<io::Path> files;
      if (io::is_folder(path)) {
        for (const auto& file : io::files_below(path))
          if (file.extension() == ".jsonl") files.push_back(file);
      } else {
        files.emplace_back(path);
      }
      if (files.empty()) throw Error(ErrorKind::kInvalid, path + " holds no .jsonl file");
      std::string hashes;
      for (const auto& file : files) hashes += io::hex(io::xxh3_of_file(file)) + "\n";
      listed_.weights["captions " + path] = io::xxh3_64(hashes);
    });
  }

  template <class Resolve>
  void hash(const std::string& what, const std::string& path, const std::string& pointer,
            const Resolve& resolve) {
    if (path.empty() || !jobs::named_stage(path).empty()) return;
    attempt(pointer, "", [&] {
      const std::string file = resolve(path);
      auto [known, fresh] = hashes_.try_emplace(file, 0);
      if (fresh) known->second = hash_of_weights(file);
      listed_.weights[what + " " + path] = known->second;
    });
  }

  const jobs::JobSpec& job_;
  std::vector<jobs::SpecFault>& faults_;
  ListedJob listed_;
  std::map<std::string, std::uint64_t> hashes_;
};

}  // namespace

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
