#include "jobs/specification/spec_paths.h"

#include <filesystem>

#include "jobs/specification/prompt_template.h"

namespace trireme::jobs {
namespace {

std::string escaped(const std::string& key) {
  std::string out;
  for (const char c : key) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::vector<SpecPath> spec_paths(JobSpec& job) {
  std::vector<SpecPath> found;
  const auto add = [&](const std::string& pointer, std::string& value, bool written = false) {
    if (!value.empty() && !value.starts_with("pretrained:") && !value.starts_with("stage:"))
      found.push_back({pointer, &value, written});
  };
  add("/spec/output", job.spec.output, true);
  add("/spec/store", job.spec.store, true);
  for (auto& [name, data] : job.spec.data)
    for (std::size_t i = 0; i < data.sources.size(); ++i)
      add("/spec/data/" + escaped(name) + "/sources/" + std::to_string(i) + "/path", data.sources[i].path);
  for (auto& [name, data] : job.spec.data)
    for (std::size_t i = 0; i < data.sources.size(); ++i)
      if (data.sources[i].parquet != ".")  // beside the shards
        add("/spec/data/" + escaped(name) + "/sources/" + std::to_string(i) + "/parquet",
            data.sources[i].parquet);
  for (auto& [name, model] : job.spec.models) {
    const std::string base = "/spec/models/" + escaped(name);
    add(base + "/image/weights", model.image.weights);
    add(base + "/text/weights", model.text.weights);
    add(base + "/init_from", model.init_from);
    if (model.blend) add(base + "/blend/with", model.blend->with);
    add(base + "/text/tokenizer/vocabulary", model.text.tokenizer.vocabulary);
  }
  for (std::size_t i = 0; i < job.spec.stages.size(); ++i) {
    const std::string base = "/spec/stages/" + std::to_string(i);
    if (auto* concepts = std::get_if<ConceptsSettings>(&job.spec.stages[i].settings)) {
      add(base + "/teacher", concepts->teacher);
      if (concepts->vocabulary != "imagenet") add(base + "/vocabulary", concepts->vocabulary);
    }
    if (auto* evaluate = std::get_if<EvaluateSettings>(&job.spec.stages[i].settings)) {
      add(base + "/captions", evaluate->captions);
      add(base + "/answers", evaluate->answers);
      if (is_prompt_folder(evaluate->prompts)) add(base + "/prompts", evaluate->prompts);
      for (std::size_t f = 0; f < evaluate->ratings.size(); ++f)
        add(base + "/ratings/" + std::to_string(f), evaluate->ratings[f]);
    }
    if (auto* train = std::get_if<TrainSettings>(&job.spec.stages[i].settings))
      for (std::size_t h = 0; h < train->concepts.heads.size(); ++h)
        add(base + "/concepts/heads/" + std::to_string(h) + "/vocabulary_from",
            train->concepts.heads[h].vocabulary_from);
    if (auto* filter = std::get_if<FilterSettings>(&job.spec.stages[i].settings)) {
      add(base + "/keep_list", filter->keep_list);
      add(base + "/drop_list", filter->drop_list);
      for (std::size_t c = 0; c < filter->columns.size(); ++c)
        if (filter->columns[c].sidecar != ".")  // beside the shards
          add(base + "/columns/" + std::to_string(c) + "/sidecar", filter->columns[c].sidecar);
    }
  }
  return found;
}

void make_paths_absolute(JobSpec& job, const std::string& folder) {
  for (const SpecPath& path : spec_paths(job)) {
    const std::filesystem::path given(*path.value);
    if (given.is_relative() || path.written)
      *path.value = (std::filesystem::path(folder) / given).lexically_normal();
    // One spelling per output, so that two jobs of one folder are seen to be that.
    if (path.written && path.value->size() > 1 && path.value->ends_with('/')) path.value->pop_back();
  }
}

}  // namespace trireme::jobs
