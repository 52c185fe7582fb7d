// Training of a captioner: it learns, at any number of ranks with the same bits, and goes on where it was.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "tests/worker/stages/train/support/tiny_job.h"
#include "worker/data/batches/image_batch.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/losses/caption_loss.h"
#include "worker/models/captioner/captioner.h"
#include "worker/stages/train/objectives/captioning/captioner_model.h"

namespace trireme::worker::stages::train {
namespace {

class CaptioningTest : public ::testing::Test {
 protected:
  CaptioningTest()
      : folder_(std::filesystem::temp_directory_path() /
                ("trireme_captioning_" + std::to_string(::getpid()))),
        job_(folder_.string()) {
    at::set_num_threads(1);  // as the slots' threads
    std::string lines = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";
    for (const char* word : {"a", "red", "green", "blue", "yellow", "purple", "white", "square", "in", "the",
                             "top", "bottom", "left", "right", "on", "black", "grey", "thing"})
      lines += std::string(word) + "\n";
    io::write_file_atomic(folder_ / "vocab.txt", lines, false);
    job_.model.text = {};
    job_.model.text.kind = jobs::TextTowerKind::kDecoder;
    job_.model.text.width = 32;
    job_.model.text.layers = 2;
    job_.model.text.heads = 2;
    job_.model.text.context = job_.model.text.positions = 16;
    job_.model.text.prompt = "a";
    job_.model.text.tokenizer.kind = jobs::TokenizerKind::kWordPiece;
    job_.model.text.tokenizer.vocabulary = (folder_ / "vocab.txt").string();
    job_.settings.objective = jobs::TrainObjective::kCaptioning;
    job_.settings.steps = 6;
  }
  ~CaptioningTest() override { std::filesystem::remove_all(folder_); }

  std::string weights(const std::string& run) const {
    return io::read_file(job_.output(run) + "/model.safetensors");
  }

