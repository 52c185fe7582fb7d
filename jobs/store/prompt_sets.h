// Class names and prompts of CLIP_benchmark's sets in several languages, as its wheel has them (FORMATS 1),
// kept beside the published weights: <weights folder>/clip_benchmark/<language>_classnames.json and
// <language>_zeroshot_classification_templates.json. For planner and worker alike.
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

// `name`: "<language>:<set>", as "en:cifar10". Throws kNotFound with the nearest name, or with what installs
// the files, and kDamaged.
PromptSet prompt_set(const std::string& name);
std::vector<io::Path> prompt_set_files(const std::string& name);  // that decide it

// "en" of "en:cifar10"; "" of "".
std::string language_of(const std::string& name);

}  // namespace trireme::jobs
