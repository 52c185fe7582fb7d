// Rules of captioners, caption stages and the captions that training reads.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "jobs/specification/job_spec.h"

namespace trireme::jobs {
namespace {

std::string example() {
  std::ostringstream text;
  text << std::ifstream(std::string(TRIREME_SOURCE_DIR) + "/jobs/examples/alip.json").rdbuf();
  return text.str();
}

std::string all_of(const std::vector<SpecFault>& faults) {
  std::string out;
  for (const auto& f : faults) out += f.pointer + " [" + f.code + "] " + f.detail + " | " + f.hint + "\n";
  return out;
}

TEST(CheckCaptions, TheExampleIsFine) {
  const ReadResult result = read_job(example());
  ASSERT_TRUE(result.ok()) << all_of(result.faults);
  const auto& captions = std::get<CaptionSettings>(result.job.spec.stages[2].settings);
  EXPECT_EQ(captions.beams, 3);
  EXPECT_FALSE(captions.prompt);
  EXPECT_EQ(named_stage(captions.model), "learn");
  EXPECT_EQ(named_stage("learn"), "");
  EXPECT_EQ(result.job.spec.models.at("captioner").image.projection, "none");
}

TEST(CheckCaptions, EveryRuleHasItsFault) {
  const struct {
    const char *override_text, *pointer, *words;
  } cases[] = {
      {"stages.learn.objective=contrastive", "/spec/stages/1/objective", "learns captioning"},
      {"stages.learn.model=small", "/spec/stages/1/objective", "cannot write captions"},
      {"stages.learn.loss.texts=both", "/spec/stages/1/loss/texts", "no meaning for captioning"},
      {"stages.learn.loss.kind=sigmoid", "/spec/stages/1/loss/kind", "no meaning"},
      {"stages.learn.loss.hard_negatives.beta=0.5", "/spec/stages/1/loss/hard_negatives", "no meaning"},
      {"stages.learn.evaluate_every={\"steps\":5,\"data\":\"test\"}", "/spec/stages/1/evaluate_every/metric",
       "is of pairs"},
      {"stages.train.evaluate_every={\"steps\":5,\"data\":\"test\",\"metric\":\"token_loss\"}",
       "/spec/stages/3/evaluate_every/metric", "a captioner's"},
      {"stages.train.synthetic_caption=own:0", "/spec/stages/3/synthetic_caption", "no caption of a sample"},
      {"stages.train.synthetic_caption=own:x", "/spec/stages/3/synthetic_caption", "own:1 is the first"},
      {"stages.train.swap_captions.share=1.5", "/spec/stages/3/swap_captions/share", "1"},
      {"stages.captions.model=captioner", "/spec/stages/2/model", "has no weights"},
      {"stages.captions.model=small", "/spec/stages/2/model", "text.kind is transformer"},
      {"stages.captions.model=nobody", "/spec/stages/2/model", "there is no model"},
      {"stages.captions.model=stage:train", "/spec/stages/2/model", "with objective captioning"},
      {"stages.captions.model=stage:nobody", "/spec/stages/2/model", "with objective captioning"},
      {"stages.captions.needs=[]", "/spec/stages/2/model", "not among the needs"},
      {"stages.captions.min_length=25", "/spec/stages/2/min_length", "above max_length"},
      {"stages.captions.max_length=33", "/spec/stages/2/max_length", "positions 32"},
      {"stages.captions.beams=0", "/spec/stages/2/beams", "1"},
      {"stages.captions.top_p=0", "/spec/stages/2/top_p", ""},
      {"stages.captions.method=best", "/spec/stages/2/method", "nucleus"},
      {"stages.train.synthetic_caption=captions", "/spec/stages/3/synthetic_caption", "is a caption stage"},
      {"stages.train.synthetic_caption=stage:learn", "/spec/stages/3/synthetic_caption", "no caption stage"},
      {"stages.train.needs=[]", "/spec/stages/3/synthetic_caption", "no caption stage"},
      {"stages.captions.data=[\"test\"]", "/spec/stages/3/synthetic_caption", "writes no captions"},
      {"stages.evaluate.model=learn", "/spec/stages/4/model", "trains a captioner"},
      {"models.captioner.text.tokenizer={\"kind\":\"hashed_words\"}",
       "/spec/models/captioner/text/tokenizer/kind", "give back"},
      {"models.captioner.text.context=33", "/spec/models/captioner/text/context", "positions 32"},
      {"models.captioner.text.gradient_checkpointing=true",
       "/spec/models/captioner/text/gradient_checkpointing", ""},
      {"models.small.text.prompt=a", "/spec/models/small/text/kind", "belong to a decoder"},
      {"models.small.text.extra_tokens=2", "/spec/models/small/text/kind", "belong to a decoder"},
  };
  for (const auto& one : cases) {
    const ReadResult result = read_job(example(), {std::string("spec.") + one.override_text});
    const bool found = std::ranges::any_of(result.faults, [&](const SpecFault& fault) {
      return fault.pointer == one.pointer && (fault.detail + fault.hint).find(one.words) != std::string::npos;
    });
    EXPECT_TRUE(found) << one.override_text << "\n" << all_of(result.faults);
  }
}

TEST(CheckCaptions, OneBeamComparesNothing) {
  const std::string one = "spec.stages.captions.beams=1";
  EXPECT_TRUE(read_job(example(), {one}).ok());
  const ReadResult result = read_job(example(), {one, "spec.stages.captions.length_penalty=2"});
  ASSERT_EQ(result.faults.size(), 1U) << all_of(result.faults);
  EXPECT_EQ(result.faults[0].pointer, "/spec/stages/2/length_penalty");
  EXPECT_NE(result.faults[0].detail.find("beams over 1"), std::string::npos) << all_of(result.faults);
}

TEST(CheckCaptions, ACaptionerHasNoFeaturesToStore) {
  std::string text = example();
  const std::string from =
      R"({"name": "vocabulary", "kind": "vocabulary", "data": ["clean"], "size": 1000},)";
  text.replace(
      text.find(from), from.size(),
      from +
          R"({"name": "embed", "kind": "embed", "needs": ["vocabulary"], "data": ["clean"], "model": "captioner"},)");
  const ReadResult result = read_job(text);
  EXPECT_NE(all_of(result.faults).find("no features to store"), std::string::npos) << all_of(result.faults);
}

}  // namespace
}  // namespace trireme::jobs
