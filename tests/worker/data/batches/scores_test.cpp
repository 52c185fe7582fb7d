#include "worker/data/batches/scores.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <unistd.h>

#include "common/base/error.h"

namespace trireme::worker::data {
namespace {

TEST(Scores, ReadAsWritten) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("trireme-scores-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const auto path = score_path(folder.string(), "clip", "/data/00001.tar");
  EXPECT_EQ(path, folder / "00001.clip.scores.jsonl");
  EXPECT_EQ(score_path(".", "clip", "/data/00001.tar"), "/data/00001.clip.scores.jsonl");
  const std::vector<std::pair<std::string, double>> given = {
      {"a", 1.0 / 3}, {"b \"quoted\"", -0.1}, {"\xC3\xA9", 1e-300}, {"d", 0}};
  io::write_file_atomic(path, scores_file("clip", "abc", given), false);
  const auto scores = read_scores(path, "clip", "abc");
  ASSERT_EQ(scores.size(), given.size());
  for (const auto& [key, score] : given) EXPECT_EQ(scores.at(key), score) << key;
  EXPECT_THROW(read_scores(path, "clip", "abd"), Error);
  EXPECT_THROW(read_scores(path, "unsafe", "abc"), Error);
  EXPECT_THROW(read_scores(folder / "none", "clip", "abc"), Error);
  io::write_file_atomic(path, scores_file("clip", "abc", given) + "{\"key\":\"e\",\"score\":\"high\"}\n",
                        false);
  try {
    read_scores(path, "clip", "abc");
    ADD_FAILURE() << "a score that is no number is read";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("00001.clip.scores.jsonl:6"), std::string::npos) << error.what();
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace trireme::worker::data
