#include "worker/stages/filter/facts.h"

#include <charconv>

#include <simdjson.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"

namespace trireme::worker::stages::filter {
namespace {

namespace dom = simdjson::dom;

void put_text(std::string& out, std::string_view text) {
  out += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void put_number(std::string& out, double number) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, end);
}

// ["words", "images_per_text", complexity, without intransitives, actions, "language", rarest count,
// "rarest"]
void put_caption(std::string& out, const CaptionFacts& caption) {
  out += '[';
  for (const std::int64_t number : {caption.words, caption.images_per_text, caption.complexity,
                                    caption.complexity_without_intransitive, caption.actions})
    out += std::to_string(number) + ",";
  out += "\"" + caption.language + "\"," + std::to_string(caption.rarest_count) + ",";
  put_text(out, caption.rarest);
  out += ']';
}

void put_value(std::string& out, const ColumnValue& value) {
  if (value.kind == ColumnValue::kNumber)
    put_number(out, value.number);
  else if (value.kind == ColumnValue::kText)
    put_text(out, value.text);
  else if (value.kind == ColumnValue::kOther)
    out += "{\"type\":\"" + value.text + "\"}";
  else
    out += "null";
}

template <class Map, class Put>
void put_members(std::string& out, const char* name, const Map& members, Put put) {
  if (members.empty()) return;
  out += std::string(",\"") + name + "\":{";
  bool first = true;
  for (const auto& [key, value] : members) {
    if (!first) out += ',';
    first = false;
    put_text(out, key);
    out += ':';
    put(out, value);
  }
  out += '}';
}

void put_near(std::string& out, const NearFact& near) {
  out += '[';
  put_text(out, near.place);
  out += ',';
  put_number(out, near.measure);
  out += ",\"" + near.by + "\"]";
}

// [[text, confidence, [overlap with each caption]], …]
void put_spotted(std::string& out, const std::vector<SpottedFact>& spotted) {
  if (spotted.empty()) return;
  const char* before = ",\"spotted\":[[";
  for (const auto& [text, confidence, overlaps] : spotted) {
    out += before;
    before = ",[";
    put_text(out, text);
    out += ',';
    put_number(out, confidence);
    out += ",[";
    for (std::size_t i = 0; i < overlaps.size(); ++i) out += (i > 0 ? "," : "") + std::to_string(overlaps[i]);
    out += "]]";
  }
  out += ']';
}

void put_sample(std::string& out, std::int64_t sample, const SampleFacts& facts) {
  out += "{\"sample\":" + std::to_string(sample) + ",\"key\":";
  put_text(out, facts.key);
  out += ",\"size\":[" + std::to_string(facts.width) + "," + std::to_string(facts.height) + "]";
  if (!facts.decode_fault.empty()) out += ",\"fault\":\"" + facts.decode_fault + "\"";
  if (facts.texts_per_image != 1) out += ",\"texts_per_image\":" + std::to_string(facts.texts_per_image);
  out += ",\"captions\":[";
  for (std::size_t i = 0; i < facts.captions.size(); ++i) {
    if (i > 0) out += ',';
    put_caption(out, facts.captions[i]);
  }
  out += ']';
  put_members(out, "columns", facts.columns, put_value);
  put_members(out, "copies", facts.copies,
              [](std::string& to, const std::string& text) { put_text(to, text); });
  put_members(out, "near", facts.near, put_near);
  if (facts.against) {
    out += ",\"against\":";
    put_near(out, *facts.against);
  }
  put_spotted(out, facts.spotted);
  out += "}\n";
}

ColumnValue value_of(const dom::element& element) {
  ColumnValue value;
  if (double number = 0; element.is_number() && element.get(number) == simdjson::SUCCESS) {
    value.kind = ColumnValue::kNumber;
    value.number = number;
  } else if (std::string_view text; element.get(text) == simdjson::SUCCESS) {
    value.kind = ColumnValue::kText;
    value.text = text;
  } else if (!element.is_null()) {
    value.kind = ColumnValue::kOther;
    value.text = element.is_bool() ? "boolean" : element.is_array() ? "array" : "object";
  }
  return value;
}

CaptionFacts caption_of(const dom::array& row) {
  CaptionFacts caption;
  std::int64_t* const numbers[] = {&caption.words, &caption.images_per_text, &caption.complexity,
                                   &caption.complexity_without_intransitive, &caption.actions};
  for (std::size_t i = 0; i < 5; ++i) *numbers[i] = std::int64_t(row.at(i).value());
  caption.language = std::string_view(row.at(5).value());
  caption.rarest_count = std::int64_t(row.at(6).value());
  caption.rarest = std::string_view(row.at(7).value());
  return caption;
}

NearFact near_of(const dom::element& row) {
  return {std::string(std::string_view(row.at(0).value())), double(row.at(1).value()),
          std::string(std::string_view(row.at(2).value()))};
}

std::vector<SpottedFact> spotted_of(const dom::element& line) {
  std::vector<SpottedFact> out;
  dom::array rows;
  if (line["spotted"].get(rows) != simdjson::SUCCESS) return out;
  for (const dom::element row : rows) {
    auto& fact = out.emplace_back();
    fact.text = std::string_view(row.at(0).value());
    fact.confidence = double(row.at(1).value());
    for (const dom::element number : dom::array(row.at(2).value()))
      fact.overlaps.push_back(std::int64_t(number));
  }
  return out;
}

SampleFacts sample_of(const dom::element& line) {
  SampleFacts facts;
  facts.key = std::string_view(line["key"].value());
  const dom::array size = line["size"].value();
  facts.width = std::int64_t(size.at(0).value());
  facts.height = std::int64_t(size.at(1).value());
  std::string_view text;
  if (line["fault"].get(text) == simdjson::SUCCESS) facts.decode_fault = text;
  if (std::int64_t number = 0; line["texts_per_image"].get(number) == simdjson::SUCCESS)
    facts.texts_per_image = number;
  for (const dom::element& row : dom::array(line["captions"].value()))
    facts.captions.push_back(caption_of(row));
  dom::object members;
  if (line["columns"].get(members) == simdjson::SUCCESS)
    for (const auto& [name, value] : members) {
      ColumnValue& column = facts.columns[std::string(name)] = value_of(value);
      if (column.kind == ColumnValue::kOther) column.text = std::string_view(value["type"].value());
    }
  if (line["copies"].get(members) == simdjson::SUCCESS)
    for (const auto& [name, value] : members) facts.copies[std::string(name)] = std::string_view(value);
  if (line["near"].get(members) == simdjson::SUCCESS)
    for (const auto& [name, value] : members) facts.near[std::string(name)] = near_of(value);
  if (dom::element against; line["against"].get(against) == simdjson::SUCCESS)
    facts.against = near_of(against);
  facts.spotted = spotted_of(line);
  return facts;
}

}  // namespace

