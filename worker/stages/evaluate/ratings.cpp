#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/embedding/texts.h"
#include "worker/evaluation/rank_correlation.h"
#include "worker/evaluation/retrieval.h"
#include "worker/stages/evaluate/outcome.h"
#include "worker/stages/evaluate/rating_files.h"

namespace trireme::worker::stages::evaluate {
namespace {

constexpr double kRight = 3;  // a pair with this rating or more is right

// Rows of the set's pictures or captions by the ids of the rating files.
using Rows = std::map<std::string, std::int64_t>;

void add_row(Rows& rows, const std::string& id, const std::string& what, const std::string& data) {
  if (!rows.emplace(plain_id(id), static_cast<std::int64_t>(rows.size())).second)
    throw Error(ErrorKind::kInvalid, "two " + what + " of data set '" + data + "' have the id " + id);
}

Rows image_rows(const Task& task, const Inputs& inputs) {
  const std::string& field = task.settings.image_id_field;
  Rows rows;
  for (const auto& id : field.empty() ? keys_of(task, inputs.data, inputs.places)
                                      : fields_of(task, inputs.data, inputs.places, field))
    add_row(rows, id, "pictures", inputs.data);
  return rows;
}

Rows caption_rows(const Task& task, const Inputs& inputs) {
  const std::string field =
      task.settings.caption_id_field.empty() ? "sentids" : task.settings.caption_id_field;
  const auto counts = at::bincount(inputs.features.text_owner, {}, inputs.features.image.size(0));
  const auto lists = lists_of(task, inputs.data, inputs.places, field);
  Rows rows;
  for (std::size_t i = 0; i < lists.size(); ++i) {
    const auto captions = counts[static_cast<std::int64_t>(i)].item<std::int64_t>();
    if (static_cast<std::int64_t>(lists[i].size()) != captions)
      throw Error(ErrorKind::kInvalid,
                  "sample " + std::to_string(inputs.places[i].sample) + " of data set '" + inputs.data +
                      "' has " + std::to_string(captions) + " captions, and " +
                      std::to_string(lists[i].size()) + " ids in " + field,
                  "the ids stand in the order of the captions");
    for (const auto& id : lists[i]) add_row(rows, id, "captions", inputs.data);
  }
  return rows;
}

struct RatedRows {
  std::vector<std::int64_t> first, second;
  std::vector<double> rating;
};

struct Ratings {
  std::map<RatedPair, RatedRows> files;
  std::vector<std::int64_t> images, captions;  // rows that the files name, ascending
};

Ratings read_all_ratings(const Task& task, const Inputs& inputs) {
  const Rows images = image_rows(task, inputs), captions = caption_rows(task, inputs);
  Ratings all;
  std::set<std::int64_t> used_images, used_captions;
  std::int64_t pairs = 0, absent = 0;
  std::string first_absent;
  for (const auto& path : task.settings.ratings) {
    const RatingFile file = read_ratings(path);
    if (all.files.contains(file.kind))
      throw Error(ErrorKind::kInvalid, path + " rates what another file rates",
                  "name one of sis, sits and sts each");
    RatedRows& rows = all.files[file.kind];
    const auto find = [&](const Rows& known, const std::string& id, std::set<std::int64_t>& used) {
      const auto found = known.find(id);
      if (found == known.end() && first_absent.empty())
        first_absent = std::string(id).append(" of ").append(path);
      if (found != known.end()) used.insert(found->second);
      return found == known.end() ? -1 : found->second;
    };
    for (const auto& row : file.rows) {
      const bool image_first = file.kind == RatedPair::kImages,
                 caption_last = file.kind == RatedPair::kCaptions;
      const auto a =
          image_first ? find(images, row.first, used_images) : find(captions, row.first, used_captions);
      const auto b =
          caption_last ? find(captions, row.second, used_captions) : find(images, row.second, used_images);
      ++pairs;
      absent += a < 0 || b < 0 ? 1 : 0;
      rows.first.push_back(a);
      rows.second.push_back(b);
      rows.rating.push_back(row.rating);
    }
  }
  if (absent > 0)
    throw Error(ErrorKind::kInvalid,
                std::to_string(absent) + " of " + std::to_string(pairs) +
                    " rated pairs name a picture or caption that data set '" + inputs.data +
                    "' does not have (first: " + first_absent + ")",
                "a picture is missing or cannot be decoded, or the ids are not those of image_id_field and "
                "caption_id_field");
  all.images.assign(used_images.begin(), used_images.end());
  all.captions.assign(used_captions.begin(), used_captions.end());
  return all;
}

// Positions in an ascending list of rows.
std::int64_t place_of(const std::vector<std::int64_t>& rows, std::int64_t row) {
  return std::ranges::lower_bound(rows, row) - rows.begin();
}

// What is right for each of `queries` among `candidates`, both rows. `own`: without ratings.
struct RightPairs {
  const std::vector<std::int64_t>& queries;
  const std::vector<std::int64_t>& candidates;
  std::vector<std::set<std::int64_t>> of_query = std::vector<std::set<std::int64_t>>(queries.size());

