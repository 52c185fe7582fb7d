#include "worker/stages/evaluate/score_captions.h"

#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/stages/evaluate/evaluate_stage.h"

namespace trireme::worker::stages::evaluate {
namespace {

class ScoreCaptionsTest : public testing::StageTest {
 protected:
  ScoreCaptionsTest() {
    std::vector<testing::TestSample> samples;
    for (int i = 0; i < 4; ++i)
      samples.push_back({"k" + std::to_string(i), "picture",
                         "A dog runs, number " + std::to_string(i) + ".\nanother text of it"});
    task_ = shard_task("s", samples);
    settings_.data = "train";
    settings_.task = jobs::EvaluateTask::kCaptions;
    settings_.captions = (folder_ / "captions").string();
  }

  void write(const std::string& name, const std::string& lines) {
    io::write_file_atomic(folder_ / "captions" / name, lines, false);
  }

  void prepare() {
    task_.settings = jobs::settings_json(settings_);
    std::vector<jobs::InputsLine> lines = {{task_.shard, {}}};
    for (const auto& one : task_.inputs) lines.push_back({{}, one});
    set_inputs(task_, lines);
    task_.output = out("scores", "");
  }

  jobs::TaskDone run() {
    prepare();
    return EvaluateStage().run(task_, context_);
  }

  runtime::OpenTask<jobs::EvaluateSettings> opened() {
    prepare();
    return {jobs::TaskKind::kEvaluate, task_};
  }

  jobs::Task task_;
  jobs::EvaluateSettings settings_;
};

TEST_F(ScoreCaptionsTest, JoinedByKeyWithEverythingCounted) {
  write("a.captions.jsonl",
        "{\"format\": \"trireme-captions\"}\n"
        "{\"key\": \"k0\", \"caption\": \"a dog runs number 0\", \"log_probability\": -1}\n"
        "{\"key\": \"k0\", \"caption\": \"A dog runs, number 0\"}\n{\"key\": \"k1\", \"caption\": \"a "
        "cat\"}\n{\"key\": \"k9\", \"caption\": \"who\"}\n\n");
  write("deeper/b.jsonl",
        "{\"key\": \"k2\", \"caption\": \"\"}\n{\"key\": \"k3\", \"caption\": \"A DOG RUNS: number 3!\"}");
  const auto done = run();
  EXPECT_EQ(done.counts.at("images"), 4);
  const auto text = io::read_file(done.outputs.at(0).path);
  EXPECT_NE(text.find("\"task\":\"captioning\""), std::string::npos) << text;
  EXPECT_NE(text.find("\"CIDEr\""), std::string::npos) << text;
  for (const char* count : {"\"empty\":1", "\"missing\":0", "\"repeated\":1", "\"unknown\":1"})
    EXPECT_NE(done.summary.find(count), std::string::npos) << done.summary;
  const auto made = evaluate_captions(opened(), [] {});
  EXPECT_NEAR(made.scores.rouge_l_each.at(0), 1, 1e-12);
  EXPECT_NEAR(made.scores.rouge_l_each.at(3), 1, 1e-12) << "case and punctuation are no difference";
  EXPECT_EQ(made.scores.rouge_l_each.at(2), 0);
}

// No line, a picture that was bad, a file of another shard, and a captioner without a word are four things.
TEST_F(ScoreCaptionsTest, WhyASampleHasNoCaptionIsTold) {
  const std::string sha = task_.shard->sha256;
  write("a.captions.jsonl", "{\"format\": \"trireme-captions\", \"shard_sha256\": \"" + sha +
                                "\"}\n{\"key\": \"k0\", \"caption\": \"a dog\"}\n"
                                "{\"key\": \"k1\", \"caption\": \"\", \"fault\": \"bad_decode\"}\n"
                                "{\"key\": \"k2\", \"caption\": \"\"}\n");
  write("b.captions.jsonl",
        "{\"format\": \"trireme-captions\", \"shard_sha256\": \"0123\"}\n"
        "{\"key\": \"k3\", \"caption\": \"a dog runs\"}\n");
  try {
    evaluate_captions(opened(), [] {});
    ADD_FAILURE() << "k3 has no line but a stale one";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("1 of 4 samples have no caption (first: k3"), std::string::npos) << text;
    EXPECT_NE(text.find("1 were written for other shards"), std::string::npos) << text;
  }
  write("c.captions.jsonl", "{\"key\": \"k3\", \"caption\": \"a dog\"}\n");
  const auto made = evaluate_captions(opened(), [] {});
  EXPECT_EQ(made.counts.at("images"), 3);
  EXPECT_EQ(made.counts.at("undecodable"), 1);
  EXPECT_EQ(made.counts.at("stale"), 1);
  EXPECT_EQ(made.counts.at("empty"), 1);
  EXPECT_EQ(made.counts.at("unknown"), 0);
  write("c.captions.jsonl",
        "{\"key\": \"k3\", \"caption\": \"a dog\"}\n{\"key\": \"k3\", \"caption\": \"a cat\"}\n");
  EXPECT_THROW(evaluate_captions(opened(), [] {}), Error) << "two captions, and no telling which";
}

TEST_F(ScoreCaptionsTest, SidecarsOfAStage) {
  const auto path = (folder_ / "x.captions.jsonl").string();
  std::string lines;
  for (const char* key : {"k0", "k1", "k2", "k3"})
    lines += std::string("{\"key\": \"") + key + "\", \"caption\": \"another text of it\"}\n";
  io::write_file_atomic(path, lines, false);
  settings_.captions = "stage:caption";
  task_.inputs.push_back(input(jobs::Role::kCaptions, path));
  EXPECT_EQ(run().counts.at("images"), 4);
}

TEST_F(ScoreCaptionsTest, WhatCannotBeScored) {
  write("a.jsonl", "{\"key\": \"other\", \"caption\": \"x\"}\n");
  EXPECT_THROW(run(), Error);
  write("a.jsonl", "{\"key\": \"k1\", \"caption\": \"x\"}\nnonsense\n");
  try {
    run();
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a.jsonl, line 2"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace trireme::worker::stages::evaluate