std::string facts_file(std::int64_t first, const std::vector<SampleFacts>& samples) {
  std::string out =
      nlohmann::ordered_json{
          {"format", "trireme-facts"}, {"version", 2}, {"first", first}, {"count", samples.size()}}
          .dump() +
      "\n";
  for (std::size_t i = 0; i < samples.size(); ++i)
    put_sample(out, first + static_cast<std::int64_t>(i), samples[i]);
  return out;
}

std::vector<SampleFacts> read_facts(const io::Path& path, std::int64_t first, std::int64_t count) {
  const std::string text = io::read_file(path);
  std::vector<SampleFacts> out;
  dom::parser parser;
  std::int64_t number = 0;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string why;
    try {
      const dom::element line = parser.parse(text.data() + at, end - at).value();
      if (number == 0) {
        if (std::string_view(line["format"].value()) != "trireme-facts" ||
            std::int64_t(line["version"].value()) != 2)
          why = "not facts of version 2";
        else if (count >= 0 && (std::int64_t(line["first"].value()) != first ||
                                std::int64_t(line["count"].value()) != count))
          why = "it holds another range";
        first = std::int64_t(line["first"].value());
        count = std::int64_t(line["count"].value());
      } else if (std::int64_t(line["sample"].value()) != first + number - 1) {
        why = "a sample is missing or out of order";
      } else {
        out.push_back(sample_of(line));
      }
    } catch (const simdjson::simdjson_error& error) {
      why = error.what();
    }
    if (!why.empty())
      throw Error(ErrorKind::kDamaged, path.string() + ":" + std::to_string(number + 1) + ": " + why,
                  "remove the file and run the filter stage again");
    at = end + 1;
  }
  if (static_cast<std::int64_t>(out.size()) != count)
    throw Error(ErrorKind::kDamaged, path.string() + " ends before its last sample",
                "remove the file and run the filter stage again");
  return out;
}

std::map<std::string, ColumnValue> column_values(std::string_view text,
                                                 const std::vector<std::string>& names) {
  std::map<std::string, ColumnValue> out;
  for (const auto& name : names) out[name];
  if (names.empty() || text.empty()) return out;
  thread_local dom::parser parser;
  dom::element document;
  if (parser.parse(text.data(), text.size()).get(document) != simdjson::SUCCESS) return out;
  for (const auto& name : names)
    if (dom::element member; document[name].get(member) == simdjson::SUCCESS) out[name] = value_of(member);
  return out;
}

}  // namespace trireme::worker::stages::filter