  void add(std::int64_t query, std::int64_t candidate) {
    of_query[static_cast<std::size_t>(place_of(queries, query))].insert(place_of(candidates, candidate));
  }
  evaluation::Positives positives(bool same) const {
    evaluation::Positives found{.of_query = {}, .same = same};
    for (std::size_t i = 0; i < of_query.size(); ++i) {
      found.of_query.emplace_back(of_query[i].begin(), of_query[i].end());
      if (same) std::erase(found.of_query.back(), static_cast<std::int64_t>(i));
    }
    return found;
  }
};

void add_right(RightPairs& right, const RatedRows& rows, bool turned) {
  for (std::size_t i = 0; i < rows.rating.size(); ++i)
    if (rows.rating[i] >= kRight)
      turned ? right.add(rows.second[i], rows.first[i]) : right.add(rows.first[i], rows.second[i]);
}

std::vector<double> cosines(const at::Tensor& a_ND, const std::vector<std::int64_t>& a,
                            const at::Tensor& b_ND, const std::vector<std::int64_t>& b) {
  const auto rows = [](const at::Tensor& all, const std::vector<std::int64_t>& of) {
    const auto chosen = all.index_select(0, at::tensor(of, at::kLong)).to(at::kDouble);
    return chosen / chosen.norm(2, {1}, true).clamp_min(1e-12);
  };
  const auto product = (rows(a_ND, a) * rows(b_ND, b)).sum(1).contiguous();
  return {product.const_data_ptr<double>(), product.const_data_ptr<double>() + product.numel()};
}

class CrissCross {
 public:
  CrissCross(const Task& task, const Inputs& inputs)
      : task_(task), features_(inputs.features), ratings_(read_all_ratings(task, inputs)) {
    const auto owners = features_.text_owner.cpu().contiguous();
    owner_.assign(owners.const_data_ptr<std::int64_t>(),
                  owners.const_data_ptr<std::int64_t>() + owners.numel());
  }

  Outcome measured() {
    outcome_.result.task = "crisscrossed_captions";
    outcome_.result.rules = {kSmallerFirst, kNotFinite,
                             "right are a picture's own captions and pairs rated 3 or more",
                             "a query is no candidate of its own, and one with nothing right is left out",
                             "Spearman: the mean of 1000 rounds, each with half of the first items of the "
                             "rated pairs and one pair of each"};
    if (ratings_.files.contains(RatedPair::kCaptionImage)) between();
    if (ratings_.files.contains(RatedPair::kCaptions)) among_captions();
    if (ratings_.files.contains(RatedPair::kImages)) among_images();
    correlations();
    outcome_.count("images", static_cast<std::int64_t>(ratings_.images.size()));
    outcome_.count("captions", static_cast<std::int64_t>(ratings_.captions.size()));
    outcome_.count("not_rated",
                   features_.image.size(0) + features_.text.size(0) -
                       static_cast<std::int64_t>(ratings_.images.size() + ratings_.captions.size()));
    outcome_.count("ties", tied_);
    outcome_.count("not_finite", not_finite(features_.image) + not_finite(features_.text));
    return outcome_;
  }

 private:
  at::Tensor chosen(const at::Tensor& all, const std::vector<std::int64_t>& rows) const {
    return all.index_select(0, at::tensor(rows, at::kLong));
  }

  void recall(const std::string& name, const RightPairs& right, const at::Tensor& queries,
              const at::Tensor& candidates, bool same) {
    for (auto& metric :
         evaluation::recall_among(name, chosen(queries, right.queries), chosen(candidates, right.candidates),
                                  right.positives(same), task_.settings.recall_k, &tied_))
      outcome_.result.metrics.push_back(std::move(metric));
  }

  void between() {
    const RatedRows& rated = ratings_.files.at(RatedPair::kCaptionImage);
    RightPairs to_image{ratings_.captions, ratings_.images}, to_text{ratings_.images, ratings_.captions};
    for (const auto caption : ratings_.captions)
      if (const auto image = owner_[static_cast<std::size_t>(caption)];
          std::ranges::binary_search(ratings_.images, image)) {
        to_image.add(caption, image);
        to_text.add(image, caption);
      }
    add_right(to_image, rated, false);
    add_right(to_text, rated, true);
    recall("image_retrieval_recall", to_image, features_.text, features_.image, false);
    recall("text_retrieval_recall", to_text, features_.image, features_.text, false);
  }

