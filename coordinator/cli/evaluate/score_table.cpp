#include "coordinator/cli/evaluate/score_table.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "coordinator/cli/client/format.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {
namespace {

using json = nlohmann::ordered_json;

constexpr const char* kResultsFile = "evaluation.results.json";

// Counts of an evaluation that are worth a word where they are not 0.
constexpr const char* kOdd[] = {
    "ties",          "not_finite",          "empty_classes",          "train_empty_classes",
    "without_label", "train_without_label", "images_without_caption", "another_language",
    "not_rated",     "truncated",           "unanswerable",           "roc_auc_needs_both"};

std::vector<std::pair<std::string, double>> metrics_of(const json& object) {
  std::vector<std::pair<std::string, double>> metrics;
  if (object.is_object())
    for (const auto& [name, value] : object.items())
      if (value.is_number()) metrics.emplace_back(name, value.get<double>());
  return metrics;
}

SetResult result_of(const json& document, const std::string& file) {
  SetResult result;
  try {
    result.set = plain_set(document.at("dataset").get<std::string>());
    result.task = document.value("task", std::string());
    result.language = document.value("language", std::string("en"));
    result.metrics = metrics_of(document.at("metrics"));
    const json counts = document.value("counts", json::object());
    for (const auto& [name, count] : counts.items())
      if (std::ranges::find(kOdd, name) != std::end(kOdd) && count.get<std::int64_t>() > 0)
        result.odd.emplace_back(name, count.get<std::int64_t>());
    result.rules = document.value("rules", std::vector<std::string>{});
  } catch (const json::exception& error) {
    throw Error(ErrorKind::kDamaged, file + " is no evaluation: " + error.what(),
                "ours and CLIP_benchmark's have dataset, task and metrics");
  }
  result.metric = usual_metric(result.metrics);
  return result;
}

void add_to(std::vector<ModelResults>& models, const std::string& name, SetResult result) {
  auto found = std::ranges::find(models, name, &ModelResults::name);
  if (found == models.end()) found = models.insert(models.end(), ModelResults{name, {}});
  found->sets.push_back(std::move(result));
}

std::string model_name(const json& document) {
  const std::string model = document.value("model", std::string("?")),
                    pretrained = document.value("pretrained", std::string());
  return pretrained.empty() ? model : model + " " + pretrained;
}

// Fields of one CSV record; quotes may hold commas and line breaks.
std::vector<std::vector<std::string>> csv_rows(const std::string& text) {
  std::vector<std::vector<std::string>> rows(1, std::vector<std::string>(1));
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      rows.back().back() += text[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == ',') {
      rows.back().emplace_back();
    } else if (!quoted && c == '\n') {
      rows.emplace_back(1, std::string());
    } else if (c != '\r' || quoted) {
      rows.back().back() += c;
    }
  }
  std::erase_if(rows, [](const auto& row) { return row.size() == 1 && row[0].empty(); });
  return rows;
}

void read_csv(const io::Path& file, std::vector<ModelResults>& models) {
  const auto rows = csv_rows(io::read_file(file, 64U << 20));
  static const std::set<std::string> kTexts{"dataset",  "model",          "pretrained", "task",
                                            "language", "model_fullname", "classnames", "templates"};
  if (rows.empty() || std::ranges::find(rows[0], "dataset") == rows[0].end())
    throw Error(ErrorKind::kDamaged, file.string() + " has no column \"dataset\"",
                "CLIP_benchmark's `build` writes such a CSV");
  for (std::size_t r = 1; r < rows.size(); ++r) {
    json document{{"metrics", json::object()}};
    for (std::size_t c = 0; c < std::min(rows[0].size(), rows[r].size()); ++c) {
      const std::string& name = rows[0][c];
      char* end = nullptr;
      const double value = std::strtod(rows[r][c].c_str(), &end);
      if (kTexts.contains(name))
        document[name] = rows[r][c];
      else if (!rows[r][c].empty() && end != nullptr && *end == 0 && std::isfinite(value))
        document["metrics"][name] = value;
    }
    add_to(models, model_name(document), result_of(document, file.string()));
  }
}

