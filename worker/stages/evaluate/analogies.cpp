#include "worker/stages/evaluate/analogies.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string_view>
#include <tuple>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"

namespace trireme::worker::stages::evaluate {
namespace {

constexpr double kWordsWeigh = 2;  // ALIGN's
constexpr std::int64_t kAtOnce = 256;
constexpr std::array<std::string_view, 4> kGrounds{"sky", "grass", "snow", "sand"};
constexpr std::array<std::string_view, 2> kSizes{"small", "large"};

struct Scene {
  std::string shape, colour, ground, size;
  auto operator<=>(const Scene&) const = default;
};

// Of the names in a member, the one that is none of `aside`, and the one that is; nothing when there are
// more.
bool split(const std::string& member, const auto& aside, std::string& main, std::string& beside) {
  const auto names = nlohmann::json::parse(member, nullptr, false);
  if (!names.is_object()) return false;
  for (const auto& [name, weight] : names.items()) {
    std::string& place = std::ranges::find(aside, name) == aside.end() ? main : beside;
    if (!place.empty()) return false;
    place = name;
  }
  return !main.empty();
}

struct Query {
  std::int64_t row = 0;
  Scene target;
};

using SceneRows = std::map<Scene, std::vector<std::int64_t>>;

std::vector<Query> queries_of(const SceneRows& rows) {
  std::map<std::tuple<std::string, std::string, std::string>, std::vector<std::string>> colours;
  for (const auto& [scene, unused] : rows)
    colours[{scene.shape, scene.ground, scene.size}].push_back(scene.colour);
  std::vector<Query> queries;
  for (const auto& [scene, own] : rows) {
    auto& others = colours[{scene.shape, scene.ground, scene.size}];
    if (others.size() < 2) continue;
    const auto next = std::ranges::upper_bound(others, scene.colour);
    Scene target = scene;
    target.colour = next == others.end() ? others.front() : *next;
    for (const std::int64_t row : own) queries.push_back({row, target});
  }
  return queries;
}

// How many of the queries find their target among the k best, for each k.
std::vector<std::int64_t> found(const std::vector<Query>& queries, const at::Tensor& asked_QD,
                                const at::Tensor& image_ND, const std::vector<Scene>& scene_of,
                                const std::vector<std::int64_t>& recall_k,
                                const std::function<void()>& poll) {
  const std::int64_t most = std::min(*std::ranges::max_element(recall_k), image_ND.size(0));
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  std::vector<std::int64_t> hits(recall_k.size());
  for (std::int64_t first = 0; first < asked_QD.size(0); first += kAtOnce) {
    poll();
    const std::int64_t count = std::min(kAtOnce, asked_QD.size(0) - first);
    auto score = asked_QD.narrow(0, first, count).matmul(image_ND.t()).nan_to_num(kNone);
    for (std::int64_t i = 0; i < count; ++i)
      score[i][queries[static_cast<std::size_t>(first + i)].row] = kNone;
    const at::Tensor best = std::get<1>(score.topk(most)).contiguous();
    for (std::int64_t i = 0; i < count; ++i) {
      const auto* row = best.const_data_ptr<std::int64_t>() + i * most;
      const Scene& target = queries[static_cast<std::size_t>(first + i)].target;
      const std::int64_t at =
          std::find_if(row, row + most,
                       [&](std::int64_t one) { return scene_of[static_cast<std::size_t>(one)] == target; }) -
          row;
      for (std::size_t k = 0; k < recall_k.size(); ++k) hits[k] += at < std::min(recall_k[k], most);
    }
  }
  return hits;
}

}  // namespace

AnalogyScores analogy_scores(const runtime::OpenedTask& task, const std::string& data, const Places& places,
                             const at::Tensor& image_ND, const std::vector<std::int64_t>& recall_k,
                             const std::function<at::Tensor(const std::vector<std::string>&)>& words,
                             const std::function<void()>& poll) {
  const auto objects = fields_of(task, data, places, "objects"),
             attributes = fields_of(task, data, places, "attributes");
  std::vector<Scene> scene_of(places.size());
  SceneRows rows;
  AnalogyScores scores;
  for (std::size_t i = 0; i < places.size(); ++i) {
    Scene scene;
    if (!split(objects[i], kGrounds, scene.shape, scene.ground) ||
        !split(attributes[i], kSizes, scene.colour, scene.size))
      continue;
    rows[scene].push_back(static_cast<std::int64_t>(i));
    scene_of[i] = std::move(scene);
    ++scores.scenes;
  }
  const auto queries = queries_of(rows);
  if (queries.empty())
    throw Error(ErrorKind::kInvalid,
                "data set '" + data + "' has no two scenes of one object that differ in their colour alone",
                "render more samples (synthetic.samples), or choose another task");
  scores.queries = static_cast<std::int64_t>(queries.size());
  std::map<std::string, std::int64_t> text_row;
  for (const auto& query : queries)
    text_row.emplace("a " + query.target.colour + " " + query.target.shape, 0);
  std::vector<std::string> texts;
  for (auto& [text, row] : text_row) {
    row = static_cast<std::int64_t>(texts.size());
    texts.push_back(text);
  }
  std::vector<std::int64_t> text_of, picture_of;
  double by_chance = 0;
  for (const auto& query : queries) {
    text_of.push_back(text_row.at("a " + query.target.colour + " " + query.target.shape));
    picture_of.push_back(query.row);
    by_chance += static_cast<double>(rows.at(query.target).size()) / static_cast<double>(places.size() - 1) /
                 static_cast<double>(queries.size());
  }
  const at::Tensor picture = image_ND.index_select(0, at::tensor(picture_of, at::kLong));
  const at::Tensor text = words(texts).to(image_ND.device()).index_select(0, at::tensor(text_of, at::kLong));
  const std::pair<const char*, at::Tensor> ways[] = {{"edited_recall@", picture + kWordsWeigh * text},
                                                     {"words_recall@", text},
                                                     {"picture_recall@", picture}};
  for (const auto& [name, asked] : ways) {
    const auto hits = found(queries, asked, image_ND, scene_of, recall_k, poll);
    for (std::size_t k = 0; k < recall_k.size(); ++k) {
      const std::string metric = name + std::to_string(recall_k[k]);
      scores.metrics.emplace_back(metric, static_cast<double>(hits[k]) / static_cast<double>(queries.size()));
      scores.chance.emplace_back(metric, 1 - std::pow(1 - by_chance, static_cast<double>(recall_k[k])));
    }
  }
  return scores;
}

}  // namespace trireme::worker::stages::evaluate
