#include "worker/search/segment.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "worker/search/manifest.h"

namespace trireme::worker::search {
namespace {

using nlohmann::ordered_json;
constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

std::string dumped(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// Strings one after another, and where each ends.
struct Joined {
  std::string bytes;
  std::vector<std::int64_t> end;
  void add(const std::string& one) {
    bytes += one;
    end.push_back(static_cast<std::int64_t>(bytes.size()));
  }
  void put(const std::string& name, std::vector<std::pair<std::string, at::Tensor>>& tensors) const {
    const auto length = static_cast<std::int64_t>(bytes.size());
    auto tensor = at::empty({length}, at::kByte);
    std::copy(bytes.begin(), bytes.end(), tensor.data_ptr<std::uint8_t>());
    tensors.emplace_back(name + ".end", at::tensor(end, at::kLong));
    tensors.emplace_back(name, tensor);
  }
};

void put_column(const std::string& column, const std::vector<ordered_json>& given,
                std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  std::vector<double> numbers;
  Joined texts;
  for (const auto& columns : given) {
    const auto value = columns.find(column);
    const bool there = value != columns.end();
    numbers.push_back(there && value->is_number()    ? value->get<double>()
                      : there && value->is_boolean() ? static_cast<double>(value->get<bool>())
                                                     : kMissing);
    texts.add(there && value->is_string() ? value->get<std::string>() : "");
  }
  tensors.emplace_back("number." + column, at::tensor(numbers, at::kDouble));
  texts.put("text." + column, tensors);
}

bool is_list(const at::Tensor& tensor, at::ScalarType type, std::int64_t length) {
  return tensor.dim() == 1 && tensor.scalar_type() == type && tensor.size(0) == length;
}

}  // namespace

void write_segment(const io::Path& path, const at::Tensor& image_nD, const std::vector<Item>& items,
                   const std::vector<std::string>& columns) {
  Joined about;
  std::vector<std::int64_t> samples;
  std::vector<ordered_json> given;
  for (const auto& item : items) {
    given.push_back(ordered_json::parse(item.columns));
    about.add(dumped(
        {{"key", item.key}, {"url", item.url}, {"captions", item.captions}, {"columns", given.back()}}));
    samples.push_back(item.sample);
  }
  std::vector<std::pair<std::string, at::Tensor>> tensors = {{"image", image_nD.to(at::kHalf).contiguous()},
                                                             {"sample", at::tensor(samples, at::kLong)}};
  about.put("about", tensors);
  for (const auto& column : columns) put_column(column, given, tensors);
  std::stable_sort(tensors.begin(), tensors.end(),
                   [](const auto& a, const auto& b) {  // so that all are aligned
                     return a.second.element_size() > b.second.element_size();
                   });
  checkpoint::write_safetensors(path, tensors, {{"format", "trireme-segment"}, {"version", "1"}});
}

Segment::Strings Segment::strings(const std::string& name) const {
  const at::Tensor bytes = file_.view(name), end = file_.view(name + ".end");
  const auto length = bytes.size(0);
  if (!is_list(bytes, at::kByte, length) || !is_list(end, at::kLong, size()))
    throw Error(ErrorKind::kDamaged, name_ + ": '" + name + "' does not have one string per row", kMakeAgain);
  const auto* const ends = end.const_data_ptr<std::int64_t>();
  for (std::int64_t row = 0; row < size(); ++row)
    if (ends[row] < (row == 0 ? 0 : ends[row - 1]) || ends[row] > length)
      throw Error(ErrorKind::kDamaged, name_ + ": strings of '" + name + "' overlap", kMakeAgain);
  return {
      {reinterpret_cast<const char*>(bytes.const_data_ptr<std::uint8_t>()), static_cast<std::size_t>(length)},
      ends};
}

Segment::Segment(const io::Path& path) : name_(path.string()), file_(path) {
  const auto format = file_.metadata().find("format");
  if (format == file_.metadata().end() || format->second != "trireme-segment")
    throw Error(ErrorKind::kDamaged, name_ + " is no segment of an index", kMakeAgain);
  image_nD_ = file_.view("image");
  if (image_nD_.dim() != 2 || image_nD_.scalar_type() != at::kHalf)
    throw Error(ErrorKind::kDamaged, name_ + ": 'image' is not a matrix of float16", kMakeAgain);
  const at::Tensor sample = file_.view("sample");
  if (!is_list(sample, at::kLong, size()))
    throw Error(ErrorKind::kDamaged, name_ + ": 'sample' does not have one number per row", kMakeAgain);
  sample_ = sample.const_data_ptr<std::int64_t>();
  about_ = strings("about");
  for (const auto& name : file_.names()) {
    if (!name.starts_with("number.")) continue;
    const std::string column = name.substr(7);
    const at::Tensor numbers = file_.view(name);
    if (!is_list(numbers, at::kDouble, size()))
      throw Error(ErrorKind::kDamaged, name_ + ": '" + name + "' does not have one number per row",
                  kMakeAgain);
    numbers_[column] = numbers.const_data_ptr<double>();
    texts_[column] = strings("text." + column);
  }
}

Item Segment::item(std::int64_t row) const {
  const auto about = ordered_json::parse(about_.at(row), nullptr, false);
  if (!about.is_object()) throw Error(ErrorKind::kDamaged, name_ + ": an item cannot be read", kMakeAgain);
  return {sample_[row], about.value("key", ""), about.value("url", ""),
          about.value("captions", std::vector<std::string>()),
          about.value("columns", ordered_json::object()).dump()};
}

std::vector<std::string> Segment::columns() const {
  std::vector<std::string> names;
  for (const auto& [name, unused] : numbers_) names.push_back(name);
  return names;
}

double Segment::number(const std::string& column, std::int64_t row) const {
  const auto found = numbers_.find(column);
  return found == numbers_.end() ? kMissing : found->second[row];
}

std::string_view Segment::text(const std::string& column, std::int64_t row) const {
  const auto found = texts_.find(column);
  return found == texts_.end() ? std::string_view() : found->second.at(row);
}

}  // namespace trireme::worker::search
