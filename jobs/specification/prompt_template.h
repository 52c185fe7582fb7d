// Prompts with a place for the name of a class or a concept: "{c}", or "{}" as other programs write it.
#pragma once

#include <string>
#include <string_view>

namespace trireme::jobs {

// Whether a setting `prompts` is a folder of lists rather than "<language>:<set>".
inline bool is_prompt_folder(std::string_view prompts) {
  return prompts.find('/') != std::string_view::npos;
}

inline bool has_class_place(std::string_view prompt) {
  return prompt.find("{c}") != std::string_view::npos;
}

// "{}" becomes "{c}"; a prompt that holds "{c}" stays as it is.
inline std::string with_class_place(std::string prompt) {
  if (has_class_place(prompt)) return prompt;
  for (auto at = prompt.find("{}"); at != std::string::npos; at = prompt.find("{}", at + 3))
    prompt.replace(at, 2, "{c}");
  return prompt;
}

inline std::string filled_prompt(std::string prompt, const std::string& name) {
  for (auto at = prompt.find("{c}"); at != std::string::npos; at = prompt.find("{c}", at + name.size()))
    prompt.replace(at, 3, name);
  return prompt;
}

}  // namespace trireme::jobs
