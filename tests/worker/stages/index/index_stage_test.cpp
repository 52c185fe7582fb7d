#include "worker/stages/index/index_stage.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/checkpoint/features.h"
#include "worker/embedding/texts.h"
#include "worker/stages/index/index_folder.h"
#include "worker/stages/index/search_tool.h"

namespace trireme::worker::stages::index {
namespace {

// Seven pictures on disk and in a shard, embedded by their captions: row i is the embedding of text i.
class IndexTest : public testing::StageTest {
 protected:
  IndexTest() : model_(testing::small_model(false), 0) {
    std::vector<testing::TestSample> samples;
    std::vector<std::string> captions;
    for (int i = 0; i < 7; ++i) {
      captions.push_back("caption number " + std::to_string(i));
      samples.push_back({"k" + std::to_string(i), testing::test_jpeg(60, 50, i), captions.back()});
    }
    const auto shard = shard_task("s", samples);
    model_.save((folder_ / "model").string(), "{}");
    rows_ = embedding::encode_texts(model_, "cpu", captions, true).rows;
    const auto sample = at::tensor({0, 1, 2, 4, 5, 6}, at::kLong);  // sample 3 was bad
    const std::string features = out("f", ".features.safetensors");
    checkpoint::write_features(features, {"shared", sample, rows_.index_select(0, sample), {}, {}, {}});
    task_.stage = "index";
    task_.settings = jobs::settings_json(jobs::IndexSettings{.data = "train", .model = "train"});
    task_.output = (folder_ / "run" / "index").string();
    set_inputs(task_, {{*shard.shard, {}},
                       {{}, shard.inputs[0]},
                       {{}, input(jobs::Role::kModel, (folder_ / "model").string())},
                       {{}, input(jobs::Role::kFeatures, features)}});
  }

  nlohmann::json search(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"search", (folder_ / "run").string()});
    arguments.insert(arguments.end(), {"-o", "json"});
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    ::testing::internal::CaptureStdout();
    int code = 1;
    try {
      code = run_search(static_cast<int>(argv.size()), argv.data());
    } catch (...) {
      ::testing::internal::GetCapturedStdout();
      throw;
    }
    EXPECT_EQ(code, 0);
    return nlohmann::json::parse(::testing::internal::GetCapturedStdout());
  }

  models::DualEncoder model_;
  at::Tensor rows_;
  jobs::Task task_;
};

TEST_F(IndexTest, FolderRoundTripAndDamage) {
  const auto done = IndexStage().run(task_, context_);
  EXPECT_EQ(done.counts.at("items"), 6);
  const auto index = read_index(folder_ / "run");
  EXPECT_EQ(index.items[3].key, "k4");
  EXPECT_EQ(index.items[3].captions, std::vector<std::string>{"caption number 4"});
  EXPECT_EQ(index.image_ND.sizes(), (at::IntArrayRef{6, 16}));
  const auto manifest = io::read_file(folder_ / "run/index/manifest.json");
  IndexStage().run(task_, context_);
  EXPECT_EQ(io::read_file(folder_ / "run/index/manifest.json"), manifest);
  io::write_file_atomic(folder_ / "run/index/items.jsonl", "{}\n", false);
  EXPECT_THROW(read_index(folder_ / "run"), Error);
  EXPECT_THROW(read_index(folder_), Error);  // no index yet
  EXPECT_THROW(read_index(folder_ / "nowhere"), Error);
}

TEST_F(IndexTest, SearchNeedsNothingButTheIndexFolder) {
  IndexStage().run(task_, context_);
  std::filesystem::remove_all(folder_ / "model");
  const auto found = search({"caption number 4", "--k", "3"});
  ASSERT_EQ(found.at("hits").size(), 3u);
  EXPECT_EQ(found["hits"][0]["key"], "k4");
  EXPECT_NEAR(found["hits"][0]["score"].get<double>(), 1, 1e-4);
  const auto page = io::read_file(folder_ / "run" / "search.html");
  EXPECT_NE(page.find("data:image/jpeg;base64,/9j/"), std::string::npos);
  std::filesystem::remove(folder_ / "s.tar");  // pictures gone: ranks stand
  EXPECT_EQ(search({"caption number 4"}).at("hits")[0]["key"], "k4");
}

TEST_F(IndexTest, SignedSumOfUnitEmbeddings) {
  const auto picture = (folder_ / "query.jpg").string();
  io::write_file_atomic(picture, testing::test_jpeg(80, 80, 9), false);
  const std::vector<QueryPart> parts = {
      {false, 1, "caption number 1"}, {true, 1, picture}, {false, -1, "number 2"}};
  const auto both = embed_query(model_, parts);
  auto sum = at::zeros({1, 16});
  for (const auto& part : parts) sum += part.sign * embed_query(model_, {{part.image, 1, part.value}});
  EXPECT_TRUE(at::allclose(both, sum / sum.norm(), 1e-4, 1e-5));
  EXPECT_NEAR(both.norm().item<double>(), 1, 1e-5);
  EXPECT_THROW(embed_query(model_, {{false, 1, "same"}, {false, -1, "same"}}), Error);
}

TEST_F(IndexTest, UnreadablePicturesAreNamed) {
  IndexStage().run(task_, context_);
  const auto no_picture = (folder_ / "notes.txt").string();
  io::write_file_atomic(no_picture, "hello", false);
  for (const auto& path : {no_picture, (folder_ / "missing.jpg").string()}) {
    try {
      search({"--image", path});
      FAIL();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace trireme::worker::stages::index
