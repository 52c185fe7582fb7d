#include "jobs/store/safetensors_header.h"

#include <gtest/gtest.h>

#include <chrono>

#include "common/base/error.h"

namespace trireme::store {
namespace {

TEST(SafetensorsHeader, ComesBackAsItWasMade) {
  std::vector<TensorEntry> entries{{"b", Dtype::kBF16, {2, 3}, 0, 0}, {"a", Dtype::kI64, {}, 0, 0}};
  const std::string text = make_safetensors_header(entries, {{"format", "pt"}});
  const auto header = read_safetensors_header(text + std::string(20, '\0'), "file");
  EXPECT_EQ(header.data_begin % 8, 0U);
  EXPECT_EQ(header.metadata.at("format"), "pt");
  ASSERT_NE(header.find("b"), nullptr);
  EXPECT_EQ(header.find("b")->shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(header.find("b")->end, 12U);
  EXPECT_EQ(header.find("a")->dtype, Dtype::kI64);
  EXPECT_EQ(header.find("a")->begin, 12U);
  EXPECT_EQ(header.find("c"), nullptr);
  entries.push_back(entries[0]);
  EXPECT_THROW(make_safetensors_header(entries, {}), Error);
}

// Quadratic, 40,000 tensors took 18 s.
TEST(SafetensorsHeader, ManyTensorsTakeLinearTime) {
  std::vector<TensorEntry> entries;
  for (int i = 0; i < 60000; ++i) entries.push_back({"layer." + std::to_string(i), Dtype::kF32, {1}, 0, 0});
  const std::string file = make_safetensors_header(entries, {}) + std::string(60000 * 4, '\0');
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(read_safetensors_header(file, "many").entries.size(), 60000U);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(8));
}

TEST(SafetensorsHeader, ShapesThatTorchCannotHoldAreDamage) {
  for (const char* shape : {"[0, 281474976710656, 281474976710656]", "[281474976710656, 0, 65536]"}) {
    const std::string text =
        std::string(R"({"a": {"dtype": "F32", "shape": )") + shape + R"(, "data_offsets": [0, 0]}})";
    std::string file(8, '\0');
    file[0] = static_cast<char>(text.size());
    EXPECT_THROW(read_safetensors_header(file + text, "shape"), Error) << shape;
  }
}

TEST(SafetensorsHeader, AnotherFileUnderTheNameIsNamed) {
  for (const auto& [file, word] : std::vector<std::pair<std::string, std::string>>{
           {"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"},
           {"<!doctype html><html>404</html>", "web page"},
           {"\x89HDF\r\n\x1a\n--", "HDF5"},
           {"{\"model_type\": \"clip\"}", "config"}})
    try {
      read_safetensors_header(file, "model.safetensors");
      ADD_FAILURE() << file;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
}

}  // namespace
}  // namespace trireme::store