// Python writes NaN, which JSON has not: CLIP_benchmark's acc5 of sets with fewer than five classes.
std::string without_nan(std::string text) {
  bool quoted = false;
  for (std::size_t i = 0; i + 2 < text.size(); ++i) {
    if (text[i] == '"' && (i == 0 || text[i - 1] != '\\')) quoted = !quoted;
    if (!quoted && text.compare(i, 3, "NaN") == 0) text.replace(i, 3, "null");
  }
  return text;
}

void read_json(const io::Path& file, std::vector<ModelResults>& models) {
  const json document = json::parse(without_nan(io::read_file(file, 64U << 20)), nullptr, false);
  if (!document.is_object()) throw Error(ErrorKind::kDamaged, file.string() + " is no JSON object");
  if (!document.contains("results"))
    return add_to(models, model_name(document), result_of(document, file.string()));
  for (const auto& one : document["results"]) {
    SetResult result = result_of(one, file.string());
    result.metric = one.value("metric", result.metric);
    add_to(models, one.value("model", document.value("model", std::string("?"))), std::move(result));
  }
}

std::string value_text(const std::optional<double>& value) {
  return value ? number_text(*value, 4) : "-";
}

std::string difference_text(double difference) {
  return (difference >= 0 ? "+" : "") + number_text(difference, 4);
}

// Cells of a row: values by model, and which are the best.
struct Row {
  std::string set, metric;
  std::vector<std::optional<double>> values;
  bool best(std::size_t i) const {
    return values[i] &&
           std::ranges::all_of(values, [&](const auto& other) { return !other || *other <= *values[i]; });
  }
};

