// Tasks of benchmarks that need more than pictures and captions: ratings, words, entailment, answers; and
// what is odd about a set.
#include <cmath>
#include <limits>
#include <thread>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/io/folder.h"
#include "tests/support/tar_writer.h"
#include "tests/worker/stages/evaluate/evaluate_fixture.h"
#include "worker/collective/local/local_group.h"
#include "worker/embedding/texts.h"
#include "worker/stages/evaluate/evaluate_stage.h"
#include "worker/stages/evaluate/probe_stage.h"
#include "worker/stages/evaluate/rating_files.h"

namespace trireme::worker::stages::evaluate {
namespace {

using nlohmann::json;

const float kNan = std::numeric_limits<float>::quiet_NaN();

class BenchmarkTest : public EvaluateFixture {
 protected:
  struct Sample {
    std::string key, captions, json;
  };
  void add_set(const std::string& data, const std::vector<Sample>& samples, checkpoint::Features features) {
    testing::TarWriter tar;
    for (const auto& sample : samples) {
      tar.add(sample.key + ".jpg", "picture");
      if (!sample.captions.empty()) tar.add(sample.key + ".txt", sample.captions);
      if (!sample.json.empty()) tar.add(sample.key + ".json", sample.json);
    }
    const auto path = folder_ / (data + ".tar"), index = folder_ / (data + ".idx");
    io::write_file_atomic(path, tar.bytes(), false);
    jobs::SourceSpec source;
    if (samples.front().captions.empty()) source.captions = jobs::CaptionForm::kNone;
    worker::data::build_shard_index(path, jobs::DataFormat::kClipBenchmark, source, index);
    lines_.push_back(
        {jobs::ShardRef{.data = data, .path = path.string(), .format = jobs::DataFormat::kClipBenchmark},
         {}});
    lines_.push_back({{}, named(jobs::Role::kShardIndex, index.string(), data)});
    features.space = space_;
    const auto file = out(data, ".features.safetensors");
    checkpoint::write_features(file, features);
    lines_.push_back({{}, named(jobs::Role::kFeatures, file, data)});
  }

  static jobs::InputFile named(jobs::Role role, const std::string& path, const std::string& data) {
    auto file = input(role, path);
    file.data = data;
    return file;
  }

  std::string model_folder() {
    const std::string folder = (folder_ / "model").string();
    if (!io::is_folder(folder)) models::DualEncoder(testing::small_model(false), 0).save(folder, "{}");
    return folder;
  }

  json run() {
    lines_.push_back({{}, input(jobs::Role::kModel, model_folder())});
    set_inputs(task_, lines_);
    task_.settings = jobs::settings_json(settings_);
    const auto done = EvaluateStage().run(task_, context_);
    summary_ = json::parse(done.summary);
    return json::parse(io::read_file(done.outputs.at(0).path));
  }

  std::string refused() {
    try {
      run();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return "";
  }

  std::string file(const std::string& name, const std::string& text) {
    io::write_file_atomic(folder_ / name, text, false);
    return (folder_ / name).string();
  }

  std::vector<jobs::InputsLine> lines_;
  std::string space_ = "shared";
  json summary_;
};

at::Tensor unit(const at::Tensor& rows) {
  return rows / rows.norm(2, {1}, true);
}

// ---- ratings ----

class RatingsTest : public BenchmarkTest {
 protected:
  // Twenty-four pictures on a circle, side by side; two captions each, turned by a little more.
  RatingsTest() {
    settings_.task = jobs::EvaluateTask::kRatings;
    const auto angle = at::arange(24, at::kFloat) * 0.1;
    image_ = at::stack({angle.cos(), angle.sin()}, 1);
    const auto of_text = at::arange(48, at::kFloat) * 0.05 + 0.01;
    text_ = at::stack({of_text.cos(), of_text.sin()}, 1);
    settings_.ratings = {
        file("sis.csv",
             "image1,image2,agg_score,sampling_method\n" + rated(24, 24, "v_%1.jpg,v_%2.jpg", true)),
        file("sits.csv", "caption,image,agg_score,sampling_method\n" + rated(48, 24, "c:%1,v_%2.jpg", false)),
        file("sts.csv", "caption1,caption2,agg_score,sampling_method\n" + rated(48, 48, "c:%1,c:%2", true))};
  }

