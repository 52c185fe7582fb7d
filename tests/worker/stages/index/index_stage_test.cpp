#include "worker/stages/index/index_stage.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/io/folder.h"
#include "jobs/search/clip_words.h"
#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/checkpoint/features.h"
#include "worker/embedding/texts.h"
#include "worker/stages/index/contact_sheet.h"
#include "worker/stages/index/engine.h"
#include "worker/stages/index/search_tool.h"
#include "worker/stages/index/segment_stage.h"

namespace trireme::worker::stages::index {
namespace {

using jobs::QueryKind;
using jobs::QueryPart;
using nlohmann::json;

QueryPart text_part(const std::string& text, double weight = 1) {
  return {QueryKind::kText, weight, text, "", {}};
}

// Seven pictures on disk and in a shard, embedded by their captions: row i is the embedding of text i.
class IndexTest : public testing::StageTest {
 protected:
  IndexTest() : model_(testing::small_model(false), 0) {
    std::vector<testing::TestSample> samples;
    std::vector<std::string> captions;
    testing::TarWriter tar;
    for (int i = 0; i < 7; ++i) {
      const std::string number = std::to_string(i);
      captions.push_back("caption number " + number);
      samples.push_back({"k" + number, testing::test_jpeg(60, 50, i), captions.back(), ""});
      tar.add("k" + number + ".jpg", samples.back().image);
      tar.add(
          "k" + number + ".json",
          json{{"width", 100 * i}, {"url", "http://x/" + number + ".jpg"}, {"lang", "en"}, {"status", "ok"}}
              .dump());
      tar.add("k" + number + ".txt", captions.back());
    }
    const auto shard = shard_task("s", samples);
    io::write_file_atomic(folder_ / "s.tar", tar.bytes(), false);  // with what the fixture's has not
    data::build_shard_index(folder_ / "s.tar", jobs::DataFormat::kClipBenchmark, {}, folder_ / "s.idx");
    model_.save((folder_ / "model").string(), "{}");
    rows_ = embedding::encode_texts(model_, "cpu", captions, true).rows;
    const auto sample = at::tensor({0, 1, 2, 4, 5, 6}, at::kLong);  // sample 3 was bad
    const std::string features = out("f", ".features.safetensors");
    const auto some = rows_.index_select(0, sample);
    checkpoint::write_features(features, {"shared", sample, some, some, at::arange(6, at::kLong), {}});
    shard_ = shard;
    task_.stage = "index";
    task_.settings = jobs::settings_json(jobs::IndexSettings{.data = "train", .model = "train"});
    task_.output = (folder_ / "run" / "index").string();
    set_inputs(task_, {{*shard.shard, {}},
                       {{}, shard.inputs[0]},
                       {{}, input(jobs::Role::kModel, (folder_ / "model").string())},
                       {{}, input(jobs::Role::kFeatures, features)},
                       {{}, segment_of(features)}});
  }

  // What a segment task leaves of the features.
  jobs::InputFile segment_of(const std::string& features) {
    jobs::Task task = shard_;
    task.settings = task_.settings;
    task.inputs.push_back(input(jobs::Role::kFeatures, features));
    task.output = features + "-" + std::to_string(task.inputs.size());
    const auto done = SegmentStage().run(task, context_);
    auto made = input(jobs::Role::kSegment, done.outputs.at(0).path);
    made.xxh3 = done.outputs.at(0).xxh3;
    return made;
  }

  json search(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"search", (folder_ / "run").string()});
    arguments.insert(arguments.end(), {"-o", "json"});
    return json::parse(printed(arguments));
  }

  std::string printed(std::vector<std::string> arguments) {
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    ::testing::internal::CaptureStdout();
    int code = 1;
    try {
      code = run_search(static_cast<int>(argv.size()), argv.data());
    } catch (...) {
      ::testing::internal::GetCapturedStdout();
      throw;
    }
    EXPECT_EQ(code, 0);
    return ::testing::internal::GetCapturedStdout();
  }

  json answer(Engine& engine, const std::string& query) {
    const auto outcome = engine.answer({jobs::query_from_json(query)}).front();
    if (const auto* error = std::get_if<Error>(&outcome)) throw *error;
    return json::parse(std::get<std::string>(outcome));
  }

  Engine engine() { return {(folder_ / "run").string(), "run"}; }

  models::DualEncoder model_;
  at::Tensor rows_;
  jobs::Task task_, shard_;
};

