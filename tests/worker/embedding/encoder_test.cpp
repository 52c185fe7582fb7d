#include "worker/embedding/encoder.h"

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/checkpoint/features.h"
#include "worker/data/batches/image_batch.h"
#include "worker/embedding/kept_model.h"
#include "worker/embedding/texts.h"

namespace trireme::worker::embedding {
namespace {

using testing::test_jpeg;
using Positions = std::vector<data::SamplePosition>;

// Two shards; the second sample of the first is no picture, samples have one or two captions.
class EncoderTest : public testing::StageTest {
 protected:
  EncoderTest()
      : first_(open("a", {{"k0", test_jpeg(40, 40, 0), "a dog"},
                          {"k1", "no picture", "nothing"},
                          {"k2", test_jpeg(50, 40, 2), "a cat\nthe same cat"}})),
        second_(open("b", {{"k3", test_jpeg(40, 60, 3), "a boat at sea"}})),
        model_(testing::small_model(true), 0) {}

  data::ShardReader open(const std::string& name, const std::vector<testing::TestSample>& samples) {
    const auto task = shard_task(name, samples);
    return data::ShardReader(task.shard->path, task.inputs[0].path);
  }

  at::Tensor by_hand(const data::ShardReader& reader, std::int64_t sample) {
    const at::NoGradGuard no_gradients;
    return model_.encode_image(
        data::evaluation_batch(reader, {sample}, model_.image_preprocess()).image_BCHW);
  }

  // Rows of 32 for samples 0 and 2 of the first shard, as an embed task leaves them.
  std::string stored(const std::string& space, std::int64_t width = 32) {
    checkpoint::Features features;
    features.space = space;
    features.sample = at::tensor({0, 2}, at::kLong);
    features.image = at::sin(at::arange(2 * width, at::kFloat)).view({2, width});
    features.text = at::cos(at::arange(3 * width, at::kFloat)).view({3, width});
    features.text_owner = at::tensor({0, 1, 1}, at::kLong);
    const std::string path = out(space + std::to_string(width), ".features.safetensors");
    checkpoint::write_features(path, features);
    return path;
  }

