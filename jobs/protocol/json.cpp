#include <cmath>
#include <limits>
#include <type_traits>

#include <nlohmann/json.hpp>

#include "jobs/layouts/line_list.h"
#include "jobs/protocol/body.h"
#include "jobs/protocol/messages.h"

namespace trireme::jobs {
namespace {
using nlohmann::json;

// ---- what each struct is made of; written and read through the same list --------------------------------

template <class V>
void describe(V& v, ShardRef& m) {
  v("data", m.data)("shard", m.shard)("path", m.path)("format", m.format)("source", m.source);
  v("bytes", m.bytes)("sha256", m.sha256)("samples", m.samples);
  v("selected_first", m.selected_first)("selected_count", m.selected_count);
}
template <class V>
void describe(V& v, InputFile& m) {
  v("role", m.role)("stage", m.stage)("data", m.data)("shard", m.shard)("first", m.first)("path", m.path);
  v("xxh3", m.xxh3);
}
template <class V>
void describe(V& v, Task& m) {
  v("lease", m.lease)("job", m.job)("stage", m.stage)("kind", m.kind)("settings", m.settings)("data", m.data);
  v("model", m.model)("evaluate_data", m.evaluate_data)("shard", m.shard)("first", m.first)("count", m.count)(
      "inputs", m.inputs);
  v("inputs_file", m.inputs_file)("address", m.address)("output", m.output)("members", m.members);
  v("stage_folder", m.stage_folder)("checkpoint_folder", m.checkpoint_folder)("resume_from", m.resume_from);
  v("checkpoint_every_steps", m.checkpoint_every_steps);
  v("checkpoint_every_seconds", m.checkpoint_every_seconds);
}
template <class V>
void describe(V& v, ShardSummary& m) {
  v("sha256", m.sha256)("samples", m.samples)("captions", m.captions)("labels", m.labels)("bad", m.bad);
  v("examples", m.examples)("seen", m.seen)("reading", m.reading)("advice", m.advice);
}
template <class V>
void describe(V& v, Hello& m) {
  v("host", m.host)("pid", m.pid)("cores", m.cores)("device", m.device)("code_version", m.code_version);
  v("metrics_port", m.metrics_port)("metrics_host", m.metrics_host);
}
template <class V>
void describe(V& v, Heartbeat& m) {
  v("sequence", m.sequence)("lease", m.lease)("done", m.done)("total", m.total);
  v("resident_bytes", m.resident_bytes);
}
template <class V>
void describe(V& v, StepReport& m) {
  v("lease", m.lease)("step", m.step)("steps", m.steps)("epoch", m.epoch)("samples", m.samples);
  v("loss", m.loss)("learning_rate", m.learning_rate)("logit_scale", m.logit_scale);
  v("gradient_norm", m.gradient_norm)("samples_per_second", m.samples_per_second)("evaluation", m.evaluation);
}
template <class V>
void describe(V& v, OutputFile& m) {
  v("name", m.name)("path", m.path)("bytes", m.bytes)("xxh3", m.xxh3);
}
template <class V>
void describe(V& v, TaskDone& m) {
  v("lease", m.lease)("reused", m.reused)("outputs", m.outputs)("counts", m.counts)("summary", m.summary);
  v("seconds", m.seconds);
}
template <class V>
void describe(V& v, TaskFailed& m) {
  v("lease", m.lease)("kind", m.kind)("retryable", m.retryable)("message", m.message);
}
template <class V>
void describe(V& v, CheckpointWritten& m) {
  v("lease", m.lease)("step", m.step)("epoch", m.epoch)("best", m.best)("metric", m.metric);
  v("folder", m.folder)("files", m.files)("state", m.state)("stall_seconds", m.stall_seconds);
  v("write_seconds", m.write_seconds);
}
template <class V>
void describe(V& v, Welcome& m) {
  v("run_id", m.run_id)("job", m.job)("heartbeat_seconds", m.heartbeat_seconds);
  v("fence_seconds", m.fence_seconds);
}
template <class V>
void describe(V& v, Assign& m) {
  v("task", m.task);
}
template <class V>
void describe(V& v, Cancel& m) {
  v("lease", m.lease)("checkpoint_first", m.checkpoint_first)("reason", m.reason);
}
template <class V>
void describe(V& v, CheckpointCommitted& m) {
  v("lease", m.lease)("step", m.step);
}
template <class V>
void describe(V&, Ping&) {}
template <class V>
void describe(V&, Leave&) {}

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
json value_of(TaskKind value) {
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
template <class T>
requires std::is_aggregate_v<T>  // the structs above
    json value_of(const T& value);
template <class T>
json value_of(const std::vector<T>& values);
template <class T>
json value_of(const std::optional<T>& value);

struct Writer {
  json out = json::object();
  template <class T>
  Writer& operator()(const char* key, const T& value) {
    out[key] = value_of(value);
    return *this;
  }
};

template <class T>
requires std::is_aggregate_v<T> json value_of(const T& value) {
  Writer writer;
  describe(writer, const_cast<T&>(value));
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
void read(const json& in, TaskKind& value) {
  std::string name;
  read(in, name);
  value = task_kind_from_name(name);
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
template <class T>
requires std::is_aggregate_v<T>
void read(const json& in, T& value);
template <class T>
void read(const json& in, std::vector<T>& values);
template <class T>
void read(const json& in, std::optional<T>& value);

struct Reader {
  const json& in;
  template <class T>
  Reader& operator()(const char* key, T& value) {
    const auto found = in.find(key);
    if (found == in.end()) damaged(std::string("'") + key + "' is missing");
    try {
      read(*found, value);
    } catch (const Error& error) {
      throw Error(ErrorKind::kDamaged, std::string("'") + key + "': " + error.what());
    }
    return *this;
  }
};

template <class T>
requires std::is_aggregate_v<T>
void read(const json& in, T& value) {
  if (!in.is_object()) damaged("not an object");
  Reader reader{in};
  describe(reader, value);
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

constexpr std::string_view kTaskKindNames[] = {"synthesize",
                                               "inspect",
                                               "filter",
                                               "pair_counts_map",
                                               "pair_counts_merge",
                                               "embed",
                                               "train",
                                               "evaluate",
                                               "index",
                                               "vocabulary_map",
                                               "vocabulary_merge",
                                               "vocabulary_train",
                                               "measure",
                                               "ngrams_map",
                                               "ngrams_merge",
                                               "duplicates_map",
                                               "duplicates_merge",
                                               "export",
                                               "cuts",
                                               "caption",
                                               "concept_words_map",
                                               "concept_words_merge",
                                               "concept_vocabulary",
                                               "concept_teacher",
                                               "concepts",
                                               "signatures",
                                               "near_pairs",
                                               "near_clusters",
                                               "pair_scores"};
}  // namespace

std::string_view name_of(TaskKind kind) {
  return kTaskKindNames[static_cast<std::size_t>(kind)];
}
TaskKind task_kind_from_name(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kTaskKindNames); ++i)
    if (kTaskKindNames[i] == name) return static_cast<TaskKind>(i);
  throw Error(ErrorKind::kDamaged, "unknown kind of task '" + std::string(name) + "'");
}

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
InputFile input_from_json(std::string_view text) {
  return from_text<InputFile>(text);
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