TEST_F(IndexTest, TheSameBytesAndWhatIsKnownOfItems) {
  auto done = IndexStage().run(task_, context_);
  EXPECT_EQ(done.counts.at("items"), 6);
  EXPECT_EQ(done.counts.at("segments"), 1);
  const auto manifest = io::read_file(folder_ / "run/index/manifest.json");
  done = IndexStage().run(task_, context_);
  EXPECT_EQ(io::read_file(folder_ / "run/index/manifest.json"), manifest);
  const search::Index index(folder_ / "run");
  EXPECT_EQ(index.rows(), 6);
  EXPECT_EQ(index.item(3).key, "k4");
  EXPECT_EQ(index.item(3).captions, std::vector<std::string>{"caption number 4"});
  EXPECT_EQ(index.item(3).url, "http://x/4.jpg");
  EXPECT_EQ(index.manifest().columns, (std::vector<std::string>{"lang", "width"}));
  EXPECT_EQ(index.row_of(index.id_of(3)), 3);
  EXPECT_FALSE(index.row_of("0000000000000000.3").has_value());
  EXPECT_THROW(search::Index{folder_}, Error);  // no index yet
  EXPECT_THROW(search::Index(folder_ / "nowhere"), Error);
}

TEST_F(IndexTest, DamageIsNamed) {
  IndexStage().run(task_, context_);
  const io::Path segment = io::list_folder(folder_ / "run/index/segments").front();
  const std::string bytes = io::read_file(segment);
  std::string other = bytes;
  other[bytes.size() / 2] ^= 1;
  io::write_file_atomic(segment, other, false);
  EXPECT_THROW(search::Index(folder_ / "run"), Error);  // its only one
  io::write_file_atomic(segment, bytes, false);
  EXPECT_NO_THROW(search::Index(folder_ / "run"));
  io::write_file_atomic(folder_ / "run/index/model/config.json", "{}", false);
  try {
    search::Index index(folder_ / "run");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("config.json"), std::string::npos);
  }
}

TEST_F(IndexTest, SearchNeedsNothingButTheIndexFolder) {
  IndexStage().run(task_, context_);
  std::filesystem::remove_all(folder_ / "model");
  for (const auto& file : io::list_folder(folder_))
    if (file.extension() == ".segment") io::remove_file(file);
  const auto found = search({"caption number 4", "--k", "3"});
  ASSERT_EQ(found.at("hits").size(), 3u);
  EXPECT_EQ(found["hits"][0]["key"], "k4");
  EXPECT_NEAR(found["hits"][0]["score"].get<double>(), 1, 1e-3);
  const auto page = io::read_file(folder_ / "run" / "search.html");
  EXPECT_NE(page.find("data:image/jpeg;base64,/9j/"), std::string::npos);
  std::filesystem::remove(folder_ / "s.tar");  // pictures gone: ranks stand
  EXPECT_EQ(search({"caption number 4"}).at("hits")[0]["key"], "k4");
}

TEST_F(IndexTest, WeightedSumOfUnitEmbeddings) {
  IndexStage().run(task_, context_);
  auto engine = this->engine();
  const std::string picture = testing::test_jpeg(80, 80, 9);
  const std::vector<QueryPart> parts = {
      text_part("caption number 1", 2), {QueryKind::kImage, 1, picture, "", {}}, text_part("number 2", -0.5)};
  const auto both = engine.embed(parts);
  auto sum = at::zeros({1, 16});
  for (auto part : parts) {
    const double weight = std::exchange(part.weight, 1);
    sum += weight * engine.embed({part});
  }
  EXPECT_TRUE(at::allclose(both, sum / sum.norm(), 1e-4, 1e-5));
  EXPECT_NEAR(both.norm().item<double>(), 1, 1e-5);
  EXPECT_THROW(engine.embed({text_part("same"), text_part("same", -1)}), Error);
}

