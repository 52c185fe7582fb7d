#include "worker/checkpoint/concept_labels.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "common/base/error.h"

namespace trireme::worker::checkpoint {
namespace {

class ConceptLabelsTest : public ::testing::Test {
 protected:
  io::Path path_ = io::Path(::testing::TempDir()) /
                   (std::string("labels-") + ::testing::UnitTest::GetInstance()->current_test_info()->name());

  static ConceptLabels labels() {
    ConceptLabels made;
    made.shard = std::string(64, 'a');
    made.teacher = "00ff";
    made.first = 256;
    made.count = 16;
    made.sample = at::tensor({256, 258, 271}, at::kLong);
    made.key = at::tensor({key_hash("256"), key_hash("258"), key_hash("271")}, at::kLong);
    made.bad = at::tensor({257}, at::kLong);
    made.lists = {{"objects", vocabulary_hash({"dog", "cat", "bird"}), 3,
                   at::tensor({0, 2, 1, 0, 2, 1}, at::kInt).view({3, 2}),
                   at::tensor({0.75, 0.25, 0.5, 0.5, 1.0, 0.0}, at::kFloat).view({3, 2}),
                   at::tensor({0.9, 0.8, 1.0}, at::kFloat)}};
    return made;
  }

  std::string refusal(const ConceptLabels& damaged) {
    write_concept_labels(path_, damaged);
    try {
      read_concept_labels(path_);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kDamaged);
      return error.what();
    }
    return "";
  }
};

TEST_F(ConceptLabelsTest, WrittenAndRead) {
  write_concept_labels(path_, labels());
  const auto read = read_concept_labels(path_);
  EXPECT_EQ(read.shard, labels().shard);
  EXPECT_EQ(read.teacher, "00ff");
  EXPECT_EQ(read.first, 256);
  EXPECT_EQ(read.count, 16);
  EXPECT_TRUE(at::equal(read.sample, labels().sample));
  EXPECT_TRUE(at::equal(read.key, labels().key));
  EXPECT_TRUE(at::equal(read.bad, labels().bad));
  ASSERT_EQ(read.lists.size(), 1U);
  EXPECT_EQ(read.lists[0].vocabulary, vocabulary_hash({"dog", "cat", "bird"}));
  EXPECT_EQ(read.lists[0].size, 3);
  EXPECT_TRUE(at::equal(read.lists[0].index_Nk, labels().lists[0].index_Nk));
  EXPECT_TRUE(at::equal(read.lists[0].weight_Nk, labels().lists[0].weight_Nk));
  EXPECT_TRUE(at::equal(read.lists[0].mass_N, labels().lists[0].mass_N));
  const auto bytes = io::read_file(path_);
  write_concept_labels(path_, read);
  EXPECT_EQ(io::read_file(path_), bytes);
}

TEST_F(ConceptLabelsTest, ARangeWithoutSamples) {
  auto empty = labels();
  empty.sample = empty.key = at::empty({0}, at::kLong);
  auto& list = empty.lists[0];
  list.index_Nk = at::empty({0, 2}, at::kInt);
  list.weight_Nk = at::empty({0, 2}, at::kFloat);
  list.mass_N = at::empty({0}, at::kFloat);
  write_concept_labels(path_, empty);
  EXPECT_EQ(read_concept_labels(path_).sample.size(0), 0);
}

TEST_F(ConceptLabelsTest, DamageIsRefused) {
  auto one = labels();
  one.lists[0].size = 2;
  EXPECT_NE(refusal(one).find("outside the vocabulary of 2"), std::string::npos);
  one = labels();
  one.sample = at::tensor({256, 258, 272}, at::kLong);
  EXPECT_NE(refusal(one).find("do not fit the range"), std::string::npos);
  one = labels();
  one.key = at::tensor({1}, at::kLong);
  EXPECT_NE(refusal(one).find("do not fit the range"), std::string::npos);
  one = labels();
  one.lists[0].weight_Nk = one.lists[0].weight_Nk * 2;
  EXPECT_NE(refusal(one).find("sum to 1"), std::string::npos);
  one = labels();
  one.lists[0].mass_N = at::zeros({2}, at::kFloat);
  EXPECT_NE(refusal(one).find("fit one another"), std::string::npos);
  write_concept_labels(path_, labels());
  auto bytes = io::read_file(path_);
  const auto at = bytes.find("\"version\":\"1\"");
  ASSERT_NE(at, std::string::npos);
  bytes[at + 11] = '2';
  io::write_file_atomic(path_, bytes);
  EXPECT_THROW(read_concept_labels(path_), Error);
}

TEST(VocabularyHash, OrderAndBoundariesCount) {
  EXPECT_EQ(vocabulary_hash({"dog", "cat"}), vocabulary_hash({"dog", "cat"}));
  EXPECT_NE(vocabulary_hash({"dog", "cat"}), vocabulary_hash({"cat", "dog"}));
  EXPECT_NE(vocabulary_hash({"dog", "cat"}), vocabulary_hash({"dogc", "at"}));
}

}  // namespace
}  // namespace trireme::worker::checkpoint
