#include "worker/stages/index/search_options.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "worker/stages/index/contact_sheet.h"
#include "worker/stages/index/search_tool.h"

namespace trireme::worker::stages::index {
namespace {

TEST(SearchOptions, PartsInTheOrderGiven) {
  const auto options =
      parse_search({"runs/x", "a dog", "--minus-text=snow", "--image", "a/cat.jpg", "--minus-image", "b.png",
                    "--k", "3", "-o", "json", "--html", "page.html"});
  EXPECT_EQ(options.run, "runs/x");
  EXPECT_EQ(options.k, 3);
  EXPECT_TRUE(options.json);
  EXPECT_EQ(options.html, "page.html");
  ASSERT_EQ(options.query.size(), 4u);
  EXPECT_EQ(query_text(options.query), "a dog - snow + cat.jpg - b.png");
  EXPECT_EQ(parse_search({"r", "--", "--odd text"}).query[0].value, "--odd text");
}

TEST(SearchOptions, FaultsAreUsageErrors) {
  const std::vector<std::vector<std::string>> faulty = {{},
                                                        {"run"},
                                                        {"run", "  "},
                                                        {"run", "x", "--k"},
                                                        {"run", "x", "--k", "0"},
                                                        {"run", "x", "--k", "5x"},
                                                        {"run", "x", "-o", "xml"},
                                                        {"run", "--imgae", "f"},
                                                        {"run", "--image="}};
  for (const auto& arguments : faulty) {
    try {
      parse_search(arguments);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
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
