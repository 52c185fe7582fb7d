// What an address holds of a described struct: every field but those that came after stores had been written
// (FieldRules::added) and have their default, so that what was made before is found again.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "jobs/specification/json/field_writer.h"

namespace trireme::jobs {

class AddedFields {
 public:
  AddedFields(Json& tree, const Json& initial) : tree_(tree), initial_(initial) {}

  template <class T>
  void field(const char* name, T& value, const FieldRules& rules = {}) {
    Json* found = tree_.find(name);
    const Json* initial = initial_.find(name);
    if (found == nullptr) return;
    if (rules.added && initial != nullptr && dump_json(*found) == dump_json(*initial))
      tree_.erase(name);
    else
      inside(value, *found);
  }

  // The tree of `value` without them.
  template <class T>
  static Json tree_of(T value) {
    Json tree = FieldWriter::json_of(value);
    const Json initial = FieldWriter::json_of(T{});
    AddedFields fields(tree, initial);
    value.visit(fields);
    return tree;
  }

 private:
  template <class T>
  static void inside(T& value, Json& tree) {
    if constexpr (requires(AddedFields fields) { value.visit(fields); }) tree = tree_of(value);
  }
  template <class T>
  static void inside(std::vector<T>& values, Json& tree) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      T value = values[i];
      inside(value, tree.items[i]);
    }
  }
  template <class T>
  static void inside(std::optional<T>& value, Json& tree) {
    if (value) inside(*value, tree);
  }

  Json& tree_;
  const Json& initial_;
};

}  // namespace trireme::jobs
