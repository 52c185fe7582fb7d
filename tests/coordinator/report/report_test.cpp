#include "coordinator/report/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "coordinator/report/dot_chart.h"
#include "coordinator/report/html.h"
#include "coordinator/report/svg_chart.h"

namespace trireme::coordinator::report {
namespace {

class ReportTest : public testing::Test {
 protected:
  io::Path folder = std::filesystem::temp_directory_path() / ("trireme-report-" + std::to_string(::getpid()));
  void TearDown() override { std::filesystem::remove_all(folder); }
  static std::size_t count(const std::string& text, const std::string& what) {
    std::size_t found = 0;
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
    return found;
  }
};

TEST_F(ReportTest, ShowsFunnelCurvesEvaluationAndPictures) {
  std::string log;
  for (int step = 1; step <= 2000; ++step)
    log += "{\"step\":" + std::to_string(step) + ",\"loss\":" + std::to_string(5.0 / step) +
           ",\"learning_rate\":0.001,\"logit_scale\":2.6}\n";
  io::write_file_atomic(folder / "stages/train/log.jsonl",
                        log + "{\"step\":20");  // a row cut short by a crash
  io::write_file_atomic(folder / "stages/evaluate/evaluation.json",
                        R"({"dataset":"test","metrics":{"image_retrieval_recall@1":0.3125,"acc5":null}})");
  io::write_file_atomic(
      folder / "t.jsonl",
      "{\"kept\":true,\"key\":\"1\",\"caption\":\"<script>alert(1)</script>\",\"jpeg\":\"AAAA\"}\n"
      "{\"kept\":false,\"rule\":\"short_side\",\"key\":\"2\",\"caption\":\"tiny\",\"jpeg\":\"BBBB\"}\n"
      "{\"kept\":true,\"jpeg\":\"'onerror=alert(1)\"}\n");
  ReportInput input;
  input.job_id = "j1";
  input.name = "a & b";
  input.state = "SUCCEEDED";
  input.spec_json = "{\n  \"x\": 1\n}";
  input.output = folder;
  ReportStage filter;
  filter.name = filter.kind = "filter";
  filter.state = "done";
  filter.tasks_known = filter.tasks_done = 2;
  filter.counts = {{"in", 1000}, {"kept", 600}, {"dropped", 400}, {"dropped.short_side", 400}};
  filter.thumbnail_files = {(folder / "t.jsonl").string(), (folder / "missing").string()};
  std::string facts = "{\"format\":\"trireme-facts\",\"version\":2}\n";
  for (int i = 0; i < 100; ++i)
    facts += "{\"sample\":0,\"columns\":{\"clip <b>\":" + std::to_string(0.01 * i) +
             ",\"constant\":1,\"text\":\"x\"}}\n";
  io::write_file_atomic(folder / "f.jsonl", facts + "{\"columns\":");
  ReportStage counted;
  counted.name = counted.kind = "vocabulary";
  counted.counts = {{"in", 1000}};
  filter.facts_files = {(folder / "f.jsonl").string(), (folder / "missing").string()};
  ReportStage train, evaluate;
  train.name = train.kind = "train";
  evaluate.name = evaluate.kind = "evaluate";
  input.stages = {filter, counted, train, evaluate};
  input.timeline = {{"filter", 1, 0, 2}, {"filter", 2, 0, 3}, {"train", 1, 3, 9}};
  const std::string html = render_report(input);
  EXPECT_NE(html.find("a &amp; b"), std::string::npos);
  EXPECT_NE(html.find("dropped.short_side"), std::string::npos);
  EXPECT_NE(html.find("0.3125"), std::string::npos);
  EXPECT_NE(html.find("Dropped by short_side"), std::string::npos);
  EXPECT_EQ(html.find("Temperature"), std::string::npos) << "it did not change";
  EXPECT_EQ(count(html, "class='funnel'"), 1U) << "stages that lose nothing have no bars";
  EXPECT_NE(html.find("<td>1,000</td>"), std::string::npos) << "samples in, of the filter";
  EXPECT_NE(html.find("Columns: filter"), std::string::npos);
  EXPECT_NE(html.find("clip &lt;b&gt;, 100 samples"), std::string::npos);
  EXPECT_EQ(html.find("constant"), std::string::npos);  // one value needs no histogram
  EXPECT_EQ(count(html, "<img "), 2U);                  // the line that is not base64 is passed over
  EXPECT_EQ(count(html, "<script"), 0U);                // data cannot inject markup
  EXPECT_EQ(count(html, "<rect "), 3U);
  EXPECT_GE(count(html, "<svg"), 4U);
  EXPECT_EQ(count(html, "http://"), 0U);  // self-contained
  EXPECT_LT(html.size(), 200000U);        // 2000 points are thinned
}

TEST_F(ReportTest, ShowsCaptionsOfAllFiles) {
  ReportInput input;
  ReportStage stage;
  stage.name = stage.kind = "caption";
  stage.counts = {{"captions", 1000}, {"repeated", 990}};
  for (int file = 0; file < 3; ++file) {
    std::string text = "{\"format\":\"trireme-captions\",\"version\":1}\n";
    for (int i = 0; i < 100; ++i)
      text += "{\"key\":\"k\",\"caption\":\"<i>file " + std::to_string(file) + " line " + std::to_string(i) +
              "\",\"log_probability\":-1.5}\n";
    stage.caption_files.push_back((folder / ("c" + std::to_string(file))).string());
    io::write_file_atomic(stage.caption_files.back(), text + "{\"caption\":");
  }
  stage.caption_files.push_back((folder / "missing").string());
  input.stages = {stage};
  const std::string html = render_report(input);
  EXPECT_NE(html.find("Captions: caption"), std::string::npos);
  EXPECT_NE(html.find("<td class='words'>&lt;i&gt;file 0"), std::string::npos) << "words stand left";
  EXPECT_NE(html.find("990"), std::string::npos);
  EXPECT_EQ(count(html, "&lt;i&gt;file "), 18U);  // of four files the fourth is absent
  for (int file = 0; file < 3; ++file) {
    EXPECT_NE(html.find("file " + std::to_string(file) + " line 5<"), std::string::npos);
    EXPECT_EQ(html.find("file " + std::to_string(file) + " line 6<"), std::string::npos);
  }
}

// METHODS has the arms of a job beside one another; a reader must not subtract in his head.
TEST_F(ReportTest, ArmsStandSideBySideWithTheBestMarked) {
  const auto write = [&](const std::string& stage, const std::string& text) {
    io::write_file_atomic(folder / "stages" / stage / "evaluation.json", text);
  };
  write("all",
        R"({"task":"zeroshot_retrieval","dataset":"test","metrics":{"mean_recall@1":0.25,"token_loss":3},)"
        R"("chance":{"mean_recall@1":0.01}})");
  write(
      "kept",
      R"({"task":"zeroshot_retrieval","dataset":"test","metrics":{"mean_recall@1":0.375,"token_loss":3.5}})");
  write("other", R"({"task":"captioning","dataset":"test","metrics":{"CIDEr":0.5}})");
  ReportInput input;
  input.output = folder;
  input.spec_json = R"({"spec":{"stages":[{"name":"rules","columns":[{"name":"clip","least":0.3}]}]}})";
  for (const char* name : {"rules", "all", "kept", "other"}) {
    ReportStage stage;
    stage.name = name;
    input.stages.push_back(stage);
  }
  input.stages[0].counts = {{"in", 1000}, {"kept", 640}};
  std::string facts;
  for (int i = 0; i <= 100; ++i) facts += "{\"columns\":{\"clip\":" + std::to_string(0.01 * i) + "}}\n";
  io::write_file_atomic(folder / "f.jsonl", facts);
  input.stages[0].facts_files = {(folder / "f.jsonl").string()};
  const std::string html = render_report(input);
  EXPECT_NE(html.find("<th>metric</th><th>all</th><th>kept</th><th>chance</th>"), std::string::npos);
  EXPECT_NE(html.find("<td class='best'>0.375 <small class='quiet'>+0.125</small></td>"), std::string::npos);
  EXPECT_NE(html.find("<td class='best'>3</td>"), std::string::npos) << "the lower loss is the better one";
  EXPECT_EQ(count(html, "class='best'"), 2U) << "nothing is best alone";
  EXPECT_NE(
      html.find("<b>64 %</b> of 1,000 samples kept by rules · mean_recall@1 on test: <b>0.375</b> by kept "
                "(+0.125 to all) · CIDEr on test: <b>0.5</b>"),
      std::string::npos);
  EXPECT_EQ(count(html, "class='cut'"), 1U);
  EXPECT_NE(html.find("cut at 0.3<"), std::string::npos);
}

TEST_F(ReportTest, DrawsTheFewShotCurves) {
  io::write_file_atomic(
      folder / "stages/few/evaluation.json",
      R"({"task":"few_shot","dataset":"test","metrics":{"zero_shot_acc1":0.4,"probe_acc1@1":0.2,)"
      R"("prompt_ball_acc1@1":0.45,"probe_acc1@16":0.6,"prompt_ball_acc1@16":0.61}})");
  ReportInput input;
  input.output = folder;
  ReportStage few;
  few.name = "few";
  few.kind = "evaluate";
  input.stages = {few};
  const std::string html = render_report(input);
  EXPECT_NE(html.find("Few-shot: few"), std::string::npos);
  EXPECT_EQ(count(html, "<polyline") + count(html, "<path"), 3U);  // probe, prompt_ball, zero-shot
}

TEST_F(ReportTest, DrawsGatesTemperatureAndHistograms) {
  std::string log;
  for (int step = 1; step <= 20; ++step)
    log += "{\"step\":" + std::to_string(step) +
           ",\"loss\":1,\"logit_scale\":" + std::to_string(2.6 + 0.01 * step) +
           ",\"gates\":{\"h_image_text\":0.5,\"mean_sample\":0.9}}\n";
  io::write_file_atomic(folder / "stages/train/log.jsonl", log);
  io::write_file_atomic(
      folder / "stages/train/signals.json",
      R"({"format":"trireme-signals","gated":true,"histograms":[)"
      R"({"name":"weight.sample","low":0,"high":1,"auc":0.9375,"all":[4,0,0,4],"clean":[0,0,0,4],"corrupted":[4,0,0,0]},)"
      R"({"name":"similarity.text","low":-1,"high":1,"auc":null,"all":[1,2,3,4]},)"
      R"({"name":"torn","low":0,"high":1,"clean":[1,2],"corrupted":[1]},{"name":"<b>"},7]})");
  ReportInput input;
  input.output = folder;
  ReportStage train;
  train.name = train.kind = "train";
  input.stages = {train};
  const std::string html = render_report(input);
  for (const char* what :
       {"weight.sample, AUC 0.9375", "clean (4)", "corrupted (4)", "similarity.text", "all (10)",
        "Temperature", "mean weights of the gates", "running mean similarities"})
    EXPECT_NE(html.find(what), std::string::npos) << what;
  EXPECT_EQ(html.find("torn"), std::string::npos);
  EXPECT_EQ(html.find("nan"), std::string::npos);
}

TEST_F(ReportTest, ARunningJobWithNothingYetStillRenders) {
  ReportInput running;
  running.state = "RUNNING";
  running.output = folder;
  const std::string html = render_report(running);
  EXPECT_NE(html.find("RUNNING"), std::string::npos);
}

TEST(Chart, SurvivesEmptyConstantAndNonFiniteSeries) {
  EXPECT_EQ(line_chart({}, {.title = "t"}).find("nan"), std::string::npos);
  EXPECT_EQ(line_chart({{"a", {{1, 2}}}}, {.title = "t"}).find("nan"), std::string::npos);
  const std::string with_nan = line_chart({{"a", {{1, NAN}, {2, 3}, {3, INFINITY}, {4, 3}}}}, {.title = "t"});
  EXPECT_EQ(with_nan.find("nan"), std::string::npos);
  EXPECT_EQ(with_nan.find("inf"), std::string::npos);
}

TEST(Chart, SpreadIsDrawnAndInRange) {
  Series means{"m", {{0, 1}, {1, 2}}, false, {0.5, NAN}};
  const std::string svg = line_chart({means}, {.title = "t"});
  EXPECT_NE(svg.find("stroke-width='1.2'"), std::string::npos);
  EXPECT_NE(svg.find("1 ± 0.5"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(Chart, DotsOfRowsWithAndWithoutValues) {
  const std::string svg = dot_chart({{"a <b>", 0.5, 0.1, {0.4, 0.6}}, {"none", NAN, NAN, {}}}, "acc1");
  std::size_t dots = 0;
  for (std::size_t at = svg.find("<circle"); at != std::string::npos; at = svg.find("<circle", at + 1))
    ++dots;
  EXPECT_EQ(dots, 3U);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
  EXPECT_EQ(dot_chart({}, "empty").find("nan"), std::string::npos);
}

TEST(Chart, SmoothingOfAConstantIsTheConstant) {
  const Series flat{"f", {{1, 4}, {2, 4}, {3, 4}}};
  for (const auto& [x, y] : smoothed(flat, 2).points) EXPECT_NEAR(y, 4, 1e-12);
}

TEST(Html, NumbersForPeople) {
  EXPECT_EQ(with_commas(-12345678), "-12,345,678");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(rounded(0.123456), "0.1235");
  EXPECT_EQ(escape("<a href='x'>&\x01"), "&lt;a href=&#39;x&#39;&gt;&amp;\\x01");
}

}  // namespace
}  // namespace trireme::coordinator::report