  data::ShardReader first_, second_;
  models::DualEncoder model_;
};

TEST_F(EncoderTest, SamplesOfSeveralShardsInOrderWithoutThoseThatHaveNoPicture) {
  const Encoder encoder({{&first_}, {&second_}}, model_, {.project = true});
  const auto batch = encoder.encode({{1, 0}, {0, 1}, {0, 2}});
  EXPECT_EQ(batch.samples, (Positions{{1, 0}, {0, 2}}));
  EXPECT_EQ(batch.bad, (std::map<std::string, std::int64_t>{{"unknown_format", 1}}));
  EXPECT_EQ(batch.owner, (std::vector<std::int64_t>{0, 1, 1}));
  EXPECT_EQ(batch.labels, (std::vector<std::int64_t>{-1, -1}));
  EXPECT_TRUE(at::allclose(batch.image, at::cat({by_hand(second_, 0), by_hand(first_, 2)}), 1e-4, 1e-5));
  const auto texts = encode_texts(model_, "cpu", {"a boat at sea", "a cat", "the same cat"}, true);
  EXPECT_TRUE(at::allclose(batch.text, texts.rows, 1e-4, 1e-5));
  EXPECT_FALSE(batch.image.requires_grad());
  const auto none = encoder.encode({{0, 1}});
  EXPECT_EQ(none.image.sizes(), (at::IntArrayRef{0, 16}));
  EXPECT_EQ(none.text.sizes(), (at::IntArrayRef{0, 16}));
}

TEST_F(EncoderTest, StoredRowsStandForTheTowers) {
  const FeatureTable table({stored("tower"), stored("shared", 16)}, first_.size());
  EXPECT_EQ(table.image_width(), 32) << "rows of the shared space are no tower's";
  const Encoder encoder({{&first_, &table}}, model_,
                        {.stored_images = true, .stored_texts = true, .project = true});
  const auto batch = encoder.encode(of_one_shard({0, 1, 2}));
  EXPECT_EQ(batch.samples, (Positions{{0, 0}, {0, 2}}));
  EXPECT_EQ(batch.bad, (std::map<std::string, std::int64_t>{{"no_stored_feature", 1}}));
  EXPECT_EQ(batch.owner, (std::vector<std::int64_t>{0, 1, 1}));
  const at::Tensor rows = at::sin(at::arange(64, at::kFloat)).view({2, 32});
  EXPECT_TRUE(at::equal(batch.image, project_images(model_, "cpu", rows)));
  const at::Tensor texts = at::cos(at::arange(96, at::kFloat)).view({3, 32});
  EXPECT_TRUE(at::equal(batch.text, project_texts(model_, "cpu", texts)));
}

TEST_F(EncoderTest, KeptPicturesStandForTheShardsOwn) {
  const auto preprocess = model_.image_preprocess();
  const std::string path = out("kept", ".features.safetensors");
  write_pictures(path,
                 {decoded_pictures(first_, {0, 1}, preprocess), decoded_pictures(first_, {2}, preprocess)},
                 preprocess);
  const FeatureTable table({path}, first_.size());
  EXPECT_FALSE(table.has_images());
  const KeptPictures kept({stored("tower"), path}, preprocess);
  ASSERT_TRUE(kept.usable());
  const Encoder plain({{&first_, &table}}, model_, {.project = true}),
      saved({{&first_, &table, &kept}}, model_, {.project = true});
  const auto expected = plain.encode(of_one_shard({0, 1, 2})), found = saved.encode(of_one_shard({0, 1, 2}));
  EXPECT_TRUE(at::equal(found.image, expected.image));
  EXPECT_TRUE(at::equal(found.text, expected.text));
  EXPECT_EQ(found.samples, expected.samples);
  EXPECT_EQ(found.bad, expected.bad);
  // Where the pictures are read from: another shard's, under the same positions.
  EXPECT_TRUE(at::equal(Encoder({{&second_, &table, &kept}}, model_, {.text = false, .project = true})
                            .encode(of_one_shard({0}))
                            .image,
                        saved.encode(of_one_shard({0})).image));
  auto other = preprocess;
  other.crop_down = !other.crop_down;
  EXPECT_FALSE(KeptPictures({path}, other).usable());
  other = preprocess;
  other.pillow = !other.pillow;
  EXPECT_FALSE(KeptPictures({path}, other).usable());
  EXPECT_FALSE(KeptPictures({stored("tower")}, preprocess).usable());
  other = preprocess;
  other.mean[0] += 1;  // the same pictures, normalised otherwise
  EXPECT_TRUE(KeptPictures({path}, other).usable());
  EXPECT_TRUE(at::equal(KeptPictures({path}, other).batch({0, 2}).image_BCHW,
                        data::evaluation_batch(first_, {0, 2}, other).image_BCHW));
}

TEST_F(EncoderTest, StoredRowsOfAnotherWidthAreRefused) {
  const FeatureTable table({stored("tower", 24)}, first_.size());
  try {
    const Encoder encoder({{&first_, &table}}, model_, {.stored_images = true});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("stored image features are 24 wide"), std::string::npos);
  }
  EXPECT_NO_THROW(Encoder({{&first_, &table}}, model_, {})) << "the towers run: nobody reads them";
}

TEST_F(EncoderTest, ClassesAreMeansOfTheirPrompts) {
  const auto vectors = class_vectors(model_, "cpu", {"dog", "cat"}, {"a {c}", "the {c}"});
  const auto rows = encode_texts(model_, "cpu", {"a dog", "the dog", "a cat", "the cat"}, true).rows;
  const at::Tensor dog = rows.narrow(0, 0, 2).mean(0);
  EXPECT_TRUE(at::allclose(vectors[0], dog / dog.norm(), 1e-5, 1e-6));
  EXPECT_EQ(prompt_templates((folder_ / "a.tar").string()), std::vector<std::string>{"a photo of a {c}."});
}

TEST_F(EncoderTest, AModelIsKeptWhileTasksNameTheSame) {
  KeptModel kept;
  int loads = 0;
  const auto count = [&loads](models::DualEncoder&) { ++loads; };
  jobs::Task task;
  task.model = jobs::model_json(testing::small_model(true));
  const auto* const one = &kept.get(task, "cpu", count);
  EXPECT_EQ(&kept.get(task, "cpu", count), one);
  EXPECT_EQ(loads, 1);
  model_.save((folder_ / "model").string(), "{}");
  task.inputs = {input(jobs::Role::kModel, (folder_ / "model").string())};
  kept.get(task, "cpu", count);
  task.inputs[0].xxh3 = 7;  // the folder's files are others now
  kept.get(task, "cpu", count);
  EXPECT_EQ(loads, 3);
  const auto refuse = [](models::DualEncoder&) { throw Error(ErrorKind::kInvalid, "not this one"); };
  task.inputs[0].xxh3 = 8;
  EXPECT_THROW(kept.get(task, "cpu", refuse), Error);
  EXPECT_THROW(kept.get(task, "cpu", refuse), Error) << "what was refused is not kept";
}

}  // namespace
}  // namespace trireme::worker::embedding
