#include "worker/text/parser/caption_parser.h"

#include <ctime>
#include <fstream>
#include <iostream>

#include <gtest/gtest.h>
#include <zlib.h>

#include "common/base/random.h"

namespace trireme::worker::text {
namespace {

const CaptionParser& parser() {
  static const CaptionParser made(Lexicon::standard());
  return made;
}

ParsedCaption parsed(std::string_view caption) {
  ParsedCaption out;
  parser().parse(caption, out);
  return out;
}

std::int64_t c(std::string_view caption, bool intransitive = true) {
  return complexity(parsed(caption), intransitive);
}
bool action(std::string_view caption) {
  return !parsed(caption).actions.empty();
}

TEST(CaptionParser, CasesOfMethods10_7) {
  EXPECT_EQ(c("A black cat is chasing a small brown bird"), 3);
  EXPECT_TRUE(action("A black cat is chasing a small brown bird"));
  EXPECT_EQ(c("cat"), 0);
  EXPECT_FALSE(action("cat"));
  EXPECT_EQ(c("a red car"), 1);
  EXPECT_FALSE(action("a red car"));
  EXPECT_EQ(c("IMG_2033.jpg"), 0);
  EXPECT_EQ(c("a dog runs", true), 1);
  EXPECT_EQ(c("a dog runs", false), 0);
  EXPECT_TRUE(action("a dog runs"));
}

TEST(CaptionParser, Triples) {
  EXPECT_EQ(parsed("A black cat is chasing a small brown bird").text(),
            "cat\nbird\ncat: black\nbird: small\nbird: brown\ncat chasing bird\n");
  EXPECT_EQ(parsed("A man in a hat and a woman in a dress are dancing.").text(),
            "man\nhat\nwoman\ndress\nman in hat\nwoman in dress\nman dancing -\nwoman dancing -\n");
  EXPECT_EQ(parsed("a kite is flown by a boy").text(), "kite\nboy\nboy flown kite\n");
  EXPECT_EQ(parsed("photo of a dog").text(), "dog\n");
  EXPECT_EQ(parsed("the dog's bowl is empty").text(), "dog\nbowl\nbowl: empty\ndog has bowl\n");
  EXPECT_EQ(parsed("There are two apples on the table").text(),
            "apples\ntable\napples: two\napples on table\n");
  EXPECT_EQ(parsed("Someone is trying to catch a ball").text(), "someone\nball\nsomeone catch ball\n");
  EXPECT_EQ(parsed("A man in a hat riding a horse").text(),
            "man\nhat\nhorse\nman in hat\nman riding horse\n");
  EXPECT_EQ(parsed("").text(), "");
}

TEST(CaptionParser, HaveAndStatesAreNoActions) {
  EXPECT_FALSE(action("the woman has a red hat"));
  EXPECT_FALSE(action("the box contains old letters"));
  EXPECT_FALSE(action("the dog is black"));
  EXPECT_FALSE(action("running shoes on a painted wall"));
  EXPECT_TRUE(action("a car parked on the street"));
}

struct Labelled {
  std::int64_t complexity = 0, without_intransitive = 0;
  bool action = false;
  std::string caption;
};

std::vector<Labelled> labelled() {
  std::vector<Labelled> out;
  std::ifstream file(std::string(TRIREME_SOURCE_DIR) + "/tests/golden/caption_labels.txt");
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    Labelled one;
    const auto first = line.find(' '), slash = line.find('/');
    one.complexity = std::stoll(line);
    one.without_intransitive = slash < first ? std::stoll(line.substr(slash + 1)) : one.complexity;
    one.action = line.at(first + 1) == '1';
    one.caption = line.substr(first + 3);
    out.push_back(std::move(one));
  }
  return out;
}

TEST(CaptionParser, AccuracyOnHandLabelledCaptions) {
  const auto captions = labelled();
  ASSERT_GE(captions.size(), 300U);
  // [half][question]: exact complexity, C >= 1, C >= 1 without intransitives, action, kept by C and A
  double right[2][5] = {}, all[2] = {};
  for (std::size_t i = 0; i < captions.size(); ++i) {
    const auto& [exact, without, has_action, caption] = captions[i];
    const auto found = parsed(caption);
    const auto mine = complexity(found, true);
    const bool acts = !found.actions.empty();
    auto& row = right[i % 2];
    all[i % 2] += 1;
    row[0] += mine == exact;
    row[1] += (mine >= 1) == (exact >= 1);
    row[2] += (complexity(found, false) >= 1) == (without >= 1);
    row[3] += acts == has_action;
    row[4] += (mine >= 1 && acts) == (exact >= 1 && has_action);
  }
  const char* const names[] = {"complexity exactly", "complexity >= 1", "complexity >= 1, no intransitives",
                               "action", "kept by both"};
  for (int question = 0; question < 5; ++question) {
    const double seen = right[0][question] / all[0], unseen = right[1][question] / all[1];
    std::cout << names[question] << ": " << 100 * seen << " % of the captions seen while writing, "
              << 100 * unseen << " % of the others\n";
    EXPECT_GE(unseen, question == 0 ? 0.88 : 0.94) << names[question];
  }
}

// Clean captions by people: nearly none may fall to C >= 1.
TEST(CaptionParser, KeepsHumanCaptions) {
  const char* shared = std::getenv("TRIREME_SHARED");
  const std::string folder = shared != nullptr ? shared : std::string(TRIREME_SOURCE_DIR) + "/../shared";
  gzFile file = gzopen((folder + "/data/multi30k/val.en.gz").c_str(), "rb");
  if (file == nullptr) GTEST_SKIP() << "Multi30k is absent from " << folder << ": set TRIREME_SHARED";
  double captions = 0, complex = 0, acting = 0, without = 0;
  for (char line[4096]; gzgets(file, line, sizeof line) != nullptr;) {
    const auto found = parsed(line);
    captions += 1;
    complex += complexity(found, true) >= 1;
    without += complexity(found, false) >= 1;
    acting += !found.actions.empty();
  }
  gzclose(file);
  std::cout << "of " << captions << " captions " << 100 * complex / captions << " % have C >= 1 ("
            << 100 * without / captions << " % without lone verbs), " << 100 * acting / captions
            << " % an action\n";
  EXPECT_GE(captions, 1000);
  EXPECT_GE(complex / captions, 0.97);
}

double thread_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Random bytes, random words and long repetitions: ends, soon.
TEST(CaptionParser, FuzzedTextNeitherCrashesNorTakesLong) {
  RandomStream random(7, RandomPurpose::kTest);
  const std::vector<std::string> words = {"a",
                                          "the",
                                          "man",
                                          "riding",
                                          "of",
                                          "and",
                                          ",",
                                          "'s",
                                          "n't",
                                          "<b>",
                                          "&amp;",
                                          "in",
                                          "front",
                                          "of",
                                          "\xff",
                                          "\xe2\x80\x99",
                                          "dogs",
                                          "is",
                                          "to",
                                          "which",
                                          "\xe4\xb8\xad\xe6\x96\x87",
                                          "black",
                                          ".",
                                          "(",
                                          "http://x.y/z",
                                          "3rd",
                                          "\0"};
  ParsedCaption out;
  double slowest = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    const auto length = random.below(round % 100 == 0 ? 20000 : 200);
    for (std::uint64_t i = 0; i < length; ++i)
      text += round % 3 == 0 ? std::string(1, static_cast<char>(random.below(256)))
                             : words[random.below(words.size())] + (random.below(8) ? " " : "");
    const double start = thread_seconds();
    parser().parse(text, out);
    const auto most = complexity(out, true);
    slowest = std::max(slowest, thread_seconds() - start);
    EXPECT_LE(most, static_cast<std::int64_t>(4 * kTokenLimit));
    for (const auto& relation : out.relations) {
      ASSERT_LT(relation.subject, static_cast<std::int32_t>(out.entities.size()));
      ASSERT_LT(relation.object, static_cast<std::int32_t>(out.entities.size()));
    }
  }
  for (const char* unit : {"a man and ", "dog's ", "the ", "riding ", "((((", "< ", "&", "in front of ",
                           "black, ", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-"}) {
    std::string text;
    while (text.size() < 100000) text += unit;
    const double start = thread_seconds();
    parser().parse(text, out);
    complexity(out, true);
    slowest = std::max(slowest, thread_seconds() - start);
  }
  std::cout << "slowest caption " << 1e3 * slowest << " ms\n";
  EXPECT_LT(slowest, 0.005);
}

TEST(Lexicon, InflectionsAndIrregularForms) {
  const auto& lexicon = *Lexicon::standard();
  EXPECT_GT(lexicon.size(), 80000);
  EXPECT_EQ(lexicon.readings("chasing").verb_stem, "chase");
  EXPECT_EQ(lexicon.readings("running").verb_stem, "run");
  EXPECT_EQ(lexicon.readings("ran").verb_stem, "run");
  EXPECT_GT(lexicon.readings("ran").past, 0);
  EXPECT_EQ(lexicon.readings("carries").verb_stem, "carry");
  EXPECT_GT(lexicon.readings("children").plural, 0);
  EXPECT_TRUE(lexicon.readings("women").animate);
  EXPECT_TRUE(lexicon.readings("dogs").animate);
  EXPECT_FALSE(lexicon.readings("table").animate);
  EXPECT_GT(lexicon.readings("smallest").adjective, 0);
  EXPECT_FALSE(lexicon.readings("qwxzt").known());
  EXPECT_FALSE(lexicon.readings("").known());
  try {
    const Lexicon none("/no/such/folder");
    FAIL();
  } catch (const std::exception& error) {
    EXPECT_NE(std::string(error.what()).find("wordnet-base"), std::string::npos) << error.what();
  }
}

TEST(CaptionTokens, WordsCliticsNumbersAndMarkup) {
  std::string lower;
  std::vector<CaptionToken> tokens;
  const auto joined = [&](std::string_view text) {
    tokenize_caption(text, lower, tokens);
    std::string out;
    for (const auto& token : tokens) out += (out.empty() ? "" : "|") + std::string(token.word);
    return out;
  };
  EXPECT_EQ(joined("The man's T-shirt, isn't <b>red</b>!"), "the|man|'s|t-shirt|,|is|n't|red|!");
  EXPECT_EQ(joined("IMG_2033.jpg at 10:30, $1,999.00"), "img_2033.jpg|at|10:30|,|$|1,999.00");
  EXPECT_EQ(joined("see http://a.b/c?d=e now"), "see|http://a.b/c?d=e|now");
  EXPECT_EQ(joined("caf\xc3\xa9 na\xc3\xafve \xff x"), "caf\xc3\xa9|na\xc3\xafve|x");
  EXPECT_EQ(joined("black &amp; white &quot;x&quot;"), "black|&|white|x");
  joined(std::string(100000, 'a') + " b");
  EXPECT_EQ(tokens.size(), 1U);
}

}  // namespace
}  // namespace trireme::worker::text
