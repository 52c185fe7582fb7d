#include "worker/checkpoint/features.h"

#include <unistd.h>

#include <filesystem>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "worker/checkpoint/safetensors.h"

namespace trireme::worker::checkpoint {
namespace {

class FeaturesFile : public ::testing::Test {
 protected:
  ~FeaturesFile() override { std::filesystem::remove(path_); }
  io::Path path_ = std::filesystem::temp_directory_path() /
                   ("trireme-features-" + std::to_string(::getpid()) + ".safetensors");
  Features made_{"tower",          at::tensor({3, 5}, at::kLong),    at::rand({2, 4}),
                 at::rand({3, 6}), at::tensor({0, 0, 1}, at::kLong), at::Tensor()};
};

TEST_F(FeaturesFile, RoundTrip) {
  write_features(path_, made_);
  const Features read = read_features(path_);
  EXPECT_EQ(read.space, "tower");
  EXPECT_TRUE(at::equal(read.sample, made_.sample));
  EXPECT_TRUE(at::equal(read.image, made_.image));
  EXPECT_TRUE(at::equal(read.text, made_.text));
  EXPECT_TRUE(at::equal(read.text_owner, made_.text_owner));
  EXPECT_FALSE(read.label.defined());
}

TEST_F(FeaturesFile, EmptyRangeAndOneTower) {
  write_features(path_,
                 {"shared", at::empty({0}, at::kLong), at::empty({0, 4}), {}, {}, at::empty({0}, at::kLong)});
  const Features read = read_features(path_);
  EXPECT_EQ(read.image.sizes(), (at::IntArrayRef{0, 4}));
  EXPECT_FALSE(read.text.defined());
}

TEST_F(FeaturesFile, DamageIsNamed) {
  auto broken = made_;
  broken.text_owner = at::tensor({0, 0, 2}, at::kLong);
  write_features(path_, broken);
  EXPECT_THROW(read_features(path_), Error);
  write_safetensors(path_, {{"sample", at::empty({0}, at::kLong)}});
  EXPECT_THROW(read_features(path_), Error);
}

TEST(Features, ConcatenateShiftsOwners) {
  const Features a{"shared",         at::tensor({0, 1}, at::kLong), at::ones({2, 2}),
                   at::ones({1, 2}), at::tensor({1}, at::kLong),    {}};
  const Features b{"shared",          at::tensor({7}, at::kLong),    at::zeros({1, 2}),
                   at::zeros({2, 2}), at::tensor({0, 0}, at::kLong), {}};
  const Features both = concatenate({a, b});
  EXPECT_TRUE(at::equal(both.text_owner, at::tensor({1, 2, 2}, at::kLong)));
  EXPECT_EQ(both.image.size(0), 3);
  auto other = b;
  other.text = other.text_owner = at::Tensor();
  EXPECT_THROW(concatenate({a, other}), Error);
  other = b;
  other.space = "tower";
  EXPECT_THROW(concatenate({a, other}), Error);
}

}  // namespace
}  // namespace trireme::worker::checkpoint
