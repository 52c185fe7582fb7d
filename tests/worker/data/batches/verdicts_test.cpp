#include "worker/data/batches/verdicts.h"

#include <unistd.h>

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace trireme::worker::data {
namespace {

const std::string kHeader = R"({"format":"trireme-verdicts","version":1,"first":4,"count":3})";
const std::string kRows[] = {R"({"sample":4,"key":"a","kept":true})",
                             R"({"sample":5,"key":"b","kept":false,"rules":["aspect"]})",
                             R"({"sample":6,"key":"c","kept":true})"};

KeptSamples read(const std::string& text) {
  const auto path =
      std::filesystem::temp_directory_path() / ("trireme-verdicts-" + std::to_string(::getpid()));
  io::write_file_atomic(path, text, false);
  try {
    auto out = read_verdicts(path);
    std::filesystem::remove(path);
    return out;
  } catch (...) {
    std::filesystem::remove(path);
    throw;
  }
}

TEST(Verdicts, KeptPositionsOfTheRange) {
  const auto verdicts = read(kHeader + "\n" + kRows[0] + "\n" + kRows[1] + "\n" + kRows[2] + "\n");
  EXPECT_EQ(verdicts.first, 4);
  EXPECT_EQ(verdicts.count, 3);
  EXPECT_EQ(verdicts.kept, (std::vector<std::int32_t>{4, 6}));
}

TEST(Verdicts, DamageIsNamed) {
  const std::string faulty[] = {"",
                                "{}\n",
                                "nonsense",
                                kHeader + "\n" + kRows[0] + "\n",
                                kHeader + "\n" + kRows[1] + "\n" + kRows[0] + "\n" + kRows[2] + "\n",
                                kHeader + "\n" + kRows[0] + "\n" + kRows[1].substr(0, 20)};
  for (const auto& text : faulty) {
    try {
      read(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kDamaged) << text;
    }
  }
}

}  // namespace
}  // namespace trireme::worker::data
