#include "worker/stages/evaluate/rating_files.h"

#include <charconv>
#include <cmath>
#include <map>

#include "common/base/error.h"
#include "worker/text/tokenizers/vocabulary_file.h"

namespace trireme::worker::stages::evaluate {
namespace {

std::vector<std::string> cells_of(const std::string& line, char between) {
  std::vector<std::string> cells(1);
  for (const char c : line) {
    if (c == between)
      cells.emplace_back();
    else
      cells.back() += c;
  }
  return cells;
}

[[noreturn]] void refuse(const std::string& path, std::size_t line, const std::string& what) {
  throw Error(ErrorKind::kInvalid, path + ", line " + std::to_string(line) + ": " + what,
              "take the file as its authors publish it");
}

double number_in(const std::string& cell, const std::string& path, std::size_t line) {
  double value = 0;
  const auto [end, fault] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (fault != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value))
    refuse(path, line, "\"" + cell.substr(0, 40) + "\" is no number");
  return value;
}

}  // namespace

std::string plain_id(const std::string& id) {
  std::string plain = id.substr(id.find_last_of(":/") == std::string::npos ? 0 : id.find_last_of(":/") + 1);
  return plain.substr(0, plain.find('.'));
}

RatingFile read_ratings(const std::string& path) {
  const auto lines = text::read_vocabulary_lines(path);
  const std::map<std::string, RatedPair> heads{
      {"image1,image2,agg_score,sampling_method", RatedPair::kImages},
      {"caption,image,agg_score,sampling_method", RatedPair::kCaptionImage},
      {"caption1,caption2,agg_score,sampling_method", RatedPair::kCaptions}};
  RatingFile file;
  bool known = false;
  for (const auto& [head, kind] : heads)
    if (!lines.empty() && lines[0] == head) file.kind = kind, known = true;
  if (!known) refuse(path, 1, "this is not the head of sis, sits or sts of Crisscrossed Captions");
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto cells = cells_of(lines[i], ',');
    if (cells.size() != 4) refuse(path, i + 1, std::to_string(cells.size()) + " cells, not 4");
    const double rating = number_in(cells[2], path, i + 1);
    if (rating < 0 || rating > 5) refuse(path, i + 1, "rating " + cells[2] + " is not from 0 to 5");
    file.rows.push_back({plain_id(cells[0]), plain_id(cells[1]), rating});
  }
  if (file.rows.empty()) refuse(path, 1, "no pair follows the head");
  return file;
}

std::vector<WordPair> read_word_pairs(const std::string& path) {
  const auto lines = text::read_vocabulary_lines(path);
  std::map<std::string, std::size_t> columns;
  if (!lines.empty())
    for (const auto& name : cells_of(lines[0], '\t')) columns.emplace(name, columns.size());
  for (const char* needed : {"word1", "word2", "POS", "SimLex999", "concQ", "SimAssoc333"})
    if (!columns.contains(needed))
      refuse(path, 1, std::string("no column \"") + needed + "\", which SimLex-999.txt has");
  std::vector<WordPair> pairs;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto cells = cells_of(lines[i], '\t');
    if (cells.size() != columns.size())
      refuse(path, i + 1, std::to_string(cells.size()) + " cells, not " + std::to_string(columns.size()));
    const auto number = [&](const char* name) { return number_in(cells[columns.at(name)], path, i + 1); };
    const std::string& part = cells[columns.at("POS")];
    const double quartile = number("concQ");
    if (part.size() != 1 || std::string("ANV").find(part) == std::string::npos)
      refuse(path, i + 1, "part of speech \"" + part.substr(0, 40) + "\" is none of A, N, V");
    if (quartile < 1 || quartile > 4 || quartile != std::floor(quartile))
      refuse(path, i + 1, "concQ is none of 1 to 4");
    const double rating = number("SimLex999");
    if (rating < 0 || rating > 10) refuse(path, i + 1, "SimLex999 is not from 0 to 10");
    pairs.push_back({cells[columns.at("word1")], cells[columns.at("word2")], part[0],
                     static_cast<int>(quartile), number("SimAssoc333") == 1, rating});
  }
  return pairs;
}

}  // namespace trireme::worker::stages::evaluate