std::vector<Row> rows_of(const std::vector<ModelResults>& models) {
  std::vector<Row> rows;
  for (const auto& own : models.front().sets) {
    Row row{own.set, own.metric, {}};
    for (const auto& model : models) {
      const SetResult* found = &model == &models.front() ? &own : model.find(own.set);
      row.values.push_back(found == nullptr ? std::nullopt : found->value(own.metric));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : printable(text, 300))
    out += c == '<'   ? "&lt;"
           : c == '>' ? "&gt;"
           : c == '&' ? "&amp;"
           : c == '"' ? "&quot;"
                      : std::string(1, c);
  return out;
}

std::string quoted_csv(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string exact(double value) {
  return json(value).dump();
}

}  // namespace

std::optional<double> SetResult::value(const std::string& name) const {
  for (const auto& [own, value] : metrics)
    if (own == name) return value;
  return std::nullopt;
}

const SetResult* ModelResults::find(const std::string& set) const {
  const auto found =
      std::ranges::find_if(sets, [&](const auto& one) { return plain_set(one.set) == plain_set(set); });
  return found == sets.end() ? nullptr : &*found;
}

std::string plain_set(std::string name) {
  if (name.starts_with("wds/") || name.starts_with("wds_")) name = name.substr(4);
  std::ranges::replace(name, '/', '-');
  return name;
}

std::string usual_metric(const std::vector<std::pair<std::string, double>>& metrics) {
  for (const char* usual : {"acc1", "mean_average_precision", "mean_recall@1", "acc", "spearman", "CIDEr",
                            "lp_acc1", "knn_recall@1"})
    for (const auto& [name, value] : metrics)
      if (name == usual) return name;
  return metrics.empty() ? "" : metrics.front().first;
}

ModelResults own_results(const std::vector<StageOfSet>& stages, const std::string& output,
                         const std::string& name) {
  ModelResults results{name, {}};
  for (const auto& stage : stages) {
    const io::Path file = store::RunPaths{output}.stage(stage.stage) / "evaluation.json";
    if (!io::is_file(file))
      throw Error(ErrorKind::kNotFound, "stage " + stage.stage + " has left no " + file.string(),
                  "start the same command again");
    SetResult result = result_of(json::parse(io::read_file(file, 64U << 20), nullptr, false), file.string());
    result.set = stage.set;
    if (!stage.metric.empty()) {
      if (!result.value(stage.metric))
        throw Error(ErrorKind::kInvalid, file.string() + " has no metric " + stage.metric +
                                             ", which the suite counts for " + stage.set);
      result.metric = stage.metric;
    }
    results.sets.push_back(std::move(result));
  }
  return results;
}

std::vector<ModelResults> read_results(const std::string& path) {
  std::vector<ModelResults> models;
  const io::Path given(path);
  if (io::is_folder(given) && io::is_file(given / kResultsFile)) {
    read_json(given / kResultsFile, models);
  } else if (io::is_folder(given)) {
    for (const auto& file : io::list_folder(given))
      if (file.extension() == ".json") read_json(file, models);
  } else if (!io::is_file(given)) {
    throw Error(ErrorKind::kNotFound, "there are no results at " + path,
                "name an output of trireme evaluate, or JSON or CSV of CLIP_benchmark");
  } else if (given.extension() == ".csv") {
    read_csv(given, models);
  } else {
    read_json(given, models);
  }
  if (models.empty()) throw Error(ErrorKind::kInvalid, path + " holds no result");
  return models;
}

std::vector<std::string> oddities_of(const ModelResults& results) {
  std::vector<std::string> lines;
  for (const auto& set : results.sets) {
    std::string line;
    for (const auto& [name, count] : set.odd)
      line += (line.empty() ? set.set + ": " : ", ") + std::to_string(count) + " " + name;
    if (!line.empty()) lines.push_back(std::move(line));
  }
  std::vector<std::pair<std::string, std::string>> rules;  // rule, the tasks that follow it
  for (const auto& set : results.sets)
    for (const auto& rule : set.rules) {
      const auto known = std::ranges::find(rules, rule, &std::pair<std::string, std::string>::first);
      if (known == rules.end())
        rules.emplace_back(rule, set.task);
      else if (known->second.find(set.task) == std::string::npos)
        known->second += ", " + set.task;
    }
  for (const auto& [rule, tasks] : rules) lines.push_back("rule (" + tasks + "): " + rule);
  return lines;
}

std::vector<Average> averages_of(const ModelResults& results, const Suite& suite) {
  std::vector<Average> averages;
  for (const auto& [name, sets] : suite.averages) {
    Average average{name, 0, sets.size(), {}};
    double sum = 0;
    for (const auto& set : sets)
      if (const SetResult* found = results.find(set); found != nullptr)
        if (const auto value = found->value(found->metric); value && std::isfinite(*value)) {
          sum += *value;
          ++average.there;
        }
    if (average.there == average.wanted && average.wanted > 0)
      average.value = sum / static_cast<double>(average.wanted);
    averages.push_back(std::move(average));
  }
  return averages;
}

Wins wins_over(const ModelResults& ours, const ModelResults& other) {
  Wins wins{other.name};
  for (const auto& own : ours.sets) {
    const SetResult* theirs = other.find(own.set);
    const auto a = own.value(own.metric), b = theirs == nullptr ? std::nullopt : theirs->value(own.metric);
    if (a && b) ++(*a > *b ? wins.wins : *a < *b ? wins.losses : wins.ties);
  }
  return wins;
}

std::string matrix_text(const std::vector<ModelResults>& models, const std::vector<std::string>& absent) {
  std::vector<std::vector<std::string>> rows{{"set", "metric"}};
  for (const auto& model : models) rows[0].push_back(printable(model.name, 40));
  for (std::size_t i = 1; i < models.size(); ++i) rows[0].push_back("ours less it");
  for (const Row& row : rows_of(models)) {
    std::vector<std::string> cells{printable(row.set, 60), row.metric};
    for (std::size_t i = 0; i < row.values.size(); ++i)
      cells.push_back(value_text(row.values[i]) + (models.size() > 1 && row.best(i) ? "*" : ""));
    for (std::size_t i = 1; i < row.values.size(); ++i)
      cells.push_back(row.values[0] && row.values[i] ? difference_text(*row.values[0] - *row.values[i])
                                                     : "-");
    rows.push_back(std::move(cells));
  }
  std::string text = table_text(rows);
  for (const auto& set : absent) text += "absent: " + printable(set, 60) + "\n";
  return text;
}

std::string matrix_html(const std::string& title, const std::vector<ModelResults>& models,
                        const std::vector<std::string>& absent, const std::vector<std::string>& remarks) {
  std::string html =
      "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>" + escaped(title) +
      "</title><style>body{font:15px system-ui;margin:2em;color:#111;background:#fff}"
      "table{border-collapse:collapse}td,th{padding:.25em .7em;border-bottom:1px solid #ccc;text-align:right}"
      "td:nth-child(-n+2),th:nth-child(-n+2){text-align:left}.best{font-weight:700}.less{color:#a00}"
      ".more{color:#060}</style><h1>" +
      escaped(title) + "</h1><table><tr><th scope=\"col\">set<th scope=\"col\">metric";
  for (const auto& model : models) html += "<th scope=\"col\">" + escaped(model.name);
  for (const Row& row : rows_of(models)) {
    html += "\n<tr><th scope=\"row\">" + escaped(row.set) + "<td>" + escaped(row.metric);
    for (std::size_t i = 0; i < row.values.size(); ++i) {
      html += std::string("<td") + (models.size() > 1 && row.best(i) ? " class=\"best\"" : "") + ">" +
              value_text(row.values[i]);
      if (i > 0 && row.values[0] && row.values[i]) {
        const double less = *row.values[0] - *row.values[i];
        html += std::string(" <span class=\"") + (less < 0 ? "less" : "more") + "\">(" +
                difference_text(less) + ")</span>";
      }
    }
  }
  for (const auto& set : absent) html += "\n<tr><th scope=\"row\">" + escaped(set) + "<td>absent";
  html += "\n</table>";
  for (const auto& remark : remarks) html += "<p>" + escaped(remark) + "</p>\n";
  return html + "</html>\n";
}

std::string results_csv(const std::vector<ModelResults>& own) {
  std::vector<std::string> metrics;
  for (const auto& results : own)
    for (const auto& set : results.sets)
      for (const auto& [name, value] : set.metrics)
        if (std::ranges::find(metrics, name) == metrics.end()) metrics.push_back(name);
  std::string text = "dataset,model,pretrained,task,language,model_fullname";
  for (const auto& name : metrics) text += "," + quoted_csv(name);
  text += "\n";
  for (const auto& results : own)
    for (const auto& set : results.sets) {
      text += quoted_csv(set.set) + "," + quoted_csv(results.name) + ",," + set.task + "," + set.language +
              "," + quoted_csv(results.name);
      for (const auto& name : metrics) {
        const auto value = set.value(name);
        text += "," + (value ? exact(*value) : std::string());
      }
      text += "\n";
    }
  return text;
}

std::string results_json(const std::vector<ModelResults>& own, const std::vector<std::string>& absent,
                         const std::vector<Average>& averages, const std::vector<Wins>& wins,
                         const std::string& suite) {
  json document{{"format", "trireme-results/1"}, {"model", own.front().name}, {"suite", suite}};
  document["results"] = json::array();
  for (const auto& results : own)
    for (const auto& set : results.sets) {
      json metrics = json::object();
      for (const auto& [name, value] : set.metrics) metrics[name] = value;
      json row{{"dataset", set.set}, {"task", set.task}, {"language", set.language}};
      row.update({{"metric", set.metric}, {"metrics", metrics}});
      if (&results != &own.front()) row["model"] = results.name;
      document["results"].push_back(std::move(row));
    }
  document["absent"] = absent;
  document["averages"] = json::array();
  for (const auto& one : averages)
    document["averages"].push_back({{"name", one.name},
                                    {"value", one.value ? json(*one.value) : json()},
                                    {"sets", one.wanted},
                                    {"there", one.there}});
  document["wins"] = json::array();
  for (const auto& one : wins)
    document["wins"].push_back(
        {{"against", one.against}, {"wins", one.wins}, {"ties", one.ties}, {"losses", one.losses}});
  return document.dump(2) + "\n";
}

}  // namespace trireme::coordinator::cli
