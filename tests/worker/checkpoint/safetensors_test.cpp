#include "worker/checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>

#include "common/base/error.h"

namespace trireme::worker::checkpoint {
namespace {

std::filesystem::path scratch(const std::string& name) {
  const auto folder = std::filesystem::temp_directory_path() / "trireme_safetensors_test";
  std::filesystem::create_directories(folder);
  return folder / name;
}

std::string with_length(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

TEST(Safetensors, RoundTripOfEveryDtype) {
  const std::vector<std::pair<std::string, at::Tensor>> tensors{
      {"z", at::arange(6, at::kFloat).view({2, 3})},
      {"f64", at::arange(3, at::kDouble)},
      {"flag", at::tensor({1, 0, 1}, at::kInt).to(at::kBool)},  // odd size: what follows is misaligned
      {"f16", at::arange(3, at::kHalf)},
      {"bf16", at::arange(3, at::kBFloat16)},
      {"i64", at::arange(3, at::kLong)},
      {"i32", at::arange(3, at::kInt)},
      {"u8", at::arange(5, at::kByte)},
      {"scalar", at::scalar_tensor(2.5, at::kFloat)},
      {"empty", at::empty({0, 4}, at::kFloat)},
      {"strided", at::arange(6, at::kFloat).view({2, 3}).t()}};
  write_safetensors(scratch("all"), tensors, {{"who", "me"}});
  const SafetensorsFile file(scratch("all"));
  EXPECT_EQ(file.metadata().at("who"), "me");
  for (const auto& [name, tensor] : tensors) {
    ASSERT_TRUE(file.contains(name));
    for (const at::Tensor& read : {file.load(name), file.view(name)}) {
      EXPECT_EQ(read.scalar_type(), tensor.scalar_type()) << name;
      EXPECT_TRUE(at::equal(read, tensor)) << name;
    }
  }
  EXPECT_EQ(file.names().front(), "z");
  at::Tensor kept;
  {
    const SafetensorsFile other(scratch("all"));
    kept = other.load("z");
  }
  kept.add_(1);  // a copy of its own
  EXPECT_EQ(kept[0][1].item<float>(), 2);
}

TEST(Safetensors, SameTensorsSameBytes) {
  const std::vector<std::pair<std::string, at::Tensor>> tensors{{"b", at::ones({3})}, {"a", at::zeros({2})}};
  write_safetensors(scratch("one"), tensors, {{"k", "v"}, {"a", "b"}});
  write_safetensors(scratch("two"), tensors, {{"a", "b"}, {"k", "v"}}, false);
  EXPECT_EQ(io::read_file(scratch("one")), io::read_file(scratch("two")));
  EXPECT_THROW(write_safetensors(scratch("twice"), {{"a", at::ones({1})}, {"a", at::ones({1})}}), Error);
  EXPECT_THROW(write_safetensors(scratch("complex"), {{"a", at::ones({1}, at::kComplexFloat)}}), Error);
  EXPECT_FALSE(std::filesystem::exists(scratch("twice")));
}

TEST(Safetensors, NearestNameIsOffered) {
  write_safetensors(scratch("near"), {{"visual.conv1.weight", at::ones({1})}});
  try {
    SafetensorsFile(scratch("near")).load("visual.conv1.weigth");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
    EXPECT_NE(std::string(error.what()).find("visual.conv1.weight"), std::string::npos);
  }
}

struct Damage {
  const char* what;
  std::string bytes;
  ErrorKind kind = ErrorKind::kDamaged;
};

std::vector<Damage> damages() {
  const std::string data(8, 'x');
  const auto one = [&](const std::string& fields) { return with_length("{\"a\":{" + fields + "}}", data); };
  const std::string good = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  return {
      {"empty file", ""},
      {"seven bytes", "1234567"},
      {"length without header", std::string("\x10\0\0\0\0\0\0\0", 8)},
      {"oversized header", std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10)},
      {"length of -1", std::string(8, '\xff') + "{}"},
      {"length of a NaN", std::string("\0\0\0\0\0\0\xf8\x7f{}", 10)},
      {"no brace", with_length("[]", "")},
      {"leading blank", with_length(" {}", "")},
      {"not JSON", with_length("{\"a\":", "")},
      {"NaN", one(R"("dtype":"F32","shape":[NaN],"data_offsets":[0,8])")},
      {"not UTF-8", with_length("{\"\xff\":{}}", "")},
      {"deep", with_length("{\"a\":" + std::string(200, '[') + std::string(200, ']') + "}", "")},
      {"duplicate tensor", with_length("{\"a\":{" + good + "},\"a\":{" + good + "}}", data)},
      {"duplicate field", one(good + R"(,"dtype":"F32")")},
      {"surplus field", one(good + R"(,"more":1)")},
      {"missing field", one(R"("dtype":"F32","shape":[2])")},
      {"unknown dtype", one(R"("dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8])"), ErrorKind::kInvalid},
      {"dtype is a number", one(R"("dtype":7,"shape":[2],"data_offsets":[0,8])")},
      {"wrong dtype", one(R"("dtype":"F64","shape":[2],"data_offsets":[0,8])")},
      {"negative shape", one(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])")},
      {"fractional shape", one(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])")},
      {"overflowing shape", one(R"("dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8])")},
      {"overflow to zero", one(R"("dtype":"F32","shape":[281474976710656,65536],"data_offsets":[0,0])")},
      {"offsets reversed", one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])")},
      {"three offsets", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])")},
      {"truncated", with_length("{\"a\":{" + good + "}}", "xxx")},
      {"surplus data", with_length("{\"a\":{" + good + "}}", data + "y")},
      {"hole", with_length(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                           R"("b":{"dtype":"U8","shape":[2],"data_offsets":[6,8]}})",
                           data)},
      {"overlap", with_length(R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},)"
                              R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                              data)},
      {"torch.save, a zip", std::string("PK\x03\x04\0\0\x08\x08", 8) + data, ErrorKind::kInvalid},
      {"torch.save, legacy",
       "\x80\x02\x8a\x0al\xfc\x9c"
       "F" +
           data,
       ErrorKind::kInvalid},
      {"metadata is a list", with_length(R"({"__metadata__":[]})", "")},
      {"metadata of numbers", with_length(R"({"__metadata__":{"a":1}})", "")},
  };
}

TEST(Safetensors, DamagedFilesAreRefusedByName) {
  for (const Damage& damage : damages()) {
    const auto path = scratch("damaged");
    std::ofstream(path, std::ios::binary | std::ios::trunc) << damage.bytes;
    try {
      SafetensorsFile file(path);
      ADD_FAILURE() << damage.what << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), damage.kind) << damage.what;
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(SafetensorsFile(scratch("not there")), Error);
}

// Cutting or flipping any byte of the header never crashes, and never gives out data beyond the file.
TEST(Safetensors, EveryTruncationIsRefused) {
  write_safetensors(scratch("whole"), {{"a", at::ones({4})}, {"b", at::ones({2, 2}, at::kLong)}});
  const std::string bytes = io::read_file(scratch("whole"));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    std::ofstream(scratch("cut"), std::ios::binary | std::ios::trunc) << bytes.substr(0, length);
    EXPECT_THROW(SafetensorsFile(scratch("cut")), Error) << length;
  }
  for (std::size_t at = 0; at < bytes.size() - 48; ++at) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x15);
    std::ofstream(scratch("flipped"), std::ios::binary | std::ios::trunc) << flipped;
    try {
      const SafetensorsFile file(scratch("flipped"));
      for (const std::string& name : file.names()) file.load(name);
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace trireme::worker::checkpoint
