#include "worker/stages/index/search_tool.h"

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "jobs/search/search_options.h"
#include "jobs/store/run_files.h"
#include "worker/stages/index/contact_sheet.h"
#include "worker/stages/index/engine.h"

namespace trireme::worker::stages::index {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kBatchAtOnce = 64;

std::string write_page(const jobs::SearchOptions& options, Engine& engine, const ordered_json& answer) {
  if (options.html == "none") return "";
  const bool is_run = io::exists(store::RunPaths{options.run}.index());
  // Nothing is ever written into an index folder: its files are listed by hash.
  const io::Path page = !options.html.empty()
                            ? io::Path(options.html)
                            : (is_run ? io::Path(options.run) / "search.html" : io::Path("search.html"));
  std::vector<SheetPicture> pictures;
  bool warned = false;
  for (const auto& hit : answer.at("hits")) {
    const auto& captions = hit.at("captions");
    pictures.push_back({hit.at("rank"), hit.at("score"), hit.at("key"),
                        captions.empty() ? "" : captions.front().get<std::string>(), ""});
    try {
      pictures.back().jpeg = engine.thumbnail(hit.at("row").get<std::int64_t>());
    } catch (const Error& error) {  // the ranks stand without pictures
      if (!warned) log_warning("search", error.what());
      warned = true;
    }
  }
  try {
    io::write_file_atomic(page, contact_sheet(answer.at("query"), pictures), /*durable=*/false);
  } catch (const Error& error) {
    if (!options.html.empty()) throw;
    log_warning("search", error.what());  // a run folder that only may be read still answers
    return "";
  }
  return page.string();
}

std::string value_of(const Outcome& outcome) {
  if (const auto* error = std::get_if<Error>(&outcome)) throw *error;
  return std::get<std::string>(outcome);
}

int search_once(const jobs::SearchOptions& options, Engine& engine) {
  jobs::SearchQuery query = options.query;
  jobs::read_pictures(query);
  ordered_json answer = ordered_json::parse(value_of(engine.answer({query}).front()));
  const std::string page = write_page(options, engine, answer);
  if (!options.json) {
    std::cout << jobs::answer_text(answer.dump()) << (page.empty() ? "" : "pictures: " + page + "\n");
    return 0;
  }
  if (!page.empty()) answer["html"] = page;
  std::cout << answer.dump(2, ' ', false, ordered_json::error_handler_t::replace) << "\n";
  return 0;
}

// A line that cannot be answered gives {"error"} in its place.
void answer_lines(const std::vector<std::string>& lines, Engine& engine) {
  std::vector<Outcome> outcomes(lines.size());
  std::vector<jobs::SearchQuery> queries;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < lines.size(); ++i) try {
      queries.push_back(jobs::query_from_json(lines[i]));
      places.push_back(i);
    } catch (const Error& error) {
      outcomes[i] = error;
    }
  auto answers = engine.answer(queries);
  for (std::size_t i = 0; i < places.size(); ++i) outcomes[places[i]] = std::move(answers[i]);
  for (const auto& outcome : outcomes) {
    const auto* error = std::get_if<Error>(&outcome);
    std::cout << (error == nullptr ? std::get<std::string>(outcome)
                                   : ordered_json{{"error", error->what()}}.dump(
                                         -1, ' ', false, ordered_json::error_handler_t::replace))
              << "\n";
  }
}

int search_batch(const jobs::SearchOptions& options, Engine& engine) {
  io::LineReader reader(options.batch == "-" ? "/dev/stdin" : options.batch);
  std::vector<std::string> lines;
  for (std::string line; reader.next(line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    lines.push_back(line);
    if (lines.size() < kBatchAtOnce) continue;
    answer_lines(lines, engine);
    lines.clear();
  }
  answer_lines(lines, engine);
  return 0;
}

}  // namespace

int run_search(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  if (std::find(arguments.begin(), arguments.end(), "--help") != arguments.end()) {
    std::cout << jobs::kSearchUsage << "\n";
    return 0;
  }
  const jobs::SearchOptions options = jobs::parse_search(arguments);
  if (!options.batch.empty() && options.batch != "-" && !io::is_file(options.batch))
    throw Error(ErrorKind::kNotFound, "there is no file " + options.batch);
  Engine engine(options.run, io::Path(options.run).filename().string());
  return options.batch.empty() ? search_once(options, engine) : search_batch(options, engine);
}

}  // namespace trireme::worker::stages::index
