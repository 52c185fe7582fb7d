#include "worker/stages/index/search_options.h"

#include <charconv>

#include "common/base/error.h"
#include "common/base/nearest_name.h"

namespace trireme::worker::stages::index {
namespace {

constexpr std::int64_t kMostHits = 10000;

[[noreturn]] void usage(const std::string& what) {
  throw Error(ErrorKind::kUsage, what, kSearchUsage);
}

std::int64_t parse_k(const std::string& text) {
  std::int64_t k = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), k);
  if (failure != std::errc() || end != text.data() + text.size() || k < 1 || k > kMostHits) {
    usage("--k needs a number from 1 to " + std::to_string(kMostHits) + ", not '" + text + "'");
  }
  return k;
}

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

void take_option(const std::string& name, const std::string& value, SearchOptions& options) {
  if (name == "--image") {
    options.query.push_back({true, 1, value});
  } else if (name == "--text") {
    options.query.push_back({false, 1, value});
  } else if (name == "--minus-text") {
    options.query.push_back({false, -1, value});
  } else if (name == "--minus-image") {
    options.query.push_back({true, -1, value});
  } else if (name == "--k" || name == "-k") {
    options.k = parse_k(value);
  } else if (name == "--html") {
    options.html = value;
  } else if (name == "-o" || name == "--output") {
    if (value != "json" && value != "text") usage("-o is json or text, not '" + value + "'");
    options.json = value == "json";
  } else {
    const std::string nearest = nearest_name(
        name, {"--image", "--text", "--minus-text", "--minus-image", "--k", "--html", "--output"});
    usage("unknown option " + name + (nearest.empty() ? "" : "; did you mean " + nearest + "?"));
  }
}

}  // namespace

const char* const kSearchUsage =
    "usage: trireme search RUN [TEXT] [--image FILE] [--minus-text TEXT] [--minus-image FILE] [--k 10] [-o "
    "json] "
    "[--html FILE|none]";

SearchOptions parse_search(const std::vector<std::string>& arguments) {
  SearchOptions options;
  bool only_words = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!only_words && argument == "--") {
      only_words = true;
    } else if (!only_words && argument.size() > 1 && argument[0] == '-') {
      const auto equals = argument.starts_with("--") ? argument.find('=') : std::string::npos;
      if (equals == std::string::npos && i + 1 == arguments.size()) usage(argument + " needs a value");
      take_option(argument.substr(0, equals),
                  equals == std::string::npos ? arguments[++i] : argument.substr(equals + 1), options);
    } else if (options.run.empty()) {
      options.run = argument;
    } else {
      options.query.push_back({false, 1, argument});
    }
  }
  if (options.run.empty()) usage("which run should be searched?");
  if (options.query.empty()) usage("what should be searched for? Give a text or --image FILE");
  for (const auto& part : options.query) {
    if (is_blank(part.value)) usage("an empty query finds nothing");
  }
  return options;
}

}  // namespace trireme::worker::stages::index