  io::Path folder_;
  TinyJob job_;
};

at::Tensor pixels_of(const models::DualEncoder& model, const data::ShardReader& reader, std::int64_t sample) {
  std::string storage;
  data::Image image;
  EXPECT_EQ(data::decode_image(reader.image_bytes(sample, storage), {}, image), "");
  const auto look = model.image_preprocess();
  at::Tensor pixels_BCHW = at::empty({1, 3, look.image_px, look.image_px});
  data::evaluation_view(image, look, pixels_BCHW.data_ptr<float>());
  return pixels_BCHW;
}

// Without looking at the picture nobody does better than the entropy of the captions: they are 48 different
// ones, alike in frequency, of which the prompt is given. Beside it, what a unigram and a bigram model reach.
struct Baselines {
  double unigram = 0, bigram = 0, blind = 0;  // nats per learnt token
};
Baselines baselines_of(const std::vector<std::vector<std::int64_t>>& captions, std::size_t given) {
  std::map<std::int64_t, double> one;
  std::map<std::pair<std::int64_t, std::int64_t>, double> two;
  std::map<std::int64_t, double> before;
  std::map<std::vector<std::int64_t>, double> whole;
  double tokens = 0;
  for (const auto& ids : captions) {
    ++whole[ids];
    for (std::size_t i = given; i < ids.size(); ++i, ++tokens) {
      ++one[ids[i]];
      ++two[{ids[i - 1], ids[i]}];
      ++before[ids[i - 1]];
    }
  }
  Baselines result;
  for (const auto& [id, n] : one) result.unigram -= n / tokens * std::log(n / tokens);
  for (const auto& [pair, n] : two) result.bigram -= n / tokens * std::log(n / before[pair.first]);
  const auto all = static_cast<double>(captions.size());
  for (const auto& [ids, n] : whole) result.blind -= n / tokens * std::log(n / all);
  return result;
}

TEST_F(CaptioningTest, LearnsToCaption) {
  job_.settings.steps = 450;
  job_.settings.optimizer.learning_rate = 1e-2;
  job_.settings.evaluate_every = {.steps = 450, .data = "test", .metric = jobs::EvaluationMetric::kTokenLoss};
  const auto outcome = job_.train("run", 1);
  ASSERT_EQ(outcome.error, "");
  EXPECT_GT(outcome.reports.front().loss, 2.5);  // ln 22 = 3.1
  EXPECT_EQ(outcome.done.counts.at("steps"), 450);
  EXPECT_EQ(outcome.done.counts.at("samples"), 450 * 16);

  const auto model = models::DualEncoder::load(job_.output("run"));
  const models::Captioner captioner{*model};
  std::vector<std::vector<std::int64_t>> learnt;
  std::int64_t right = 0;
  std::string last;
  for (int s = 0; s < 3; ++s) {
    const std::string path = (folder_ / (std::to_string(s) + ".tar")).string();
    const data::ShardReader reader(path, path + ".idx");
    for (std::int64_t i = 0; i < reader.size(); ++i) {
      const std::string caption = reader.captions(i).at(0);
      const at::Tensor ids_L = captioner.tokenize({caption}).tokens_NL[0];
      learnt.emplace_back(ids_L.const_data_ptr<std::int64_t>(),
                          ids_L.const_data_ptr<std::int64_t>() + ids_L.numel());
      const auto written =
          captioner.write(pixels_of(*model, reader, i), captioner.start(), {.max_length = 16});
      last = captioner.words(written.at(0).ids);
      right += last == caption ? 1 : 0;
    }
  }
  const Baselines least = baselines_of(learnt, captioner.start().size());
  EXPECT_GT(least.unigram, least.bigram);
  EXPECT_GE(least.bigram, least.blind - 1e-9);        // alike here: each word follows from the one before
  EXPECT_NEAR(least.blind, std::log(48) / 10, 1e-9);  // ten learnt tokens, the end mark among them
  const double reached = nlohmann::json::parse(outcome.reports.back().evaluation).at("token_loss");
  EXPECT_LT(reached, least.blind / 2) << "it looks at the picture";
  EXPECT_GE(right, 8) << "whoever writes the same caption always has 1 of 48; the last one: " << last;
}

// Evaluation while training: the mean over all learnt tokens by the definition, the same bits for any number
// of ranks, and the lowest is kept.
TEST_F(CaptioningTest, TheHeldBackLossIsMeasuredAndTheLowestKept) {
  job_.settings.steps = 6;
  job_.settings.optimizer.learning_rate = 0.05;  // so that it also rises
  job_.settings.evaluate_every = {.steps = 1, .data = "test", .metric = jobs::EvaluationMetric::kTokenLoss};
  const auto outcome = job_.train("one", 1);
  ASSERT_EQ(outcome.error, "");
  std::vector<double> seen;
  for (const auto& report : outcome.reports)
    seen.push_back(nlohmann::json::parse(report.evaluation).at("token_loss").get<double>());
  ASSERT_EQ(seen.size(), 6U);
  const auto summary = nlohmann::json::parse(outcome.done.summary);
  const auto best = std::ranges::min_element(seen);
  EXPECT_EQ(summary.at("best_metric"), *best);
  EXPECT_EQ(summary.at("best_step"), best - seen.begin() + 1);

  const auto model = models::DualEncoder::load(job_.output("one"));
  const models::Captioner captioner{*model};
  double sum = 0, tokens = 0;
  for (int s = 0; s < 3; ++s) {
    const std::string path = (folder_ / (std::to_string(s) + ".tar")).string();
    const data::ShardReader reader(path, path + ".idx");
    for (std::int64_t i = 0; i < reader.size(); ++i) {
      const auto ids = captioner.tokenize({reader.captions(i).at(0)}).tokens_NL;
      const auto log_p = at::log_softmax(
          model->decoder()->forward(ids, model->image_tokens(pixels_of(*model, reader, i))).to(at::kDouble),
          2);
      for (std::int64_t l = 2; l < ids.size(1); ++l, ++tokens)  // behind start mark and prompt
        sum -= log_p[0][l - 1][ids[0][l].item<std::int64_t>()].item<double>();
    }
  }
  EXPECT_NEAR(*best, sum / tokens, 1e-5);
  ASSERT_EQ(job_.train("four", 4).error, "");
  EXPECT_EQ(weights("four"), weights("one"));
  EXPECT_EQ(io::read_file(job_.output("four") + "/log.jsonl"),
            io::read_file(job_.output("one") + "/log.jsonl"));
}

TEST_F(CaptioningTest, SameBitsForAnyNumberOfRanksAndChunks) {
  job_.model.image.kind = jobs::ImageTowerKind::kEfficientNetLite0;
  job_.model.image.width_factor = 0.25;
  job_.model.image.batch_norm.policy = jobs::BatchNormPolicy::kGhost;
  job_.settings.steps = 3;
  ASSERT_EQ(job_.train("one", 1).error, "");
  ASSERT_EQ(job_.train("two", 2).error, "");
  ASSERT_EQ(job_.train("four", 4).error, "");
  EXPECT_EQ(weights("two"), weights("one"));
  EXPECT_EQ(weights("four"), weights("one"));
}

TEST_F(CaptioningTest, GoesOnAsIfNothingHadHappened) {
  job_.checkpoint_every_steps = 3;
  job_.commit = true;
  const auto whole = job_.train("whole", 2);
  ASSERT_EQ(whole.error, "");
  const auto resumed = job_.train("resumed", 1, whole.checkpoints.front());
  ASSERT_EQ(resumed.error, "");
  EXPECT_EQ(weights("resumed"), weights("whole"));
}

TEST_F(CaptioningTest, MicroBatchesHaveTheSameGradient) {
  job_.settings.steps = 1;
  job_.settings.optimizer.warmup_steps = 0;
  const auto whole = job_.train("whole", 1);
  job_.settings.micro_batch = 3;
  const auto parts = job_.train("parts", 1);
  ASSERT_EQ(whole.error + parts.error, "");
  EXPECT_NEAR(parts.reports[0].loss, whole.reports[0].loss, 1e-5);
  EXPECT_NEAR(parts.reports[0].gradient_norm, whole.reports[0].gradient_norm,
              1e-4 * whole.reports[0].gradient_norm);
}

// Against the definition: mean over the batch's learnt tokens, prompt and padding left out.
TEST_F(CaptioningTest, LossOfASlotIsTheDefinition) {
  models::DualEncoder encoder(job_.model, 1);
  CaptionerModel model(encoder, 0.1);
  const models::Captioner captioner(encoder);
  SlotInput input;
  input.image_BCHW = at::randn({3, 3, 32, 32});
  input.tokens_BL = captioner.tokenize({"red square", "blue thing on the right", "white"}).tokens_NL;
  input.live_B = at::tensor({1, 0, 1}, at::kByte);
  const auto output = model.forward(input);
  EXPECT_TRUE(output.rows_BD.empty());
  EXPECT_EQ(output.count_H[0].item<double>(), 3 + 2);  // words and end marks of the live rows
  const at::Tensor rows = at::tensor({0, 2}, at::kLong);
  const at::Tensor log_p = encoder.decoder()
                               ->forward(input.tokens_BL.index_select(0, rows),
                                         encoder.image_tokens(input.image_BCHW.index_select(0, rows)))
                               .log_softmax(2);
  double sum = 0;
  const auto tokens = input.tokens_BL.index_select(0, rows);
  for (std::int64_t r = 0; r < 2; ++r)
    for (std::int64_t l = 1; l + 1 < tokens.size(1); ++l) {  // position 0 predicts the prompt
      const auto next = tokens[r][l + 1].item<std::int64_t>();
      if (next == 0) continue;
      sum -= 0.9 * log_p[r][l][next].item<double>() + 0.1 * log_p[r][l].mean().item<double>();
    }
  EXPECT_NEAR(output.sum_H[0].item<double>(), sum, 1e-4);
  input.live_B.zero_();
  const auto dead = model.forward(input);
  EXPECT_EQ(dead.sum_H[0].item<double>(), 0);
  EXPECT_EQ(dead.count_H[0].item<double>(), 0);
}

class JoinTest : public ::testing::Test {
 protected:
  JoinTest()
      : folder_(std::filesystem::temp_directory_path() / ("trireme_join_" + std::to_string(::getpid()))),
        job_(folder_.string()) {
    job_.settings.loss.texts = jobs::LossTexts::kBoth;
    job_.settings.steps = 4;
  }
  ~JoinTest() override { std::filesystem::remove_all(folder_); }
  std::string weights(const std::string& run) const {
    return io::read_file(job_.output(run) + "/model.safetensors");
  }
  io::Path folder_;
  TinyJob job_;
};

TEST_F(JoinTest, CaptionsOfAStageTrainAsThoseOfTheSamplesJson) {
  ASSERT_EQ(job_.train("field", 2).error, "");
  job_.written_captions = true;
  job_.settings.synthetic_caption = "stage:captions";
  ASSERT_EQ(job_.train("stage", 2).error, "");
  EXPECT_EQ(weights("stage"), weights("field"));
}

TEST_F(JoinTest, AMissingLineIsAnErrorWithACountAndAShard) {
  job_.written_captions = true;
  job_.captions_left_out = 3;
  job_.settings.synthetic_caption = "stage:captions";
  const auto outcome = job_.train("run", 1);
  EXPECT_NE(outcome.error.find("2.tar: 3 of its 16 samples have none"), std::string::npos) << outcome.error;
  job_.written_captions = false;
  EXPECT_NE(job_.train("none", 1).error.find("no captions of stage 'captions'"), std::string::npos);
}

}  // namespace
}  // namespace trireme::worker::stages::train
