#include "worker/stages/filter/filter_stage.h"

#include <set>

#include <nlohmann/json.hpp>

#include "common/io/hash.h"
#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/data/batches/scores.h"
#include "worker/data/batches/verdicts.h"
#include "worker/data/tallies/ngram_counts.h"
#include "worker/data/tallies/pair_counts.h"
#include "worker/stages/filter/cuts_stage.h"
#include "worker/stages/filter/measure_stage.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::filter {
namespace {

using testing::TarWriter;
using testing::test_jpeg;

class FilterTest : public testing::StageTest {
 protected:
  jobs::Task task_of_all_kinds() {
    const auto good = test_jpeg(320, 240, 1);
    auto task = shard_task("a", {{"00", good, "a dog runs over grass"},
                                 {"01", test_jpeg(150, 150, 2), "a dog runs over grass"},
                                 {"02", test_jpeg(640, 210, 3), "two words"},
                                 {"03", "this is no picture", "a cat sleeps on a sofa"},
                                 {"04", good.substr(0, good.size() / 2), "a cat sleeps on a sofa"},
                                 {"05", test_jpeg(300, 260, 4), "dog\na brown dog in deep snow\ncat"},
                                 {"06", test_jpeg(300, 260, 5), "", "3"}});
    task.settings = jobs::settings_json(jobs::FilterSettings{.data = {"train"}});
    return task;
  }

  // Both steps of the stage on one range.
  jobs::TaskDone run(jobs::Task task) {
    jobs::Task measure = task;
    measure.settings = jobs::measure_json(
        jobs::measures_of(std::get<jobs::FilterSettings>(jobs::settings_from_json("filter", task.settings))));
    measure.output += "-measured";
    const auto measured = MeasureStage().run(measure, context_);
    task.inputs.push_back(input(jobs::Role::kFacts, measured.outputs.at(0).path));
    return FilterStage().run(task, context_);
  }