  // Every pair with the rating of its angle: 5 less .2 per picture between.
  static std::string rated(int first, int second, const std::string& form, bool others) {
    std::string text;
    for (int a = 0; a < first; ++a)
      for (int b = 0; b < second; ++b) {
        if (others && a == b) continue;
        const double apart = std::abs(a * (first == 48 ? .5 : 1) - b * (second == 48 ? .5 : 1));
        std::string row = form;
        row.replace(row.find("%1"), 2, std::to_string(a));
        row.replace(row.find("%2"), 2, std::to_string(b));
        text += row + "," + std::to_string(5 - .2 * apart).substr(0, 4) + ",how\n";
      }
    return text;
  }

  void add(int pictures = 24, const std::string& ids = "sentids") {
    std::vector<Sample> samples;
    for (int i = 0; i < pictures; ++i)
      samples.push_back(
          {"v_" + std::to_string(i), "one\ntwo",
           json{{ids, {2 * i, 2 * i + 1}}, {"filename", "val/v_" + std::to_string(i) + ".jpg"}}.dump()});
    add_set("test", samples,
            {"",
             at::arange(pictures),
             image_.narrow(0, 0, pictures),
             text_.narrow(0, 0, 2 * pictures),
             at::arange(2 * pictures).div(2, "floor").to(at::kLong),
             {}});
  }

