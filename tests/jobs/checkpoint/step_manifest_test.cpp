// A step of a run's ckpt/ as a checkpoint: its manifest has the job, and so the model.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/base/error.h"
#include "jobs/checkpoint/checkpoint_config.h"

namespace trireme::jobs {
namespace {

namespace fs = std::filesystem;

class StepManifest : public ::testing::Test {
 protected:
  StepManifest() { fs::create_directories(step_); }
  ~StepManifest() override { fs::remove_all(output_); }

  CheckpointConfig with(const std::string& spec) const {
    std::ofstream(step_ / "manifest.json")
        << R"({"format": "trireme-checkpoint", "stage": "second", "files": [])" << spec << "}";
    return read_checkpoint_config((step_ / "model.safetensors").string());
  }
  static std::string job(const std::string& tokenizer) {
    return R"(, "spec": {"spec": {
        "models": {"a": {}, "b": {"image": {"width": 32, "heads": 4}, "text": {"heads": 8, "tokenizer": )" +
           tokenizer + R"(}, "init_from": "stage:first"}},
        "stages": [{"name": "first", "model": "a"}, {"name": "second", "model": "b"}]}})";
  }

  const fs::path output_ = fs::temp_directory_path() / ("trireme_step_" + std::to_string(::getpid()));
  const fs::path step_ = output_ / "ckpt/second/step-00000004";
};

const Json& text_of(const CheckpointConfig& config) {
  return *config.own->find("model")->find("text");
}

TEST_F(StepManifest, IsTheModelOfItsStage) {
  const auto config = with(job(R"({"kind": "hashed_words", "buckets": 64})"));
  ASSERT_TRUE(config.own.has_value());
  EXPECT_EQ(text_of(config).find("heads")->integer, 8);
  EXPECT_EQ(text_of(config).find("tokenizer")->find("buckets")->integer, 64);
  ModelSpec other;
  other.image.heads = 4;
  other.text.heads = 2;  // as the width would have it
  std::string said;
  for (const std::string& one : contradictions(other, config, true, true)) said += one + "\n";
  EXPECT_NE(said.find("manifest.json: model.text.heads means text.heads = 8, the model has 2"),
            std::string::npos)
      << said;
}

TEST_F(StepManifest, HasTheVocabularyThatAStageOfItsRunMade) {
  const std::string spec = job(R"({"kind": "wordpiece", "vocabulary": "stage:words"})");
  try {
    with(spec);
    ADD_FAILURE() << "no vocabulary is there";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
    EXPECT_NE(std::string(error.what()).find("vocabulary of its job's stage 'words'"), std::string::npos);
  }
  const std::string made = (output_ / "x.vocab.txt").string();
  fs::create_directories(output_ / "stages/words");
  std::ofstream(output_ / "stages/words/outputs.jsonl")
      << R"({"outputs": [{"name": "", "path": "/a.words"}]})"
      << "\n"
      << R"({"outputs": [{"name": "", "path": ")" << made << "\"}]}\n";
  EXPECT_THROW(with(spec), Error);  // named, and gone
  std::ofstream(made.c_str()) << "[PAD]\n";
  EXPECT_EQ(text_of(with(spec)).find("tokenizer")->find("vocabulary")->text, made);
}

TEST_F(StepManifest, WithoutAJobIsRefusedByName) {
  for (const std::string& none :
       {std::string(), std::string(R"(, "spec": {})"), std::string(R"(, "spec": {"spec": {"stages": 3}})"),
        std::string(R"(, "spec": {"spec": {"stages": [{"name": "second", "model": "b"}]}})")}) {
    const auto config = with(none);
    EXPECT_FALSE(config.own.has_value());
    ASSERT_EQ(config.refusals.size(), 1U) << none;
    EXPECT_NE(config.refusals[0].what.find("it keeps no job"), std::string::npos);
  }
}

}  // namespace
}  // namespace trireme::jobs