  jobs::TaskDone run(jobs::Task task, const jobs::FilterSettings& settings) {
    task.settings = jobs::settings_json(settings);
    return run(std::move(task));
  }
};

TEST_F(FilterTest, CountsVerdictsAndThumbnails) {
  const auto task = task_of_all_kinds();
  const auto done = run(task);
  const auto count = [&](const std::string& name) {
    return done.counts.contains(name) ? done.counts.at(name) : 0;
  };
  EXPECT_EQ(count("in"), 7);
  EXPECT_EQ(count("kept"), 3);
  EXPECT_EQ(count("dropped"), 4);
  EXPECT_EQ(count("dropped.short_side"), 1);
  EXPECT_EQ(count("dropped.aspect"), 1);
  EXPECT_EQ(count("dropped.min_words"), 1);
  EXPECT_EQ(count("dropped.bad_decode"), 2);
  EXPECT_EQ(count("captions.dropped.min_words"), 3);
  std::int64_t bad = 0;
  for (const auto& [name, value] : done.counts) {
    if (name.starts_with("bad.")) bad += value;
  }
  EXPECT_EQ(bad, 2);
  ASSERT_EQ(done.outputs.size(), 2u);
  const auto verdicts = data::read_verdicts(done.outputs[0].path);
  EXPECT_EQ(verdicts.kept, (std::vector<std::int32_t>{0, 5, 6}));
  EXPECT_NE(io::read_file(done.outputs[0].path).find(R"("sample":5,"key":"05","kept":true,"captions":[1])"),
            std::string::npos);
  int kept = 0, with_picture = 0, lines = 0;
  const std::string thumbnails = io::read_file(done.outputs[1].path);
  for (std::size_t at = 0; at < thumbnails.size(); at = thumbnails.find('\n', at) + 1) {
    const auto row = nlohmann::json::parse(thumbnails.substr(at, thumbnails.find('\n', at) - at));
    ++lines;
    kept += row.at("kept").get<bool>();
    with_picture += row.contains("jpeg");
    EXPECT_EQ(row.contains("rule"), !row.at("kept").get<bool>());
  }
  EXPECT_EQ(lines, 7);
  EXPECT_EQ(kept, 3);
  EXPECT_EQ(with_picture, 5);
}

TEST_F(FilterTest, AfterAnotherFilterTheHeadOfAPictureIsEnough) {
  auto task = task_of_all_kinds();
  const auto faults = [&](bool decode) {
    jobs::MeasureSettings settings;
    settings.decode = decode;
    task.settings = jobs::measure_json(settings);
    std::vector<std::string> found;
    std::vector<std::int64_t> widths;
    for (const auto& facts : read_facts(MeasureStage().run(task, context_).outputs.at(0).path)) {
      found.push_back(facts.decode_fault);
      widths.push_back(facts.width);
    }
    EXPECT_EQ(widths, (std::vector<std::int64_t>{320, 150, 640, 0, 320, 300, 300}));
    return found;
  };
  const auto all = faults(true), heads = faults(false);
  EXPECT_NE(all[3], "");
  EXPECT_EQ(heads[3], all[3]);  // no picture at all
  EXPECT_NE(all[4], "");
  EXPECT_EQ(heads[4], "");  // it ends early
}

TEST_F(FilterTest, BytesDoNotDependOnThreadsAndRangesAddUp) {
  auto task = task_of_all_kinds();
  const auto whole = run(task);
  const std::string bytes = io::read_file(whole.outputs[0].path),
                    pictures = io::read_file(whole.outputs[1].path);
  context_.threads = 1;
  run(task);
  EXPECT_EQ(io::read_file(whole.outputs[0].path), bytes);
  EXPECT_EQ(io::read_file(whole.outputs[1].path), pictures);
  std::map<std::string, std::int64_t> sums;
  std::vector<std::int32_t> kept;
  for (task.first = 0, task.count = 3; task.first < 7; task.first += 3) {
    const auto part = run(task);
    for (const auto& [name, value] : part.counts) sums[name] += value;
    const auto verdicts = data::read_verdicts(part.outputs[0].path);
    kept.insert(kept.end(), verdicts.kept.begin(), verdicts.kept.end());
  }
  EXPECT_EQ(sums, whole.counts);
  EXPECT_EQ(kept, (std::vector<std::int32_t>{0, 5, 6}));
}

TEST_F(FilterTest, CountedRulesReadTheTally) {
  auto task = task_of_all_kinds();
  const data::ShardReader shard(task.shard->path, task.inputs[0].path);
  const auto text = io::xxh3_128(text::normalized_text("A  dog runs over grass"));
  std::string storage;
  const auto image = io::xxh3_128(shard.image_bytes(6, storage));
  const std::string path = out("counts", ".counts");
  data::write_counts(path, 0, 1, {{text, 11}}, {{image, 1001}});
  task.inputs.push_back(input(jobs::Role::kPairCounts, path));
  jobs::FilterSettings settings{.data = {"train"}};
  settings.max_images_per_text = 10;
  settings.max_texts_per_image = 1000;
  task.settings = jobs::settings_json(settings);
  const auto done = run(task);
  EXPECT_EQ(done.counts.at("dropped.images_per_text"), 2);  // samples 0 and 1 share the text
  EXPECT_EQ(done.counts.at("dropped.texts_per_image"), 1);
  EXPECT_EQ(done.counts.at("kept"), 1);
  task.inputs.pop_back();
  EXPECT_THROW(run(task), Error);  // a counted rule without a tally
}

TEST_F(FilterTest, StopsWhenAsked) {
  const auto task = task_of_all_kinds();
  stop_.stop();
  EXPECT_THROW(run(task), Error);
}

jobs::FilterSettings only_text() {
  jobs::FilterSettings settings{.data = {"train"}};
  settings.short_side_over_px = {};
  settings.aspect_below = {};
  settings.min_words = {};
  settings.max_words = {};
  return settings;
}

TEST_F(FilterTest, LanguageComplexityAndAction) {
  const auto picture = test_jpeg(64, 64, 1);
  auto task = shard_task("t", {{"0", picture, "a black cat is chasing a small brown bird"},
                               {"1", picture, "cat"},
                               {"2", picture, "a red car"},
                               {"3", picture, "ein Hund läuft durch den tiefen Schnee"},
                               {"4", picture, "a dog runs"}});
  auto settings = only_text();
  settings.languages = {"en"};
  settings.min_complexity = 1;
  settings.min_actions = 1;
  auto done = run(task, settings);
  EXPECT_EQ(data::read_verdicts(done.outputs[0].path).kept, (std::vector<std::int32_t>{0, 4}));
  EXPECT_EQ(done.counts.at("dropped.language"), 1);
  EXPECT_GE(done.counts.at("dropped.action"), 2);
  settings.count_intransitive = false;
  done = run(task, settings);
  EXPECT_EQ(data::read_verdicts(done.outputs[0].path).kept, (std::vector<std::int32_t>{0}));
}

TEST_F(FilterTest, RareWordsByRankAndByCount) {
  const auto picture = test_jpeg(64, 64, 1);
  auto task =
      shard_task("n", {{"0", picture, "a dog runs"}, {"1", picture, "a dog"}, {"2", picture, "a zyx"}});
  const auto run_path = folder_ / "n.ngrams";
  data::NgramTally tally(run_path, 1, 1 << 20);
  for (const char* text : {"a dog runs", "a dog", "a zyx"}) tally.add_words(text::unigrams(text));
  tally.finish();
  std::vector<data::NgramRun> runs;
  runs.emplace_back(run_path);
  data::write_ngram_counts(runs, 0, 1, out("n", ".ngram_counts"));
  task.inputs.push_back(input(jobs::Role::kNgramCounts, out("n", ".ngram_counts")));
  auto settings = only_text();
  settings.max_ngrams = 3;  // a (3), "a dog" (2), dog (2)
  auto done = run(task, settings);
  EXPECT_EQ(data::read_verdicts(done.outputs[0].path).kept, (std::vector<std::int32_t>{1}));
  EXPECT_NE(io::read_file(done.outputs[0].path).find(R"("rare_ngram":[["zyx",1]])"), std::string::npos);
  settings.max_ngrams = 5;  // and "a zyx", "dog runs" by bytes; runs and zyx fall out
  EXPECT_EQ(data::read_verdicts(run(task, settings).outputs[0].path).kept, (std::vector<std::int32_t>{1}));
  settings.max_ngrams = 7;
  EXPECT_EQ(run(task, settings).counts.at("kept"), 3);
  settings.max_ngrams = {};
  settings.min_ngram_count = 2;
  EXPECT_EQ(data::read_verdicts(run(task, settings).outputs[0].path).kept, (std::vector<std::int32_t>{1}));
  task.inputs.pop_back();
  EXPECT_THROW(run(task, settings), Error);
}

TEST_F(FilterTest, ColumnsScoresAndLists) {
  TarWriter tar;
  const auto picture = test_jpeg(64, 64, 1);
  const char* const jsons[] = {R"({"clip":0.4,"license":"cc","uid":"u0"})", R"({"clip":0.1,"license":"cc"})",
                               R"({"clip":"high","license":"cc"})", R"({"license":["x"]})", "no json at all"};
  for (int i = 0; i < 5; ++i)
    tar.add(std::to_string(i) + ".jpg", picture)
        .add(std::to_string(i) + ".json", jsons[i])
        .add(std::to_string(i) + ".txt", "a dog");
  auto task = shard_task("c", {{"x", picture, "y"}}, jobs::DataFormat::kWebdataset);
  io::write_file_atomic(task.shard->path, tar.bytes(), false);
  data::build_shard_index(task.shard->path, jobs::DataFormat::kWebdataset, {}, task.inputs[0].path);
  task.count = 5;
  task.shard->sha256 = "abc";
  auto settings = only_text();
  settings.columns = {{.name = "clip", .least = 0.3}};
  auto done = run(task, settings);
  EXPECT_EQ(data::read_verdicts(done.outputs[0].path).kept, (std::vector<std::int32_t>{0}));
  EXPECT_EQ(done.counts.at("dropped.column.clip"), 4);
  EXPECT_EQ(done.counts.at("column.clip.wrong_type"), 1);
  EXPECT_EQ(done.counts.at("column.clip.missing"), 2);
  {
    auto share = only_text();
    share.columns = {{.name = "clip", .top_fraction = 0.5}};
    jobs::Task measure = task, cuts = task;
    measure.settings = jobs::measure_json(jobs::measures_of(share));
    measure.output += "-for-cuts";
    cuts.settings = jobs::settings_json(share);
    set_inputs(cuts,
               {{{}, input(jobs::Role::kFacts, MeasureStage().run(measure, context_).outputs[0].path)}});
    const auto made = CutsStage().run(cuts, context_);
    EXPECT_EQ(made.counts.at("numbers"), 2);
    EXPECT_EQ(read_cuts(made.outputs[0].path), (std::map<std::size_t, double>{{0, 0.4}}));
    auto cut_task = task;
    cut_task.inputs.push_back(input(jobs::Role::kCuts, made.outputs[0].path));
    EXPECT_EQ(data::read_verdicts(run(cut_task, share).outputs[0].path).kept, (std::vector<std::int32_t>{0}));
  }
  settings.columns[0].keep_missing = true;
  EXPECT_EQ(run(task, settings).counts.at("kept"), 4);
  settings.columns = {{.name = "license", .one_of = {"cc", "mit"}}};
  done = run(task, settings);
  EXPECT_EQ(done.counts.at("kept"), 3);
  EXPECT_EQ(done.counts.at("column.license.wrong_type"), 1);
  settings.columns[0].none_of = {"cc"};
  EXPECT_EQ(run(task, settings).counts.at("kept"), 0);

  settings.columns = {{.name = "unsafe", .sidecar = ".", .most = 0.5}};
  EXPECT_THROW(run(task, settings), Error);  // no sidecar
  const auto path = data::score_path(".", "unsafe", task.shard->path);
  const auto write = [&](const std::string& head) {
    io::write_file_atomic(path, head + "\n{\"key\":\"0\",\"score\":0.9}\n{\"key\":\"1\",\"score\":0.5}\n",
                          false);
  };
  const std::string right = R"({"format":"trireme-scores","version":1,"name":"unsafe","shard_sha256":"abc"})";
  write(right);
  try {
    run(task, settings);
    ADD_FAILURE() << "three samples have no score";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("3 of 5 samples"), std::string::npos) << error.what();
  }
  settings.columns[0].keep_missing = true;
  done = run(task, settings);
  EXPECT_EQ(data::read_verdicts(done.outputs[0].path).kept, (std::vector<std::int32_t>{1, 2, 3, 4}));
  EXPECT_EQ(done.counts.at("column.unsafe.missing"), 3);
  settings.columns[0].keep_missing = false;
  write(right + R"(
{"key":"2","score":0.7}
{"key":"3","score":0.8}
{"key":"4","score":0.9})");
  EXPECT_EQ(data::read_verdicts(run(task, settings).outputs[0].path).kept, (std::vector<std::int32_t>{1}));
  for (const char* head :
       {R"({"format":"trireme-scores","version":2,"name":"unsafe","shard_sha256":"abc"})",
        R"({"format":"trireme-scores","version":1,"name":"unsafe","shard_sha256":"other"})",
        R"({"format":"trireme-scores","version":1,"name":"toxic","shard_sha256":"abc"})", "{}"}) {
    write(head);
    EXPECT_THROW(run(task, settings), Error) << head;
  }

