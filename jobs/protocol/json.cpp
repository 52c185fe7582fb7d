#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "jobs/layouts/line_list.h"
#include "jobs/protocol/body.h"
#include "jobs/protocol/messages.h"

namespace trireme::jobs {
namespace {
using nlohmann::json;

// ---- writing ----------------------------------------------------------------------------------------------

constexpr char kHexDigits[] = "0123456789abcdef";

json value_of(bool value) {
  return value;
}
json value_of(std::int64_t value) {
  return value;
}
json value_of(std::uint64_t value) {
  return value;
}
json value_of(Rank value) {
  return value;
}
json value_of(double value) {  // JSON has no such numbers, a diverged loss has
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}
json value_of(const std::string& value) {  // paths may be any bytes
  if (is_utf8(value)) return value;
  std::string digits;
  for (const char c : value) {
    digits += kHexDigits[static_cast<unsigned char>(c) >> 4];
    digits += kHexDigits[static_cast<unsigned char>(c) & 15];
  }
  return json{{"hex", digits}};
}
template <NamedEnum Enum>
json value_of(Enum value) {
  return std::string(name_of(value));
}
json value_of(ErrorKind value) {
  return std::string(name_of(value));
}
json value_of(LeaseId value) {
  return value.value;
}
json value_of(const std::map<std::string, std::int64_t>& value) {
  return value;
}
struct Writer;
template <class T>
concept Described = requires(T value, Writer& writer) {
  value.visit(writer);
};
template <Described T>
json value_of(const T& value);
template <class T>
json value_of(const std::vector<T>& values);
template <class T>
json value_of(const std::optional<T>& value);

struct Writer {
  json out = json::object();
  template <class T>
  void field(const char* key, const T& value) {
    out[key] = value_of(value);
  }
};

template <Described T>
json value_of(const T& value) {
  Writer writer;
  const_cast<T&>(value).visit(writer);
  return std::move(writer.out);
}
template <class T>
json value_of(const std::vector<T>& values) {
  json out = json::array();
  for (const T& value : values) out.push_back(value_of(value));
  return out;
}
template <class T>
json value_of(const std::optional<T>& value) {
  return value ? value_of(*value) : json(nullptr);
}

std::string text_of(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// ---- reading ----------------------------------------------------------------------------------------------

[[noreturn]] void damaged(const std::string& what) {
  throw Error(ErrorKind::kDamaged, "message body: " + what);
}

void read(const json& in, bool& value) {
  if (!in.is_boolean()) damaged("not a boolean");
  value = in.get<bool>();
}
void read(const json& in, std::int64_t& value) {
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!in.is_number_integer() || (in.is_number_unsigned() && in.get<std::uint64_t>() > kMost))
    damaged("not a 64-bit integer");
  value = in.get<std::int64_t>();
}
void read(const json& in, std::uint64_t& value) {
  if (!in.is_number_unsigned()) damaged("not an unsigned integer");
  value = in.get<std::uint64_t>();
}
void read(const json& in, Rank& value) {
  std::int64_t wide = 0;
  read(in, wide);
  if (wide < 0 || wide > std::numeric_limits<Rank>::max()) damaged("not a rank");
  value = static_cast<Rank>(wide);
}
void read(const json& in, double& value) {
  if (in.is_number())
    value = in.get<double>();
  else if (in == "nan")
    value = std::numeric_limits<double>::quiet_NaN();
  else if (in == "inf" || in == "-inf")
    value = in == "inf" ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
  else
    damaged("not a number");
}
int hex_digit(char c) {
  const auto found = std::string_view(kHexDigits, 16).find(c);
  if (found == std::string_view::npos) damaged("not a hexadecimal digit");
  return static_cast<int>(found);
}
void read(const json& in, std::string& value) {
  if (in.is_string()) {
    value = in.get_ref<const std::string&>();
    return;
  }
  if (!in.is_object() || in.size() != 1 || !in.contains("hex") || !in["hex"].is_string())
    damaged("not a string");
  const auto& digits = in["hex"].get_ref<const std::string&>();
  if (digits.size() % 2 != 0) damaged("half a byte");
  value.clear();
  for (std::size_t i = 0; i < digits.size(); i += 2)
    value += static_cast<char>(hex_digit(digits[i]) * 16 + hex_digit(digits[i + 1]));
}
template <NamedEnum Enum>
void read(const json& in, Enum& value) {
  std::string name;
  read(in, name);
  const auto found = from_name<Enum>(name);
  if (!found) damaged("unknown name '" + name + "'");
  value = *found;
}
void read(const json& in, ErrorKind& value) {
  std::string name;
  read(in, name);
  value = error_kind_from_name(name);
}
void read(const json& in, LeaseId& value) {
  read(in, value.value);
}
void read(const json& in, std::map<std::string, std::int64_t>& value) {
  if (!in.is_object()) damaged("not an object");
  value.clear();
  for (const auto& [key, number] : in.items()) read(number, value[key]);
}
template <Described T>
void read(const json& in, T& value);
template <class T>
void read(const json& in, std::vector<T>& values);
template <class T>
void read(const json& in, std::optional<T>& value);

struct Reader {
  const json& in;
  template <class T>
  void field(const char* key, T& value) {
    const auto found = in.find(key);
    if (found == in.end()) damaged(std::string("'") + key + "' is missing");
    try {
      read(*found, value);
    } catch (const Error& error) {
      throw Error(ErrorKind::kDamaged, std::string("'") + key + "': " + error.what());
    }
  }
};

template <Described T>
void read(const json& in, T& value) {
  if (!in.is_object()) damaged("not an object");
  Reader reader{in};
  value.visit(reader);
}
template <class T>
void read(const json& in, std::vector<T>& values) {
  if (!in.is_array()) damaged("not a list");
  values.clear();
  values.resize(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) read(in[i], values[i]);
}
template <class T>
void read(const json& in, std::optional<T>& value) {
  value.reset();
  if (!in.is_null()) read(in, value.emplace());
}

json parse(std::string_view text) {
  json value = json::parse(text, nullptr, false);
  if (value.is_discarded()) damaged("not JSON: '" + std::string(text.substr(0, 80)) + "'");
  return value;
}

template <class T>
T from_text(std::string_view text) {
  T value;
  read(parse(text), value);
  return value;
}

template <std::size_t... kTypes>
Message message_of_type(std::size_t type, std::string_view body, std::index_sequence<kTypes...>) {
  Message message;
  const bool known =
      ((type == kTypes ? (message = from_text<std::variant_alternative_t<kTypes, Message>>(body), true)
                       : false) ||
       ...);
  if (!known) damaged("unknown type " + std::to_string(type));
  return message;
}

}  // namespace

std::string body_of(const Message& message) {
  return std::visit([](const auto& alternative) { return text_of(value_of(alternative)); }, message);
}
Message message_from_body(std::size_t type, std::string_view body) {
  return message_of_type(type, body, std::make_index_sequence<std::variant_size_v<Message>>());
}

std::string to_json(const Task& task) {
  return text_of(value_of(task));
}
Task task_from_json(std::string_view text) {
  return from_text<Task>(text);
}
std::string to_json(const InputFile& input) {
  return text_of(value_of(input));
}
std::string to_json(const ShardRef& shard) {
  return text_of(value_of(shard));
}
ShardRef shard_from_json(std::string_view text) {
  return from_text<ShardRef>(text);
}
std::string to_json(const ShardSummary& summary) {
  return text_of(value_of(summary));
}
ShardSummary summary_from_json(std::string_view text) {
  json in = parse(text);
  if (in.is_object() && !in.contains("reading"))  // of the first version
    in.update({{"seen", json::object()}, {"reading", ""}, {"advice", ""}});
  ShardSummary summary;
  read(in, summary);
  return summary;
}

std::string to_json(const InputsLine& line) {
  if (line.shard.has_value() == line.input.has_value())
    throw Error(ErrorKind::kInternal, "a line of an inputs file holds a shard or an input, one of the two");
  return line.shard ? text_of({{"shard", value_of(*line.shard)}})
                    : text_of({{"input", value_of(*line.input)}});
}
InputsLine inputs_line_from_json(std::string_view text) {
  const json in = parse(text);
  InputsLine line;
  if (!in.is_object() || in.size() != 1) damaged("a line of an inputs file holds one shard or one input");
  if (in.contains("shard"))
    read(in["shard"], line.shard.emplace());
  else if (in.contains("input"))
    read(in["input"], line.input.emplace());
  else
    damaged("a line of an inputs file holds one shard or one input");
  return line;
}

}  // namespace trireme::jobs