TEST_F(IndexTest, PagesFiltersItemsAndEmbeddings) {
  IndexStage().run(task_, context_);
  auto engine = this->engine();
  const auto all = answer(engine, R"({"query":[{"text":"caption number 4"}],"k":6})")["hits"];
  const auto page = answer(engine, R"({"query":[{"text":"caption number 4"}],"k":2,"offset":3})")["hits"];
  ASSERT_EQ(page.size(), 2u);
  EXPECT_EQ(page[0], all[3]);
  EXPECT_EQ(page[1], all[4]);
  EXPECT_EQ(answer(engine, R"({"query":[{"text":"x"}],"k":10,"offset":6})")["hits"].size(), 0u);
  EXPECT_EQ(answer(engine, R"({"query":[{"text":"x"}],"k":10000})")["hits"].size(), 6u);
  const auto wide = answer(
      engine, R"({"query":[{"text":"caption number 0"}],"filter":[{"column":"width","least":500}]})")["hits"];
  ASSERT_EQ(wide.size(), 2u);
  for (const auto& hit : wide) EXPECT_GE(hit["columns"]["width"], 500);
  const json like = answer(engine, json{{"query", {{{"item", all[0]["id"]}}}}}.dump())["hits"];
  EXPECT_EQ(like.size(), 5u);  // not itself
  for (const auto& hit : like) EXPECT_NE(hit["key"], "k4");
  std::vector<float> row(rows_[5].data_ptr<float>(), rows_[5].data_ptr<float>() + 16);
  EXPECT_EQ(answer(engine, json{{"query", {{{"embedding", row}}}}}.dump())["hits"][0]["key"], "k5");
  const auto apart = answer(engine, R"({"query":[{"text":"caption number 4"}],"distinct":-1})")["hits"];
  EXPECT_EQ(apart.size(), 1u);
  for (const char* bad : {R"({"query":[{"text":"x"}],"filter":[{"column":"height","least":1}]})",
                          R"({"query":[{"embedding":[1,2]}]})", R"({"query":[{"item":"nothing.1"}]})",
                          R"({"query":[{"image":"bm8gcGljdHVyZQ=="}]})"})
    EXPECT_THROW(answer(engine, bad), Error) << bad;
  const auto mixed = engine.answer({jobs::query_from_json(R"({"query":[{"item":"none.1"}]})"),
                                    jobs::query_from_json(R"({"query":[{"text":"caption number 2"}]})")});
  EXPECT_TRUE(std::holds_alternative<Error>(mixed[0]));
  EXPECT_EQ(json::parse(std::get<std::string>(mixed[1]))["hits"][0]["key"], "k2");
}

TEST_F(IndexTest, WithListsItSaysWhatItPromises) {
  const auto done = IndexStage(2).run(task_, context_);
  EXPECT_GE(json::parse(done.summary)["recall"]["text"], 0.95);
  auto engine = this->engine();
  const auto found = answer(engine, R"({"query":[{"text":"caption number 4"}],"least_recall":0.9})");
  EXPECT_EQ(found["hits"][0]["key"], "k4");
  EXPECT_GE(found["recall"], 0.95);
  EXPECT_THROW(answer(engine, R"({"query":[{"text":"a"},{"item":")" + engine.index().id_of(0) +
                                  R"("}],"least_recall":0.9})"),
               Error);  // of mixed queries nothing was measured
  io::write_file_atomic(folder_ / "run/index/lists.safetensors", "damaged", false);
  auto without = this->engine();
  const auto exact = answer(without, R"({"query":[{"text":"caption number 4"}]})");
  EXPECT_EQ(exact["damaged"], json{"lists.safetensors"});
  EXPECT_EQ(exact["hits"], answer(engine, R"({"query":[{"text":"caption number 4"}],"exact":true})")["hits"]);
}

TEST_F(IndexTest, ItsSearchIsTheOneThatIsAskedFor) {
  const auto made = [&](jobs::IndexSettings settings, std::int64_t lists_from) {
    settings.data = "train", settings.model = "train";
    task_.settings = jobs::settings_json(settings);
    IndexStage(lists_from).run(task_, context_);
    return search::read_manifest(folder_ / "run/index");
  };
  EXPECT_FALSE(made({}, 7).approximate);
  EXPECT_TRUE(made({}, 6).approximate);
  EXPECT_FALSE(made({.search = jobs::SearchKind::kExact}, 1).approximate);
  const auto listed = made({.search = jobs::SearchKind::kApproximate, .least_recall = 1, .lists = 3}, 1000);
  EXPECT_TRUE(listed.approximate);
  EXPECT_EQ(listed.image.recall, 1);
  EXPECT_EQ(search::Lists(folder_ / "run/index/lists.safetensors", 6, 16).lists(), 3);
}