  settings.columns[0].sidecar = "stage:clip";
  EXPECT_THROW(run(task, settings), Error);  // that stage gave nothing
  auto scored = task;
  scored.inputs.push_back(input(jobs::Role::kScores, out("clip", ".scores.jsonl")));
  scored.inputs.back().stage = "clip";
  io::write_file_atomic(scored.inputs.back().path,
                        data::scores_file(data::kSimilarity, "abc", {{"2", 0.25}, {"3", 0.75}}), false);
  EXPECT_EQ(data::read_verdicts(run(scored, settings).outputs[0].path).kept, (std::vector<std::int32_t>{2}));

  settings = only_text();
  io::write_file_atomic(folder_ / "list", "1\r\n3\n\n", false);
  settings.keep_list = (folder_ / "list").string();
  EXPECT_EQ(data::read_verdicts(run(task, settings).outputs[0].path).kept, (std::vector<std::int32_t>{1, 3}));
  std::swap(settings.keep_list, settings.drop_list);
  EXPECT_EQ(data::read_verdicts(run(task, settings).outputs[0].path).kept,
            (std::vector<std::int32_t>{0, 2, 4}));
  io::write_file_atomic(folder_ / "list", "u0\n", false);
  settings.list_by = "uid";
  EXPECT_EQ(data::read_verdicts(run(task, settings).outputs[0].path).kept,
            (std::vector<std::int32_t>{1, 2, 3, 4}));
}