  at::Tensor image_, text_;
};

TEST_F(RatingsTest, FourRetrievalsAndThreeCorrelations) {
  add();
  const auto result = run();
  EXPECT_EQ(result.at("task"), "crisscrossed_captions");
  const auto& metrics = result.at("metrics");
  // What is nearest is rated more than 4, so it is always right.
  for (const char* name : {"image_retrieval_recall@1", "text_retrieval_recall@1", "text_to_text_recall@1",
                           "image_to_image_recall@1"})
    EXPECT_EQ(metrics.at(name), 1) << name;
  // Ratings fall with the angle as the cosines do.
  for (const char* name : {"sis", "sits", "sts"}) {
    EXPECT_GT(metrics.at(std::string(name) + "_spearman"), 0.99) << name;
    EXPECT_GE(metrics.at(std::string(name) + "_spearman_deviation"), 0) << name;
  }
  EXPECT_NEAR(metrics.at("spearman").get<double>(),
              (metrics.at("sis_spearman").get<double>() + metrics.at("sits_spearman").get<double>() +
               metrics.at("sts_spearman").get<double>()) /
                  3,
              1e-12);
  EXPECT_EQ(summary_.at("images"), 24);
  EXPECT_EQ(summary_.at("captions"), 48);
  EXPECT_EQ(result.at("counts").at("sts_pairs"), 2256);
  EXPECT_FALSE(result.at("rules").empty());
}

TEST_F(RatingsTest, OnlyRatedPicturesAreRightForPictures) {
  std::string rows = "image1,image2,agg_score,sampling_method\nv_0.jpg,v_23.jpg,4,x\n";
  for (int i = 1; i < 23; ++i)
    rows += "v_" + std::to_string(i) + ".jpg,v_" + std::to_string(i + 1) + ".jpg," + std::to_string(i % 3) +
            ".9,x\n";
  settings_.ratings = {file("sis.csv", rows)};
  settings_.image_id_field = "filename";
  add();
  const auto result = run();
  // 0 and 23 look for one another alone, and stand at the far ends.
  EXPECT_EQ(result.at("metrics").at("image_to_image_recall@2"), 0);
  EXPECT_FALSE(result.at("metrics").contains("text_retrieval_recall@1"));
  EXPECT_FALSE(result.at("metrics").contains("spearman"));  // the mean is of all three
  EXPECT_EQ(result.at("counts").at("not_rated"), 48);       // the captions
}

TEST_F(RatingsTest, AMissingPictureIsNamed) {
  add(23);
  const std::string why = refused();
  EXPECT_NE(why.find("v_23 of "), std::string::npos) << why;
  EXPECT_NE(why.find("'test' does not have"), std::string::npos) << why;
}

TEST_F(RatingsTest, IdsThatDoNotFitTheCaptionsAreNamed) {
  add(24, "other");
  EXPECT_NE(refused().find("\"sentids\""), std::string::npos);
  lines_.clear();
  settings_.caption_id_field = "other";
  const auto more = text_;
  add_set("test", {{"v_0", "one\ntwo", R"({"other": [7]})"}},
          {"", at::arange(1), image_.narrow(0, 0, 1), more.narrow(0, 0, 2), at::zeros({2}, at::kLong), {}});
  EXPECT_NE(refused().find("2 captions, and 1 ids in other"), std::string::npos);
}

TEST_F(RatingsTest, NanIsCountedInRecallAndRefusedInCorrelations) {
  image_ = image_.clone();
  image_[2][0] = kNan;
  add();
  EXPECT_NE(refused().find("not finite"), std::string::npos);
}

TEST(RatingFiles, FaultsNameTheLine) {
  EXPECT_EQ(plain_id("COCO_val2014:sentid:732091"), "732091");
  EXPECT_EQ(plain_id("val2014/COCO_val2014_000000365325.jpg"), "COCO_val2014_000000365325");
  const std::string path =
      (std::filesystem::temp_directory_path() / ("trireme-ratings-" + std::to_string(::getpid()))).string();
  const auto fault = [&](const std::string& text, const auto& read) {
    io::write_file_atomic(path, text, false);
    try {
      read(path);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const auto ratings = [](const std::string& of) { read_ratings(of); };
  const auto words = [](const std::string& of) { read_word_pairs(of); };
  const std::string
      head = "image1,image2,agg_score,sampling_method\n",
      simlex =
          "word1\tword2\tPOS\tSimLex999\tconc(w1)\tconc(w2)\tconcQ\tAssoc(USF)\tSimAssoc333\tSD(SimLex)\n";
  EXPECT_NE(fault("a,b,c\n", ratings).find("line 1"), std::string::npos);
  EXPECT_NE(fault(head + "a,b,x,y\n", ratings).find("line 2"), std::string::npos);
  EXPECT_NE(fault(head + "a,b,1\n", ratings).find("3 cells"), std::string::npos);
  EXPECT_NE(fault(head, ratings).find("no pair"), std::string::npos);
  EXPECT_NE(fault(head + "a,b,5.5,y\n", ratings).find("line 2: rating 5.5 is not from 0 to 5"),
            std::string::npos);
  EXPECT_NE(fault("image1,image2,agg_score,other\n", ratings).find("line 1"), std::string::npos);
  EXPECT_NE(fault("word1\tword2\n", words).find("POS"), std::string::npos);
  EXPECT_NE(fault(simlex + "a\tb\tX\t1\t1\t1\t1\t1\t0\t1\n", words).find("none of A, N, V"),
            std::string::npos);
  EXPECT_NE(fault(simlex + "a\tb\tA\t1\t1\t1\t5\t1\t0\t1\n", words).find("concQ"), std::string::npos);
  EXPECT_NE(fault(simlex + "a\tb\tA\t11\t1\t1\t4\t1\t1\t1\n", words).find("SimLex999"), std::string::npos);
  EXPECT_EQ(fault(simlex + "a\tb\tA\t1\t1\t1\t4\t1\t1\t1\n", words), "");
  std::filesystem::remove(path);
}

// ---- words ----

TEST_F(BenchmarkTest, WordsAreComparedBeforeTheProjection) {
  settings_.data = "";
  settings_.task = jobs::EvaluateTask::kWords;
  const std::vector<std::array<std::string, 3>> pairs = {
      {"old", "new", "A"}, {"smart", "wise", "A"}, {"cat", "dog", "N"},   {"wife", "husband", "N"},
      {"go", "come", "V"}, {"take", "carry", "V"}, {"bad", "awful", "A"}, {"book", "text", "N"}};
  std::string text =
      "word1\tword2\tPOS\tSimLex999\tconc(w1)\tconc(w2)\tconcQ\tAssoc(USF)\tSimAssoc333\tSD(SimLex)\n";
  for (std::size_t i = 0; i < pairs.size(); ++i)
    text += pairs[i][0] + "\t" + pairs[i][1] + "\t" + pairs[i][2] + "\t" + std::to_string(i) + "\t1\t1\t" +
            std::to_string(i < 4 ? 1 : 3) + "\t1\t" + (i % 2 == 0 ? "1" : "0") + "\t1\n";
  settings_.ratings = {file("SimLex-999.txt", text)};
  const auto result = run();
  const auto model = models::DualEncoder::load(model_folder());
  std::vector<std::pair<double, int>> by_cosine;  // without ties: rho = 1 - 6 sum d^2 / (n (n^2 - 1))
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto rows =
        embedding::encode_texts(*model, "cpu", {pairs[i][0], pairs[i][1]}, false).rows.to(at::kDouble);
    ASSERT_EQ(rows.size(1), 32);  // the tower's width, not the 16 of the embedding
    by_cosine.emplace_back(at::cosine_similarity(rows.narrow(0, 0, 1), rows.narrow(0, 1, 1)).item<double>(),
                           static_cast<int>(i));
  }
  std::sort(by_cosine.begin(), by_cosine.end());
  double square = 0;
  for (std::size_t rank = 0; rank < by_cosine.size(); ++rank)
    square += std::pow(static_cast<double>(rank) - by_cosine[rank].second, 2);
  EXPECT_NEAR(result.at("metrics").at("spearman").get<double>(), 1 - 6 * square / (8 * 63), 1e-9);
  for (const char* name : {"spearman_adjective", "spearman_noun", "spearman_verb", "spearman_concreteness_q1",
                           "spearman_concreteness_q3", "spearman_hard"})
    EXPECT_TRUE(result.at("metrics").contains(name)) << name;
  EXPECT_FALSE(result.at("metrics").contains("spearman_concreteness_q2"));
  EXPECT_EQ(summary_.at("spearman_concreteness_q2_too_few"), 1);
  EXPECT_EQ(result.at("dataset"), "simlex999");
}

// ---- entailment and answers ----

class EntailmentTest : public BenchmarkTest {
 protected:
  EntailmentTest() {
    settings_.task = jobs::EvaluateTask::kEntailment;
    settings_.train_data = "dev";
  }
  void add(const std::string& data, const std::vector<double>& cosine, const std::vector<std::int64_t>& label,
           bool twice = false) {
    const auto count = static_cast<std::int64_t>(cosine.size());
    const auto c = at::tensor(cosine, at::kFloat);
    std::vector<Sample> samples;
    for (std::int64_t i = 0; i < count; ++i) samples.push_back({"k" + std::to_string(i), "hypothesis", ""});
    auto owner = at::arange(count);
    if (twice) owner[1] = 0;
    add_set(data, samples,
            {"", at::arange(count), at::stack({at::ones({count}), at::zeros({count})}, 1),
             at::stack({c, (1 - c * c).sqrt()}, 1), owner,
             label.empty() ? at::Tensor() : at::tensor(label, at::kLong)});
  }
};

TEST_F(EntailmentTest, ThresholdsAreLearntOnTheOtherSet) {
  add("dev", {.9, .8, .6, .5, .2, .1}, {0, 0, 1, 1, 2, 2});
  add("test", {.95, .65, .4, .15, .75}, {0, 1, 1, 2, 2});
  const auto result = run();
  EXPECT_NEAR(result.at("metrics").at("acc").get<double>(), 4. / 5, 1e-6);  // .75 passes for entailment
  EXPECT_EQ(result.at("metrics").at("train_acc"), 1);
  EXPECT_EQ(result.at("metrics").at("roc_auc"), 1);  // .95 above .15 and .75
  EXPECT_NE(result.at("rules").at(0).get<std::string>().find("not the paper's"), std::string::npos);
}

TEST_F(EntailmentTest, WhatIsNoSetOfEntailmentIsNamed) {
  add("dev", {.9, .8}, {0, 3});
  add("test", {.9, .8}, {0, 1});
  EXPECT_NE(refused().find("label 3 is outside the 3 classes"), std::string::npos);
  lines_.clear();
  add("dev", {.9, .8}, {});
  add("test", {.9, .8}, {0, 1});
  EXPECT_NE(refused().find("'dev' has no labels"), std::string::npos);
  lines_.clear();
  add("dev", {.9, .8}, {0, 1});
  add("test", {.9, .8}, {0, 1}, true);
  EXPECT_NE(refused().find("no caption or several"), std::string::npos);
}

TEST_F(BenchmarkTest, TheNearestAnswerCountsByThePeopleWhoGaveIt) {
  settings_.task = jobs::EvaluateTask::kAnswers;
  const std::vector<std::string> answers = {"yes", "no", "red", "two"};
  settings_.answers = file("answers.txt", "yes\nno\nred\ntwo\n");
  const auto model = models::DualEncoder::load(model_folder());
  std::vector<at::Tensor> images;  // each lies on the text that it should choose
  const std::vector<std::string> questions = {"is it", "what colour", "how many"};
  for (const auto& [q, a] : {std::pair{0, 1}, std::pair{1, 2}, std::pair{2, 0}})
    images.push_back(embedding::encode_texts(*model, "cpu",
                                             {"question: " + questions[static_cast<std::size_t>(q)] +
                                              " answer: " + answers[static_cast<std::size_t>(a)]},
                                             true)
                         .rows);
  images.push_back(at::full_like(images[0], kNan));
  add_set("test",
          {{"a", "", R"({"question": "is it", "answers": ["No", "no", "no ", "yes"]})"},
           {"b", "", R"({"question": "what colour", "answers": ["red", "blue", "green"]})"},
           {"c", "", R"({"question": "how many", "answers": ["seven", "eight"]})"},
           {"d", "", R"({"question": "is it", "answers": ["yes", "yes", "yes"]})"}},
          {"", at::arange(4), at::cat(images), {}, {}, {}});
  const auto result = run();
  EXPECT_NEAR(result.at("metrics").at("acc").get<double>(), (1 + 1. / 3 + 0 + 0) / 4, 1e-9);
  EXPECT_EQ(result.at("counts").at("unanswerable"), 1);
  EXPECT_EQ(result.at("counts").at("not_finite"), 1);
  EXPECT_NE(result.at("rules").at(0).get<std::string>().find("not the paper's"), std::string::npos);
  lines_.clear();
  add_set("test", {{"a", "", R"({"answers": ["no"]})"}}, {"", at::arange(1), images[0], {}, {}, {}});
  EXPECT_NE(refused().find("\"question\""), std::string::npos);
}

// ---- what is odd ----

TEST_F(BenchmarkTest, TiesNanAndEmptyClassesAreCounted) {
  auto data = testing::test_data();
  data.classes = {"cat", "cat", "ship", "tree"};  // two classes of one name have one vector
  task_.data = jobs::data_json(data);
  const auto model = models::DualEncoder::load(model_folder());
  const auto cat = embedding::encode_texts(*model, "cpu", {"a photo of a cat."}, true).rows;
  const auto ship = embedding::encode_texts(*model, "cpu", {"a photo of a ship."}, true).rows;
  add_set("test", {{"a", "", ""}, {"b", "", ""}, {"c", "", ""}, {"d", "", ""}, {"e", "", ""}},
          {"",
           at::arange(5),
           at::cat({cat, cat, ship, at::full_like(cat, kNan), cat}),
           {},
           {},
           at::tensor({0, 1, 2, 2, -1}, at::kLong)});
  const auto result = run();
  EXPECT_EQ(result.at("counts").at("ties"), 2);
  EXPECT_EQ(result.at("counts").at("not_finite"), 1);
  EXPECT_EQ(result.at("counts").at("empty_classes"), 1);  // trees
  EXPECT_EQ(result.at("counts").at("without_label"), 1);
  EXPECT_EQ(result.at("metrics").at("acc1"), 0.5);  // 0 right, 1 loses the tie to 0, 2 right, NaN a miss
  EXPECT_NEAR(result.at("metrics").at("mean_per_class_recall").get<double>(), (1 + 0 + .5) / 3, 1e-12);
  EXPECT_EQ(result.at("rules").size(), 3U);
}

TEST_F(BenchmarkTest, LabelsOutsideTheNamesAndAnotherCountAreRefused) {
  auto data = testing::test_data();
  data.classes = {"cat", "ship"};
  task_.data = jobs::data_json(data);
  add_set("test", {{"a", "", ""}},
          {"", at::arange(1), unit(at::ones({1, 16})), {}, {}, at::tensor({2}, at::kLong)});
  const std::string why = refused();
  EXPECT_NE(why.find("label 2 is outside the 2 classes"), std::string::npos) << why;
  lines_.pop_back();
  settings_.class_count = 3;
  EXPECT_NE(refused().find("has 2 class names, not 3"), std::string::npos);
}

TEST_F(BenchmarkTest, CaptionsInAnotherLanguageThanNamedAreRefused) {
  const std::string german =
      "Zwei Männer stehen am Herd und bereiten Essen zu, während eine Frau ihnen von der Tür aus zusieht.";
  const std::string english =
      "Two men are standing at the stove preparing food while a woman is watching them from the door.";
  const auto add = [&](const std::string& first, const std::string& second) {
    lines_.clear();
    add_set("test", {{"a", first + "\n" + first, ""}, {"b", second + "\n" + second, ""}},
            {"",
             at::arange(2),
             at::eye(2),
             at::eye(2).repeat_interleave(2, 0),
             at::tensor({0, 0, 1, 1}, at::kLong),
             {}});
  };
  settings_.language = "de";
  add(english, english);
  const std::string why = refused();
  EXPECT_NE(
      why.find("4 of 4 captions of data set 'test' are in another language than \"de\", 4 of them in \"en\""),
      std::string::npos)
      << why;
  add(german, german);
  EXPECT_EQ(run().at("counts").at("another_language"), 0);
  settings_.language = "";  // nobody has said what they are in
  add(english, english);
  EXPECT_FALSE(run().at("counts").contains("another_language"));
}

TEST_F(BenchmarkTest, AnItemWithoutOneOfItsPicturesIsNamed) {
  settings_.task = jobs::EvaluateTask::kChoice;
  settings_.group_field = "item";
  const auto add = [&](const std::string& last) {
    lines_.clear();
    add_set("test",
            {{"a", "one", R"({"item": 1})"},
             {"b", "two", R"({"item": 1})"},
             {"c", "three", R"({"item": 2})"},
             {"d", "four", last}},
            {"",
             at::arange(4),
             at::eye(4),
             at::eye(4).index_select(0, at::tensor({0, 0, 2, 3}, at::kLong)),
             at::arange(4),
             {}});
  };
  add(R"({"item": 3})");
  const std::string why = refused();
  EXPECT_NE(why.find("item 2 of data set 'test' has 1 pictures and 1 captions"), std::string::npos) << why;
  add("{}");
  EXPECT_NE(refused().find("has no member \"item\""), std::string::npos);
  add(R"({"item": 2})");
  const auto result = run();
  EXPECT_EQ(result.at("counts").at("items"), 2);
  EXPECT_EQ(result.at("counts").at("ties"), 1);  // both captions of item 1 are one
  EXPECT_EQ(result.at("metrics").at("acc"), 0.5);
  EXPECT_EQ(result.at("rules").at(0), "a tie is wrong");
}

TEST_F(BenchmarkTest, RetrievalCountsTiesAndComparesTextsWithTexts) {
  settings_.also = {jobs::AlsoMetric::kTextToText, jobs::AlsoMetric::kMeanRecall};
  add_set("test", {{"a", "one\ntwo", ""}, {"b", "three\nfour", ""}, {"c", "", ""}},
          {"",
           at::arange(3),
           at::tensor({1., 0., 1., 0., 0., 1.}, at::kFloat).view({3, 2}),
           at::tensor({1., 0., 1., 0., 0., 1., 0., 1.}, at::kFloat).view({4, 2}),
           at::tensor({0, 0, 1, 1}, at::kLong),
           {}});
  const auto result = run();
  EXPECT_EQ(result.at("metrics").at("text_to_text_recall@1"), 1);
  EXPECT_EQ(result.at("metrics").at("image_retrieval_recall@1"), 0.5);
  // mR is of pictures and texts alone: 1, .5 of text -> image and .5, .5 of image -> text by k 1 and 2.
  EXPECT_NEAR(result.at("metrics").at("mean_recall").get<double>(), (.5 + .5 + .5 + .5) / 4, 1e-12);
  EXPECT_EQ(result.at("counts").at("images_without_caption"), 1);
  EXPECT_GT(result.at("counts").at("ties"), 0);
}

TEST_F(BenchmarkTest, AProbeLearnsBeforeTheProjectionAndChoosesByNamedSamples) {
  settings_.task = jobs::EvaluateTask::kLinearProbe;
  settings_.train_data = "train";
  settings_.validation_data = "val";
  settings_.features = jobs::FeatureSpace::kTower;
  auto data = testing::test_data();
  data.classes = {"cat", "ship", "tree"};
  task_.data = jobs::data_json(data);
  at::manual_seed(2);
  const auto features = [](std::int64_t count) {
    const auto label = at::arange(count) % 3;
    return checkpoint::Features{
        "",   at::arange(count), at::eye(3, 20).index_select(0, label) + 0.1 * at::randn({count, 20}), {}, {},
        label};
  };
  space_ = "shared";  // of an earlier stage: left alone
  add_set("test", std::vector<Sample>(1, {"k", "", ""}),
          {"", at::arange(1), at::ones({1, 16}), {}, {}, at::zeros({1}, at::kLong)});
  space_ = "tower";
  for (const auto& [set, count] : {std::pair{"test", 30}, std::pair{"train", 60}, std::pair{"val", 15}}) {
    std::vector<Sample> samples;
    for (int i = 0; i < count; ++i) samples.push_back({"k" + std::to_string(i), "", ""});
    if (std::string(set) == "test") {
      lines_.push_back({{}, named(jobs::Role::kFeatures, out("tower", ".features.safetensors"), "test")});
      auto of = features(count);
      of.space = "tower";
      checkpoint::write_features(lines_.back().input->path, of);
    } else {
      add_set(set, samples, features(count));
    }
  }
  set_inputs(task_, lines_);
  task_.settings = jobs::settings_json(settings_);
  jobs::Task probe = task_;
  probe.output = out("probe", "");
  const auto done = ProbeStage().run(probe, context_);
  const auto first = io::read_file(done.outputs.at(0).path);
  // Two workers in lockstep leave the same bytes.
  auto groups = collective::make_local_groups(2);
  auto other = context_;
  context_.group = groups[0].get();
  other.group = groups[1].get();
  std::thread second([&] { ProbeStage().run(probe, other); });
  ProbeStage().run(probe, context_);
  second.join();
  context_.group = nullptr;
  EXPECT_EQ(io::read_file(done.outputs.at(0).path), first);
  lines_.push_back({{}, input(jobs::Role::kProbe, done.outputs.at(0).path)});
  const auto result = run();
  EXPECT_GT(result.at("metrics").at("acc1"), 0.9);
  EXPECT_GT(result.at("metrics").at("mean_per_class_recall"), 0.9);
  EXPECT_EQ(result.at("counts").at("images"), 30);
  EXPECT_EQ(result.at("counts").at("train_images"), 60);
  EXPECT_EQ(result.at("counts").at("validation_images"), 15);
}

}  // namespace
}  // namespace trireme::worker::stages::evaluate
