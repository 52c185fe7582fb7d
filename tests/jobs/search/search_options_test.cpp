#include "jobs/search/search_options.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "jobs/search/frames.h"

namespace trireme::jobs {
namespace {

TEST(SearchOptions, PartsInTheOrderGiven) {
  const auto options = parse_search({"runs/x", "a dog", "--minus-text=snow", "--image", "a/cat.jpg",
                                     "--weight", "2", "--minus-image", "b.png", "--k", "3", "-o", "json",
                                     "--html", "page.html", "--where", "width>=200", "--exact"});
  EXPECT_EQ(options.run, "runs/x");
  EXPECT_EQ(options.query.k, 3);
  EXPECT_TRUE(options.json);
  EXPECT_TRUE(options.service);
  EXPECT_TRUE(options.query.exact);
  EXPECT_EQ(options.html, "page.html");
  ASSERT_EQ(options.query.parts.size(), 4u);
  EXPECT_EQ(query_text(options.query.parts), "a dog - snow + 2 × cat.jpg - b.png");
  EXPECT_EQ(options.query.filter, (std::vector<Condition>{{.column = "width", .least = 200}}));
  EXPECT_EQ(parse_search({"r", "--", "--odd text"}).query.parts[0].value, "--odd text");
  EXPECT_FALSE(parse_search({"r", "--batch", "f", "--no-service"}).service);
}

TEST(SearchOptions, FaultsAreUsageErrors) {
  const std::vector<std::vector<std::string>> faulty = {{},
                                                        {"run"},
                                                        {"run", "  "},
                                                        {"run", "x", "--k"},
                                                        {"run", "x", "--k", "0"},
                                                        {"run", "x", "--k", "10001"},
                                                        {"run", "x", "--k", "9000", "--offset", "2000"},
                                                        {"run", "x", "--k", "5x"},
                                                        {"run", "x", "-o", "xml"},
                                                        {"run", "x", "--batch", "f"},
                                                        {"run", "--weight", "2"},
                                                        {"run", "x", "--weight", "nan"},
                                                        {"run", "x", "--where", "width"},
                                                        {"run", "x", "--where", "width>3"},
                                                        {"run", "--imgae", "f"},
                                                        {"run", "--image="}};
  for (const auto& arguments : faulty) {
    try {
      parse_search(arguments);
      ADD_FAILURE() << (arguments.empty() ? "" : arguments.back());
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    }
  }
}

TEST(SearchQuery, JsonThereAndBack) {
  SearchQuery query;
  query.index = "flickr";
  query.parts = {{QueryKind::kText, 2, "a dog", "", {}},
                 {QueryKind::kImage, -0.5, std::string("\xff\xd8\x00", 3), "cat.jpg", {}},
                 {QueryKind::kItem, 1, "0123456789abcdef.7", "", {}},
                 {QueryKind::kEmbedding, 1, "", "", {0.5f, -1.25f}}};
  query.filter = {{.column = "w", .least = 1, .most = 2.5},
                  {.column = "l", .one_of = {"en", "3"}, .keep_missing = true}};
  query.k = 20;
  query.offset = 40;
  query.distinct = 0.9;
  query.least_recall = 0.8;
  query.exact = query.rows = true;
  query.model = "0123";
  query.parts.back().kind = QueryKind::kEmbedding;
  query.parts.back().embedding = {0.5F, -1};
  query.parts.back().of = MadeOf::kTexts;
  EXPECT_EQ(query_from_json(to_json(query)), query);
}

TEST(SearchQuery, IsMadeOfTextsOrPicturesOrBoth) {
  const auto made = [](const char* parts) {
    return made_of(query_from_json(std::string(R"({"query":[)") + parts + "]}").parts);
  };
  EXPECT_EQ(made(R"({"text":"a"},{"embedding":[1],"of":"texts"})"), MadeOf::kTexts);
  EXPECT_EQ(made(R"({"item":"a.1"},{"embedding":[1]})"), MadeOf::kImages);
  EXPECT_EQ(made(R"({"item":"a.1"},{"text":"b"})"), MadeOf::kBoth);
  EXPECT_EQ(made(R"({"embedding":[1],"of":"both"})"), MadeOf::kBoth);
}

TEST(SearchQuery, FaultsNameTheirPlace) {
  const std::vector<std::pair<std::string, std::string>> faulty = {
      {"nonsense", "not JSON"},
      {"{}", "/query"},
      {R"({"query":[{"text":"a","of":"texts"}]})", "/query/0/of"},
      {R"({"query":[{"embedding":[1],"of":"words"}]})", "/query/0/of"},
      {R"({"query":[]})", "/query"},
      {R"({"query":[{"txt":"a"}]})", "/query/0/txt"},
      {R"({"query":[{"text":" "}]})", "/query/0/text"},
      {R"({"query":[{"text":"a","image":"Zg=="}]})", "/query/0"},
      {R"({"query":[{"image_url":"http://x"}]})", "never fetched"},
      {R"({"query":[{"image":"%"}]})", "/query/0/image"},
      {R"({"query":[{"text":"a","weight":0}]})", "/query/0/weight"},
      {R"({"query":[{"text":"a","weight":1e999}]})", ""},
      {R"({"query":[{"embedding":[1,"x"]}]})", "/query/0/embedding"},
      {R"({"query":[{"embedding":[]}]})", "/query/0/embedding"},
      {R"({"query":[{"text":"a"}],"k":0})", "/k"},
      {R"({"query":[{"text":"a"}],"k":10001})", "/k"},
      {R"({"query":[{"text":"a"}],"k":2.5})", "/k"},
      {R"({"query":[{"text":"a"}],"k":9999,"offset":2})", "/k"},
      {R"({"query":[{"text":"a"}],"filter":[{"column":"w"}]})", "/filter/0"},
      {R"({"query":[{"text":"a"}],"filter":[{"least":2}]})", "/filter/0/column"}};
  for (const auto& [json, place] : faulty) {
    try {
      query_from_json(json);
      ADD_FAILURE() << json;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalid) << json;
      EXPECT_NE(std::string(error.what()).find(place), std::string::npos) << error.what();
    }
  }
}

TEST(Frames, ComeOutWholeHoweverTheyArrive) {
  const std::string bytes =
      encoded({7, 2, "body"}) + encoded({8, 0, std::string(100000, 'x')}) + encoded({9, 1, ""});
  std::string got;
  std::vector<Frame> frames;
  for (std::size_t at = 0; at < bytes.size(); at += 37) {
    got += bytes.substr(at, 37);
    while (auto frame = take_frame(got)) frames.push_back(*frame);
  }
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[0].number, 7u);
  EXPECT_EQ(frames[0].code, 2);
  EXPECT_EQ(frames[0].body, "body");
  EXPECT_EQ(frames[1].body.size(), 100000u);
  EXPECT_EQ(frames[2].body, "");
  EXPECT_TRUE(got.empty());
  std::string large("\xff\xff\xff\xff", 4);
  large += std::string(20, 'x');
  EXPECT_THROW(take_frame(large), Error);
}

}  // namespace
}  // namespace trireme::jobs