TEST_F(FilterTest, FiltersInARowAndTheRandomControl) {
  auto task = task_of_all_kinds();
  const auto first = run(task);
  auto verdicts = input(jobs::Role::kVerdicts, first.outputs[0].path);
  verdicts.stage = "filter";
  task.inputs.push_back(verdicts);
  task.output += "-second";
  const auto second = run(task, only_text());
  EXPECT_EQ(second.counts.at("kept"), first.counts.at("kept"));  // never more than before
  EXPECT_EQ(second.counts.at("dropped.earlier"), 4);
  auto strict = only_text();
  strict.columns = {{.name = "clip", .least = 0.3}};  // nobody has it: of those that are left all are dropped
  const auto third = run(task, strict);
  EXPECT_EQ(third.counts.at("dropped.column.clip"), first.counts.at("kept"));
  EXPECT_EQ(third.counts.at("column.clip.missing"), first.counts.at("kept"));
  auto control = only_text();
  control.random_like = "filter";
  std::set<std::vector<std::int32_t>> draws;
  for (control.seed = 0; control.seed < 20; ++control.seed) {
    const auto drawn = run(task, control);
    EXPECT_EQ(drawn.counts.at("kept"), first.counts.at("kept"));
    draws.insert(data::read_verdicts(drawn.outputs[0].path).kept);
  }
  EXPECT_GT(draws.size(), 3U);
}

}  // namespace
}  // namespace trireme::worker::stages::filter
