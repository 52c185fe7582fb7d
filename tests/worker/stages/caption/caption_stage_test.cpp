#include "worker/stages/caption/caption_stage.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/data/shards/written_captions.h"
#include "worker/models/captioner/captioner.h"

namespace trireme::worker::stages::caption {
namespace {

using testing::test_jpeg;

class CaptionTest : public testing::StageTest {
 protected:
  CaptionTest() {
    std::string lines = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";
    for (const char* word : {"a", "red", "blue", "square", "circle", "on", "##s", "sea", "left", "right"})
      lines += std::string(word) + "\n";
    io::write_file_atomic(folder_ / "vocab.txt", lines, false);
    models::DualEncoder model(spec(), 5);
    for (const auto& [name, tensor] :
         model.state()) {  // small random weights say the same word of everything
      at::Tensor values = tensor;
      const at::NoGradGuard no_grad;
      if (tensor.dim() > 1) values.mul_(name.starts_with("decoder") ? 20 : 3);
    }
    model.save((folder_ / "model").string(), "{}");
    model_print_ = models::fingerprint(model);
  }

  jobs::ModelSpec spec() const {
    auto spec = testing::small_model(false);
    spec.text = {};
    spec.text.kind = jobs::TextTowerKind::kDecoder;
    spec.text.width = 16;
    spec.text.layers = 2;
    spec.text.heads = 2;
    spec.text.context = spec.text.positions = 16;
    spec.text.tokenizer.kind = jobs::TokenizerKind::kWordPiece;
    spec.text.tokenizer.vocabulary = (folder_ / "vocab.txt").string();
    return spec;
  }

  jobs::Task task_of(jobs::CaptionSettings settings) {
    std::vector<testing::TestSample> samples;
    for (int i = 0; i < 13; ++i)
      samples.push_back(
          {"k" + std::to_string(10 + i), i == 4 ? "no picture" : test_jpeg(48 + 9 * i, 40, i), "t"});
    auto task = shard_task("s", samples);
    task.shard->sha256 = "aabb";
    settings.data = {"train"};
    settings.model = "stage:train";
    task.settings = jobs::settings_json(settings);
    task.model = jobs::model_json(spec());
    task.inputs.push_back(input(jobs::Role::kModel, (folder_ / "model").string()));
    return task;
  }

  data::WrittenCaptions run(jobs::Task task, const std::string& name, jobs::TaskDone* done = nullptr) {
    task.output = out(name, "");
    const auto result = CaptionStage().run(task, context_);
    if (done != nullptr) *done = result;
    return data::read_captions_file(result.outputs.at(0).path);
  }

