// Class names and prompts of CLIP_benchmark's sets in several languages, as its wheel has them (FORMATS 1),
// kept beside the published weights: <weights folder>/clip_benchmark/<language>_classnames.json and
// <language>_zeroshot_classification_templates.json; or those of a folder, in the lists that lie beside
// shards. For planner and worker alike.
#pragma once

#include <string>
#include <vector>

#include "common/io/file.h"

namespace trireme::jobs {

struct PromptSet {
  std::string language, set;
  std::vector<std::string> classes;    // empty: the language's file names none, those of the data count
  std::vector<std::string> templates;  // of the set; where it has none of imagenet1k, as CLIP_benchmark does
  bool own_templates = true;
};

// `name`: "<language>:<set>", as "en:cifar10", or a folder (is_prompt_folder) with classnames.txt,
// zeroshot_classification_templates.txt or both. Throws kNotFound with the nearest name, or with what
// installs the files, kDamaged, and what the reader of lists throws.
PromptSet prompt_set(const std::string& name);
std::vector<io::Path> prompt_set_files(const std::string& name);  // that decide it

// "en" of "en:cifar10"; "" of "" and of a folder.
std::string language_of(const std::string& name);

}  // namespace trireme::jobs
