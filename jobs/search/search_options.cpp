#include "jobs/search/search_options.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/nearest_name.h"
#include "common/io/file.h"

namespace trireme::jobs {
namespace {

[[noreturn]] void usage(const std::string& what) {
  throw Error(ErrorKind::kUsage, what, kSearchUsage);
}

std::int64_t whole(const std::string& name, const std::string& text, std::int64_t least) {
  std::int64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size() || number < least || number > kMostHits)
    usage(name + " needs a number from " + std::to_string(least) + " to " + std::to_string(kMostHits) +
          ", not '" + text + "'");
  return number;
}

double real(const std::string& name, const std::string& text) {
  double number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size() || !std::isfinite(number))
    usage(name + " needs a number, not '" + text + "'");
  return number;
}

void add_part(SearchOptions& options, QueryKind kind, double weight, const std::string& value) {
  const std::string label = kind == QueryKind::kImage ? io::Path(value).filename().string() : "";
  options.query.parts.push_back({kind, weight, value, label, {}});
}

void weigh_last(SearchOptions& options, double weight) {
  if (options.query.parts.empty()) usage("--weight follows the text or picture that it is of");
  if (weight == 0) usage("a part of weight 0 asks for nothing");
  options.query.parts.back().weight *= weight;
}

const std::vector<std::string> kOptions = {
    "--image",  "--text",  "--minus-text", "--minus-image",  "--item",  "--weight", "--k",
    "--offset", "--where", "--distinct",   "--least-recall", "--batch", "--html",   "--output"};

void take_option(const std::string& name, const std::string& value, SearchOptions& options) {
  SearchQuery& query = options.query;
  if (name == "--image" || name == "--minus-image") {
    add_part(options, QueryKind::kImage, name == "--image" ? 1 : -1, value);
  } else if (name == "--text" || name == "--minus-text") {
    add_part(options, QueryKind::kText, name == "--text" ? 1 : -1, value);
  } else if (name == "--item") {
    add_part(options, QueryKind::kItem, 1, value);
  } else if (name == "--weight") {
    weigh_last(options, real(name, value));
  } else if (name == "--k" || name == "-k") {
    query.k = whole(name, value, 1);
  } else if (name == "--offset") {
    query.offset = whole(name, value, 0);
  } else if (name == "--where") {
    query.filter.push_back(parse_condition(value));
  } else if (name == "--distinct") {
    query.distinct = real(name, value);
  } else if (name == "--least-recall") {
    query.least_recall = real(name, value);
  } else if (name == "--batch") {
    options.batch = value;
  } else if (name == "--html") {
    options.html = value;
  } else if (name == "-o" || name == "--output") {
    if (value != "json" && value != "text") usage("-o is json or text, not '" + value + "'");
    options.json = value == "json";
  } else {
    const std::string nearest = nearest_name(name, kOptions);
    usage("unknown option " + name + (nearest.empty() ? "" : "; did you mean " + nearest + "?"));
  }
}

bool take_flag(const std::string& name, SearchOptions& options) {
  if (name == "--exact") return options.query.exact = true;
  if (name == "--no-service") return !(options.service = false);
  return false;
}

void check(const SearchOptions& options) {
  if (options.run.empty()) usage("which run should be searched?");
  if (options.query.parts.empty() == options.batch.empty())
    usage("what should be searched for? Give a text or --image FILE, or --batch FILE alone");
  for (const auto& part : options.query.parts)
    if (is_blank(part.value)) usage("an empty query finds nothing");
  if (options.query.offset + options.query.k > kMostHits)
    usage("--offset and --k together reach beyond " + std::to_string(kMostHits));
}

}  // namespace

const char* const kSearchUsage =
    "usage: trireme search RUN [TEXT] [--image FILE] [--item ID] [--minus-text TEXT] [--minus-image FILE] "
    "[--weight W (of the part before it)] [--k 10] [--offset 0] [--where COLUMN>=NUMBER] [--distinct 0.95] "
    "[--exact] [--least-recall R] [--batch FILE] [-o json] [--html FILE|none] [--no-service]";

SearchOptions parse_search(const std::vector<std::string>& arguments) {
  SearchOptions options;
  bool only_words = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!only_words && argument == "--") {
      only_words = true;
    } else if (!only_words && argument.size() > 1 && argument[0] == '-') {
      if (take_flag(argument, options)) continue;
      const auto equals = argument.starts_with("--") ? argument.find('=') : std::string::npos;
      if (equals == std::string::npos && i + 1 == arguments.size()) usage(argument + " needs a value");
      take_option(argument.substr(0, equals),
                  equals == std::string::npos ? arguments[++i] : argument.substr(equals + 1), options);
    } else if (options.run.empty()) {
      options.run = argument;
    } else {
      add_part(options, QueryKind::kText, 1, argument);
    }
  }
  check(options);
  return options;
}

void read_pictures(SearchQuery& query) {
  for (auto& part : query.parts) {
    if (part.kind != QueryKind::kImage) continue;
    part.value = io::read_file(part.value, kLargestPicture);
  }
}

std::string answer_text(const std::string& answer) {
  const auto json = nlohmann::ordered_json::parse(answer);
  std::string out = "rank   score  key\n";
  for (const auto& hit : json.at("hits")) {
    char number[48];
    std::snprintf(number, sizeof number, "%4lld  %6.4f  ", hit.at("rank").get<long long>(),
                  hit.at("score").get<double>());
    const auto& captions = hit.at("captions");
    out += number + printable(hit.at("key").get<std::string>(), 200) + "  " +
           (captions.empty() ? "" : printable(captions.front().get<std::string>(), 200)) + "\n";
  }
  for (const auto& damaged : json.value("damaged", std::vector<std::string>()))
    out += "not searched, because it is damaged: " + printable(damaged, 200) + "\n";
  return out;
}

}  // namespace trireme::jobs