  std::string model_print_;
};

TEST_F(CaptionTest, OneLinePerSampleWithProvenance) {
  jobs::TaskDone done;
  jobs::CaptionSettings settings;
  settings.batch = 4;
  settings.max_length = 9;
  settings.prompt = "a";
  const auto file = run(task_of(settings), "a", &done);
  EXPECT_EQ(file.shard_sha256, "aabb");
  EXPECT_EQ(file.model, model_print_);
  const auto decoding = nlohmann::json::parse(file.decoding);
  EXPECT_EQ(decoding.at("method"), "beam");
  EXPECT_EQ(decoding.at("beams"), 3);
  EXPECT_EQ(decoding.at("prompt"), "a");
  EXPECT_FALSE(decoding.contains("model"));
  ASSERT_EQ(file.captions.size(), 13U);
  std::int64_t cut = 0, empty = 0, tokens = 0;
  std::set<std::string> texts;
  for (std::size_t i = 0; i < 13; ++i) {
    const auto& one = file.captions[i];
    EXPECT_EQ(one.key, "k" + std::to_string(10 + i));
    EXPECT_EQ(one.fault, i == 4 ? "unknown_format" : "");
    if (i == 4) continue;
    EXPECT_LT(one.log_probability, 0);
    EXPECT_LE(one.tokens, 7);
    cut += one.ended ? 0 : 1;
    empty += one.text.empty() ? 1 : 0;
    tokens += one.tokens;
    if (!one.text.empty()) texts.insert(one.text);
  }
  EXPECT_GT(texts.size(), 1U);  // the picture matters
  EXPECT_EQ(done.counts.at("in"), 13);
  EXPECT_EQ(done.counts.at("bad.unknown_format"), 1);
  EXPECT_EQ(done.counts.at("cut"), cut);
  EXPECT_EQ(done.counts.at("empty"), empty);
  EXPECT_EQ(done.counts.at("captions"), 12 - empty);
  EXPECT_EQ(done.counts.at("tokens"), tokens);
  EXPECT_EQ(done.counts.at("repeated"), 12 - empty - static_cast<std::int64_t>(texts.size()));
}

TEST_F(CaptionTest, BytesDoNotDependOnThreadsOrRepeats) {
  for (const auto method :
       {jobs::CaptionMethod::kGreedy, jobs::CaptionMethod::kBeam, jobs::CaptionMethod::kNucleus}) {
    jobs::CaptionSettings settings;
    settings.method = method;
    settings.batch = 3;
    settings.max_length = 12;
    const auto task = task_of(settings);
    run(task, "one");
    context_.threads = 4;
    run(task, "four");
    context_.threads = 1;
    run(task, "single");
    const auto bytes = io::read_file(out("one", ".captions.jsonl"));
    EXPECT_EQ(io::read_file(out("four", ".captions.jsonl")), bytes) << name_of(method);
    EXPECT_EQ(io::read_file(out("single", ".captions.jsonl")), bytes) << name_of(method);
  }
}

TEST_F(CaptionTest, OneBeamIsGreedy) {
  for (const double penalty : {1.0, 1.7}) {
    jobs::CaptionSettings settings;
    settings.max_length = 12;
    settings.repetition_penalty = penalty;
    settings.min_length = 5;
    settings.beams = 1;
    const auto beam = run(task_of(settings), "beam").captions;
    settings.method = jobs::CaptionMethod::kGreedy;
    const auto greedy = run(task_of(settings), "greedy").captions;
    ASSERT_EQ(beam.size(), greedy.size());
    for (std::size_t i = 0; i < beam.size(); ++i) {
      EXPECT_EQ(beam[i].text, greedy[i].text) << penalty << " " << i;
      EXPECT_EQ(beam[i].log_probability, greedy[i].log_probability) << penalty << " " << i;
      EXPECT_EQ(beam[i].ended, greedy[i].ended) << penalty << " " << i;
    }
  }
}

TEST_F(CaptionTest, DroppedSamplesAreLeftOut) {
  jobs::CaptionSettings settings;
  settings.method = jobs::CaptionMethod::kGreedy;
  settings.max_length = 5;
  auto task = task_of(settings);
  std::string verdicts = "{\"format\":\"trireme-verdicts\",\"version\":1,\"first\":0,\"count\":13}\n";
  for (int i = 0; i < 13; ++i)
    verdicts += "{\"sample\":" + std::to_string(i) +
                ",\"key\":\"k\",\"kept\":" + (i % 3 == 0 ? "true" : "false") + "}\n";
  io::write_file_atomic(folder_ / "v.jsonl", verdicts, false);
  task.inputs.push_back(input(jobs::Role::kVerdicts, (folder_ / "v.jsonl").string()));
  std::vector<std::int64_t> samples;
  for (const auto& one : run(task, "kept").captions) samples.push_back(one.sample);
  EXPECT_EQ(samples, (std::vector<std::int64_t>{0, 3, 6, 9, 12}));
}

TEST_F(CaptionTest, TheModelOfTheJobIsTheSameCaptioner) {
  jobs::CaptionSettings settings;
  settings.method = jobs::CaptionMethod::kGreedy;
  settings.max_length = 8;
  auto task = task_of(settings);
  const auto trained = run(task, "trained");
  task.inputs.pop_back();
  auto from_file = spec();
  from_file.init_from = (folder_ / "model").string();
  task.model = jobs::model_json(from_file);
  const auto loaded = run(task, "loaded");
  EXPECT_EQ(loaded.model, trained.model);
  for (std::size_t i = 0; i < 13; ++i) EXPECT_EQ(loaded.captions[i].text, trained.captions[i].text);
}

TEST_F(CaptionTest, WhatCannotBeIsRefused) {
  jobs::CaptionSettings settings;
  settings.max_length = 17;
  EXPECT_THROW(run(task_of(settings), "long"), Error);
  settings.max_length = 3;
  settings.prompt = "a red square";
  EXPECT_THROW(run(task_of(settings), "prompt"), Error);
  settings = {};
  settings.max_length = 9;
  auto task = task_of(settings);
  task.inputs.pop_back();
  task.model = jobs::model_json(testing::small_model(false));
  EXPECT_THROW(run(task, "no decoder"), Error);
  stop_.stop();
  EXPECT_THROW(run(task_of(settings), "stopped"), Error);
  EXPECT_FALSE(std::filesystem::exists(out("stopped", ".captions.jsonl")));
}

TEST(Loops, IsARunThreeTimes) {
  EXPECT_TRUE(loops({1, 2, 2, 2}));
  EXPECT_FALSE(loops({1, 2, 2, 3, 2, 2}));
  EXPECT_TRUE(loops({9, 1, 2, 1, 2, 1, 2, 8}));
  EXPECT_FALSE(loops({1, 2, 1, 2, 1}));
  EXPECT_TRUE(loops({1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4}));
  EXPECT_FALSE(loops({}));
}

}  // namespace
}  // namespace trireme::worker::stages::caption