TEST_F(IndexTest, ADamagedSegmentIsLeftOutAndNamed) {
  auto lines = runtime::read_inputs(task_);
  const std::string more = out("g", ".features.safetensors");
  checkpoint::write_features(more, {"shared", at::tensor({3}, at::kLong), rows_.narrow(0, 3, 1), {}, {}, {}});
  lines.push_back({{}, segment_of(more)});
  set_inputs(task_, lines);
  EXPECT_EQ(IndexStage().run(task_, context_).counts.at("items"), 7);
  const search::Index whole(folder_ / "run");
  const std::string first = whole.manifest().segments[0].file.name, id = whole.id_of(6);
  io::write_file_atomic(folder_ / "run/index" / first, "damaged", false);
  auto engine = this->engine();
  const auto found = answer(engine, R"({"query":[{"text":"caption number 4"}]})");
  EXPECT_EQ(found["damaged"], json{first});
  ASSERT_EQ(found["hits"].size(), 1u);
  EXPECT_EQ(found["hits"][0]["id"], id);
  EXPECT_EQ(found["hits"][0]["key"], "k3");
}

TEST_F(IndexTest, SpeaksAsClipRetrievalDoes) {
  IndexStage().run(task_, context_);
  auto engine = this->engine();
  const auto query = jobs::query_of_knn(
      R"({"text":"caption number 4","image":null,"image_url":null,"embedding_input":null,"modality":"image",)"
      R"("num_images":3,"indice_name":"run","num_result_ids":3000,"use_mclip":false,"deduplicate":false,)"
      R"("use_safety_model":true,"use_violence_detector":true,"aesthetic_score":9,"aesthetic_weight":0.5})");
  EXPECT_EQ(query.index, "run");
  const auto hits = json::parse(jobs::knn_of_answer(std::get<std::string>(engine.answer({query}).front())));
  ASSERT_EQ(hits.size(), 3u);
  EXPECT_EQ(hits[0]["caption"], "caption number 4");
  EXPECT_EQ(hits[0]["url"], "http://x/4.jpg");
  EXPECT_EQ(hits[0]["id"], 3);
  EXPECT_NEAR(hits[0]["similarity"].get<double>(), 1, 1e-3);
  const auto words = json::parse(engine.metadata(R"({"ids":[3],"indice_name":"run"})"));
  EXPECT_EQ(words[0]["metadata"]["caption"], "caption number 4");
  EXPECT_EQ(words[0]["metadata"]["width"], 400);
  EXPECT_THROW(engine.metadata(R"({"ids":[99]})"), Error);
  EXPECT_THROW(jobs::query_of_knn(R"({"image_url":"http://x/y.jpg"})"), Error);
}

TEST_F(IndexTest, BatchOfLinesKeepsItsOrder) {
  IndexStage().run(task_, context_);
  const auto file = (folder_ / "queries.jsonl").string();
  io::write_file_atomic(file,
                        "{\"query\":[{\"text\":\"caption number 2\"}],\"k\":1}\n\nnonsense\n"
                        "{\"query\":[{\"text\":\"caption number 5\"}],\"k\":1}\n",
                        false);
  const std::string lines = printed({"search", (folder_ / "run").string(), "--batch", file});
  std::vector<json> answers;
  for (std::size_t at = 0, end; (end = lines.find('\n', at)) != std::string::npos; at = end + 1)
    answers.push_back(json::parse(lines.substr(at, end - at)));
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0]["hits"][0]["key"], "k2");
  EXPECT_TRUE(answers[1].contains("error"));
  EXPECT_EQ(answers[2]["hits"][0]["key"], "k5");
}

TEST_F(IndexTest, UnreadablePicturesAreNamed) {
  IndexStage().run(task_, context_);
  const auto no_picture = (folder_ / "notes.txt").string();
  io::write_file_atomic(no_picture, "hello", false);
  for (const auto& path : {no_picture, (folder_ / "missing.jpg").string()}) {
    try {
      search({"--image", path});
      FAIL();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(io::Path(path).filename().string()), std::string::npos);
    }
  }
}

TEST(ContactSheet, EscapesAndStandsAlone) {
  const std::string page =
      contact_sheet("<script>", {{1, 0.5f, "k\"", "a & b", "jpeg"}, {2, 0.25f, "gone", "", ""}});
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_NE(page.find("a &amp; b"), std::string::npos);
  EXPECT_NE(page.find("data:image/jpeg;base64,anBlZw=="), std::string::npos);
  EXPECT_NE(page.find("picture not found"), std::string::npos);
  EXPECT_EQ(page.find("http"), std::string::npos);
}

}  // namespace
}  // namespace trireme::worker::stages::index
