#include "coordinator/planner/sources/prompt_listing.h"

#include "common/base/error.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "jobs/store/prompt_sets.h"

namespace trireme::coordinator::planner {
namespace {

// The classes that the prompts name; 0 where those of the data count.
std::int64_t named_classes(const jobs::EvaluateSettings& evaluate, std::int64_t of_data, ListedJob& listed) {
  const jobs::PromptSet set = jobs::prompt_set(evaluate.prompts);
  const auto named = static_cast<std::int64_t>(set.classes.size());
  std::string hashes;
  for (const auto& file : jobs::prompt_set_files(evaluate.prompts))
    hashes += io::hex(io::xxh3_of_file(file)) + "\n";
  listed.weights["prompts " + evaluate.prompts] = io::xxh3_64(hashes);
  if (named > 0 && of_data > 0 && named != of_data)
    throw Error(ErrorKind::kInvalid,
                "prompts " + evaluate.prompts + " name " + std::to_string(named) + " classes, data set \"" +
                    evaluate.data + "\" has " + std::to_string(of_data),
                "labels count in the order of one list: choose the set that the labels were written for");
  if (!set.own_templates)
    listed.notes.push_back("prompts " + evaluate.prompts +
                           ": the set has no templates, those of imagenet1k stand in, as in CLIP_benchmark");
  return named;
}

// Ratings and answers, by content.
void list_file(const std::string& what, const std::string& path, const std::string& pointer,
               ListedJob& listed, std::vector<jobs::SpecFault>& faults) {
  if (path.empty()) return;
  if (!io::is_file(path))
    faults.push_back({pointer, "not_found", "there is no file " + path, ""});
  else
    listed.weights[what + " " + path] = io::xxh3_of_file(path);
}

}  // namespace

void list_prompts(const jobs::EvaluateSettings& evaluate, const std::string& at, ListedJob& listed,
                  std::vector<jobs::SpecFault>& faults) {
  for (std::size_t i = 0; i < evaluate.ratings.size(); ++i)
    list_file("ratings", evaluate.ratings[i], at + "/ratings/" + std::to_string(i), listed, faults);
  list_file("answers", evaluate.answers, at + "/answers", listed, faults);
  const auto known = listed.classes.find(evaluate.data);
  std::int64_t classes = known == listed.classes.end() ? 0 : known->second;
  if (!evaluate.prompts.empty()) try {
      if (const std::int64_t named = named_classes(evaluate, classes, listed); named > 0) classes = named;
    } catch (const Error& error) {
      faults.push_back({at + "/prompts", error.kind() == ErrorKind::kNotFound ? "not_found" : "invalid",
                        error.what(), ""});
    }
  if (evaluate.class_count && classes > 0 && classes != *evaluate.class_count)
    faults.push_back({at + "/class_count", "invalid",
                      "data set \"" + evaluate.data + "\" has " + std::to_string(classes) +
                          " class names, not " + std::to_string(*evaluate.class_count),
                      "it is another set, or another version of it"});
}

}  // namespace trireme::coordinator::planner
