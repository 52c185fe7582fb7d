#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/http/token.h"
#include "coordinator/api/guard.h"
#include "coordinator/api/spec_roots.h"
#include "jobs/specification/spec_paths.h"

namespace trireme::coordinator::api {
namespace {

using http::read_or_make_token;
using http::same_token;

class Folder {
 public:
  Folder() : path(std::filesystem::temp_directory_path() / ("trireme-parts-" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  const io::Path path;
};

TEST(Target, DecodesTheQueryOnce) {
  const Target target = parse_target("/api/v1/jobs?state=A%2520&limit=+5&x&limit=9");
  EXPECT_TRUE(target.valid);
  EXPECT_EQ(target.query.at("state"), "A%20");
  EXPECT_EQ(target.query.at("limit"), " 5");
  EXPECT_EQ(target.query.at("x"), "");
  for (const char* bad : {"", "*", "http://h/", "/a?%", "/a?%4", "/a?%gg", "/a?%00"})
    EXPECT_FALSE(parse_target(bad).valid) << bad;
}

TEST(Match, JobIdsAreNarrow) {
  EXPECT_EQ(match_endpoint("GET", parse_target("/api/v1/jobs/a-B_9.x")).job_id, "a-B_9.x");
  EXPECT_EQ(match_endpoint("POST", parse_target("/api/v1/jobs/j:cancel")).endpoint->action, Action::kCancel);
  for (const char* bad : {"/api/v1/jobs/", "/api/v1/jobs/..", "/api/v1/jobs/a/b", "/api/v1/jobs/%2e%2e",
                          "/api/v1/jobs/a%00", "/api/v1/jobs/.hidden/spec", "/healthz/", "//healthz"})
    EXPECT_FALSE(match_endpoint("GET", parse_target(bad)).path_known) << bad;
}

TEST(Host, PortIsTakenOff) {
  EXPECT_EQ(host_without_port("LocalHost:8080"), "localhost");
  EXPECT_EQ(host_without_port("[::1]:80"), "[::1]");
  EXPECT_EQ(host_without_port("[::1]"), "[::1]");
}

TEST(Token, IsRandomKeptAndComparedWhole) {
  const Folder folder;
  const std::string one = read_or_make_token(folder.path / "a"), two = read_or_make_token(folder.path / "b");
  EXPECT_NE(one, two);
  EXPECT_EQ(read_or_make_token(folder.path / "a"), one);
  EXPECT_TRUE(same_token(one, one));
  EXPECT_FALSE(same_token(one.substr(0, 63), one));
  EXPECT_FALSE(same_token("", one));
  io::write_file_atomic(folder.path / "c", "short\n", false, 0600);
  EXPECT_THROW(read_or_make_token(folder.path / "c"), Error);
}

// F61.
TEST(Roots, NothingOutsideIsAccepted) {
  const Folder folder;
  const io::Path data = folder.path / "data", out = folder.path / "runs";
  std::filesystem::create_directories(data / "inner");
  std::filesystem::create_directories(folder.path / "data-too");
  std::filesystem::create_symlink("/etc", data / "link");
  std::filesystem::create_symlink(data / "inner", data / "fine");
  const auto accepted = [&](const std::string& path) {
    jobs::JobSpec job;
    job.spec.output = (out / "x").string();
    job.spec.data["train"].sources.resize(1);
    job.spec.data["train"].sources[0].path = path;
    const auto faults = paths_outside_roots(job, {data}, {out}, out / "service");
    if (!faults.empty()) {
      EXPECT_EQ(faults[0].pointer, "/spec/data/train/sources/0/path");
    }
    return faults.empty();
  };
  EXPECT_TRUE(accepted((data / "inner").string()));
  EXPECT_TRUE(accepted(data.string() + "/"));
  EXPECT_TRUE(accepted((data / "inner/../not-there.tar").string()));
  EXPECT_TRUE(accepted((data / "fine" / "a.tar").string()));
  for (const std::string& bad :
       {std::string("/etc/passwd"), std::string("/proc/self/mem"), (data / "..").string(),
        (data / "../../x").string(), (data / "link/passwd").string(), data.string() + "-too",
        data.string() + std::string("/a\0b", 4), data.string() + "/" + std::string(5000, 'a'),
        std::string("../x"), (out / "x").string()})
    EXPECT_FALSE(accepted(bad)) << bad;
}

TEST(Roots, OutputsHaveTheirOwn) {
  const Folder folder;
  jobs::JobSpec job;
  job.spec.output = (folder.path / "data" / "x").string();
  job.spec.store = "/var/store";
  job.spec.models["m"].image.weights = "pretrained:efficientnet-lite0";
  job.spec.models["m"].text.weights = "/root/.ssh/id";
  const auto faults =
      paths_outside_roots(job, {folder.path / "data"}, {folder.path / "runs"}, folder.path / "runs/service");
  ASSERT_EQ(faults.size(), 3U);
  EXPECT_EQ(faults[0].pointer, "/spec/output");
  EXPECT_EQ(faults[1].pointer, "/spec/store");
  EXPECT_EQ(faults[2].pointer, "/spec/models/m/text/weights");
  EXPECT_NE(faults[0].hint.find("--output-root"), std::string::npos);
}

// F61: the coordinator's own folder lies in an output root.
TEST(Roots, NobodyWritesIntoTheRunFolder) {
  const Folder folder;
  const io::Path runs = folder.path / "runs";
  std::filesystem::create_directories(runs / "service/ledger");
  std::filesystem::create_symlink(runs / "service", runs / "link");
  for (const char* inside : {"service", "service/ledger", "service/x", "link/x", "a/../service"}) {
    jobs::JobSpec job;
    job.spec.output = (runs / "fine").string();
    job.spec.store = (runs / inside).string();
    const auto faults = paths_outside_roots(job, {}, {runs}, runs / "service");
    ASSERT_EQ(faults.size(), 1U) << inside;
    EXPECT_EQ(faults[0].code, "run_folder");
  }
}

TEST(SpecPaths, BecomeAbsoluteFromAFolder) {
  jobs::JobSpec job;
  job.spec.output = "runs/x";
  job.spec.data["a/b"].sources.resize(2);
  job.spec.data["a/b"].sources[1].path = "../d.tar";
  job.spec.models["m"].text.tokenizer.vocabulary = "pretrained:minilm";
  jobs::make_paths_absolute(job, "/home/me");
  EXPECT_EQ(job.spec.output, "/home/me/runs/x");
  EXPECT_EQ(job.spec.store, "");
  EXPECT_EQ(job.spec.data["a/b"].sources[1].path, "/home/d.tar");
  EXPECT_EQ(jobs::spec_paths(job).back().pointer, "/spec/data/a~1b/sources/1/path");
  EXPECT_EQ(job.spec.models["m"].text.tokenizer.vocabulary, "pretrained:minilm");
}

}  // namespace
}  // namespace trireme::coordinator::api
