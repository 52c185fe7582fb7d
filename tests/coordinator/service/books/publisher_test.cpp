// What is written down when a stage is committed: what the ledger names, in order, and nothing of another
// input.
#include "coordinator/service/books/publisher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "coordinator/planner/listing.h"
#include "tests/coordinator/checkpoints/sample_checkpoint.h"

namespace trireme::coordinator::service {
namespace {

class PublisherTest : public testing::Test {
 protected:
  static io::Path empty_folder() {
    const io::Path place = checkpoints::quick_place("publisher");
    io::remove_tree(place);
    return place;
  }
  jobs::JobSpec tiny() const {
    return jobs::read_job(io::read_file(io::Path(TRIREME_SOURCE_DIR) / "jobs/examples/tiny.json"),
                          {"spec.output=" + (folder / "out").string()})
        .job;
  }

  const io::Path folder = empty_folder();
  ManualClock clock;
  telemetry::Metrics metrics{"", 0};
  EventQueue events;
  Background aside;
  ledger::Ledger ledger{{.folder = folder / "ledger", .incarnation = Incarnation{1}, .reserve_bytes = 4096},
                        clock};
  JobBook book{ledger, metrics, clock};
  Publisher publisher{ledger, aside, events};

  void TearDown() override {
    aside.finish();
    io::remove_tree(folder);
  }
};

TEST_F(PublisherTest, AStagesOutputsAreThoseOfItsCommittedTasks) {
  const jobs::JobSpec spec = tiny();
  Decision decision;
  Job& job = book.add(spec, "", 0, decision);
  planner::TaskGraph graph(spec, planner::list_job(spec), job.row.job);
  const auto ready = graph.start();
  ASSERT_GT(ready.size(), 2U);
  std::vector<std::pair<std::string, std::string>> stages;
  for (const auto& stage : graph.stages()) stages.emplace_back(stage.name, stage.kind);
  book.plan_fixed(job, stages, decision);
  const auto stage = ready[0].stage;
  std::uint64_t lease = 0;
  for (const std::size_t i :
       {std::size_t{1}, std::size_t{0}, std::size_t{2}}) {  // not in order, the last stale
    ledger::LeaseRow row;
    row.lease = LeaseId{++lease};
    row.job = job.row.job;
    row.stage = static_cast<std::int64_t>(stage);
    row.task = planner::key_of(ready[i]);
    row.address = i == 2 ? "of another input" : graph.address_of(ready[i]);
    row.state = ledger::LeaseState::kDone;
    row.result = R"({"reused":false,"outputs":[],"counts":{"in":)" + std::to_string(i) +
                 R"(},"summary":"","seconds":0})";
    decision.writes.emplace_back(row);
  }
  ledger.commit(decision.writes);

  publisher.expect(job.row.job, stage);
  std::optional<std::string> fault;
  publisher.write_stage(job, stage, graph, [&](const std::string& told, Decision&) { fault = told; });
  EXPECT_TRUE(publisher.writing());
  Decision next;
  for (auto& event : events.take(std::chrono::seconds(10))) event(next);
  EXPECT_EQ(fault, "");
  EXPECT_FALSE(publisher.writing());
  const std::string lines = io::read_file(folder / "out/stages" / stages[stage].first / "outputs.jsonl");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
  EXPECT_LT(lines.find("\"" + planner::key_of(ready[0]) + "\""),
            lines.find("\"" + planner::key_of(ready[1]) + "\""));

  // A folder that cannot be written is told, not thrown.
  io::write_file_atomic(folder / "file", "", false);
  job.spec.spec.output = (folder / "file").string();
  fault.reset();
  publisher.write_stage(job, stage, graph, [&](const std::string& told, Decision&) { fault = told; });
  for (auto& event : events.take(std::chrono::seconds(10))) event(next);
  EXPECT_NE(fault.value_or(""), "");
}

TEST_F(PublisherTest, TheReportOfAnEndedJobIsWritten) {
  Decision decision;
  jobs::JobSpec spec;
  spec.name = "named-so";
  spec.spec.output = (folder / "out").string();
  const Job& job = book.add(spec, "", 0, decision);
  ledger.commit(decision.writes);
  std::string fault = "not told";
  publisher.write_report(job, {}, [&](const std::string& told) { fault = told; });
  aside.finish();
  EXPECT_EQ(fault, "");
  EXPECT_NE(io::read_file(folder / "out/report.html").find("named-so"), std::string::npos);
}

TEST_F(PublisherTest, TheReportHasEachTaskOnceAndNothingOfInputsThatHaveChanged) {
  const jobs::JobSpec spec = tiny();
  Decision decision;
  const Job& job = book.add(spec, "", 0, decision);
  planner::TaskGraph graph(spec, planner::list_job(spec), job.row.job);
  const auto ready = graph.start();
  // Each left thumbnails with one picture of that caption.
  const auto done = [&](std::uint64_t id, const planner::TaskRef& ref, const std::string& address,
                        const char* caption) {
    const io::Path file = folder / (std::to_string(id) + ".jsonl");
    io::write_file_atomic(file, std::string(R"({"kept":true,"jpeg":"AAAA","caption":")") + caption + "\"}\n",
                          false);
    ledger::LeaseRow row;
    row.lease = LeaseId{id};
    row.job = job.row.job;
    row.task = planner::key_of(ref);
    row.address = address;
    row.state = ledger::LeaseState::kDone;
    row.result = R"({"reused":false,"outputs":[{"name":"thumbnails","path":")" + file.string() +
                 R"(","bytes":1,"xxh3":"0000000000000001"}],"counts":{},"summary":"","seconds":0})";
    decision.writes.emplace_back(row);
  };
  done(1, ready.at(0), graph.address_of(ready[0]), "as it was at first");
  done(2, ready.at(0), graph.address_of(ready[0]), "taken from the store again");
  done(3, ready.at(1), "of another input", "of an input that has changed");
  ledger.commit(decision.writes);
  publisher.remember_data(job.row.job, graph);
  std::string fault = "not told";
  publisher.write_report(job, {{.name = "filter", .kind = "filter", .state = "done"}},
                         [&](const std::string& told) { fault = told; });
  aside.finish();
  EXPECT_EQ(fault, "");
  const std::string report = io::read_file(folder / "out/report.html");
  EXPECT_NE(report.find("taken from the store again"), std::string::npos);
  EXPECT_EQ(report.find("as it was at first"), std::string::npos);
  EXPECT_EQ(report.find("of an input that has changed"), std::string::npos);
}

}  // namespace
}  // namespace trireme::coordinator::service