  void among_captions() {
    RightPairs right{ratings_.captions, ratings_.captions};
    std::map<std::int64_t, std::vector<std::int64_t>> of_image;
    for (const auto caption : ratings_.captions)
      of_image[owner_[static_cast<std::size_t>(caption)]].push_back(caption);
    for (const auto& [image, captions] : of_image)
      for (const auto a : captions)
        for (const auto b : captions) right.add(a, b);
    for (const bool turned : {false, true}) add_right(right, ratings_.files.at(RatedPair::kCaptions), turned);
    recall("text_to_text_recall", right, features_.text, features_.text, true);
  }

  void among_images() {
    RightPairs right{ratings_.images, ratings_.images};
    for (const bool turned : {false, true}) add_right(right, ratings_.files.at(RatedPair::kImages), turned);
    recall("image_to_image_recall", right, features_.image, features_.image, true);
  }

  void correlations() {
    double sum = 0;
    for (const auto& [kind, name] :
         {std::pair{RatedPair::kCaptions, "sts"}, std::pair{RatedPair::kImages, "sis"},
          std::pair{RatedPair::kCaptionImage, "sits"}}) {
      const auto found = ratings_.files.find(kind);
      if (found == ratings_.files.end()) continue;
      const RatedRows& rows = found->second;
      const auto score =
          cosines(kind == RatedPair::kImages ? features_.image : features_.text, rows.first,
                  kind == RatedPair::kCaptions ? features_.text : features_.image, rows.second);
      const auto rho = evaluation::bootstrapped_spearman(rows.first, score, rows.rating,
                                                         static_cast<std::uint64_t>(task_.settings.seed));
      outcome_.result.metrics.emplace_back(std::string(name) + "_spearman", rho.mean);
      outcome_.result.metrics.emplace_back(std::string(name) + "_spearman_deviation", rho.deviation);
      outcome_.count(std::string(name) + "_pairs", static_cast<std::int64_t>(rows.rating.size()));
      sum += rho.mean;
    }
    if (ratings_.files.size() == 3) outcome_.result.metrics.emplace_back("spearman", sum / 3);
  }

  const Task& task_;
  const checkpoint::Features& features_;
  Ratings ratings_;
  std::vector<std::int64_t> owner_;
  std::int64_t tied_ = 0;
  Outcome outcome_;
};

}  // namespace

Outcome ratings(const Task& task, const Inputs& inputs) {
  need_captions(inputs);
  return CrissCross(task, inputs).measured();
}

Outcome words(const Task& task, const Inputs& inputs, const std::string& device) {
  const auto pairs = read_word_pairs(task.settings.ratings.at(0));
  std::map<std::string, std::int64_t> rows;
  std::vector<std::string> texts;
  const auto row = [&](const std::string& word) {
    const auto [known, fresh] = rows.try_emplace(word, static_cast<std::int64_t>(texts.size()));
    if (fresh) texts.push_back(word);
    return known->second;
  };
  std::vector<std::int64_t> first, second;
  for (const auto& pair : pairs) {
    first.push_back(row(pair.first));
    second.push_back(row(pair.second));
  }
  const auto model = models::DualEncoder::load(inputs.model.path);
  model->to(device);
  const auto encoded = embedding::encode_texts(*model, device, texts, /*project=*/false);
  const auto score = cosines(encoded.rows, first, encoded.rows, second);
  Outcome outcome;
  outcome.result.task = "word_similarity";
  outcome.result.rules = {
      "cosine of what the text tower gives before the projection, a word as it is; Spearman"};
  const auto measure = [&](const std::string& name, const auto& holds) {
    std::vector<double> scores, ratings;
    for (std::size_t i = 0; i < pairs.size(); ++i)
      if (holds(pairs[i])) {
        scores.push_back(score[i]);
        ratings.push_back(pairs[i].rating);
      }
    if (scores.size() < 2) return outcome.count(name + "_too_few", 1);
    outcome.result.metrics.emplace_back(name, evaluation::spearman(scores, ratings));
  };
  measure("spearman", [](const WordPair&) { return true; });
  for (const auto& [name, part] :
       {std::pair{"adjective", 'A'}, std::pair{"noun", 'N'}, std::pair{"verb", 'V'}})
    measure(std::string("spearman_") + name,
            [part = part](const WordPair& pair) { return pair.part_of_speech == part; });
  for (int quartile = 1; quartile <= 4; ++quartile)
    measure("spearman_concreteness_q" + std::to_string(quartile),
            [quartile](const WordPair& pair) { return pair.quartile == quartile; });
  measure("spearman_hard", [](const WordPair& pair) { return pair.associated; });
  outcome.count("images", 0);
  outcome.count("pairs", static_cast<std::int64_t>(pairs.size()));
  outcome.count("words", static_cast<std::int64_t>(texts.size()));
  outcome.count("truncated", encoded.truncated);
  return outcome;
}

}  // namespace trireme::worker::stages::evaluate
