#include "jobs/specification/checks/check_unread.h"

#include "jobs/specification/json/field_writer.h"
#include "jobs/specification/json/names.h"

namespace trireme::jobs {
namespace {

class UnreadFields;

template <class T>
concept Described = requires(T value, UnreadFields& fields) {
  value.visit(fields);
};

class UnreadFields {
 public:
  UnreadFields(const Json& initial, std::string at, std::vector<SpecFault>& faults)
      : initial_(initial), at_(std::move(at)), faults_(faults) {}

  template <class T>
  void field(const char* name, T& value, const FieldRules& rules = {}) {
    const Json* initial = initial_.find(name);
    const std::string at = at_ + pointer_token(name);
    if (rules.unread == nullptr) return inside(value, initial == nullptr ? Json() : *initial, at);
    const Json now = FieldWriter::json_of(value);
    if (initial == nullptr ? !FieldWriter::is_nothing(now) : dump_json(now) != dump_json(*initial))
      add_fault(faults_, unread_fault(at, rules.unread));
  }

  template <Described T>
  static void look(T value, const Json& initial, const std::string& at, std::vector<SpecFault>& faults) {
    UnreadFields fields(initial, at, faults);
    value.visit(fields);
  }

 private:
  template <class T>
  void inside(T& value, const Json& initial, const std::string& at) {
    if constexpr (Described<T>) look(value, initial, at, faults_);
  }
  template <class T>
  void inside(std::vector<T>& values, const Json&, const std::string& at) {
    if constexpr (Described<T>)
      for (std::size_t i = 0; i < values.size(); ++i)
        look(values[i], FieldWriter::json_of(T{}), at + "/" + std::to_string(i), faults_);
  }
  template <class T>
  void inside(std::optional<T>& value, const Json&, const std::string& at) {
    if constexpr (Described<T>)
      if (value) look(*value, FieldWriter::json_of(T{}), at, faults_);
  }

  const Json& initial_;
  std::string at_;
  std::vector<SpecFault>& faults_;
};

template <class T>
void check(const T& value, const std::string& at, std::vector<SpecFault>& faults) {
  UnreadFields::look(value, FieldWriter::json_of(T{}), at, faults);
}

}  // namespace

SpecFault unread_fault(const std::string& at, const std::string& why) {
  return {at, "unread", "nothing reads it: " + why, "leave it out"};
}

void check_unread(const StageSettings& settings, const std::string& at, std::vector<SpecFault>& faults) {
  std::visit([&](const auto& one) { check(one, at, faults); }, settings);
}
void check_unread(const ModelSpec& model, const std::string& at, std::vector<SpecFault>& faults) {
  check(model, at, faults);
}
void check_unread(const DataSpec& data, const std::string& at, std::vector<SpecFault>& faults) {
  check(data, at, faults);
}

}  // namespace trireme::jobs
