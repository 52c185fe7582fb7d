#include "worker/text/parser/caption_concepts.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "common/base/error.h"
#include "worker/text/parser/imagenet_classes.h"

namespace trireme::worker::text {
namespace {

using Names = std::vector<std::string>;

CaptionConcepts concepts(const Names& captions) {
  return ConceptReader(Lexicon::standard()).read(captions);
}

TEST(CaptionConcepts, LemmasOfNounsAndAdjectives) {
  const auto one = concepts({"Two black dogs are chasing a small brown bird"});
  EXPECT_EQ(one.objects, (Names{"bird", "dog"}));
  EXPECT_EQ(one.attributes, (Names{"black", "brown", "small"}));
  EXPECT_EQ(&one.list("objects"), &one.objects);
  EXPECT_EQ(&one.list("attributes"), &one.attributes);
}

TEST(CaptionConcepts, ASampleHasEachConceptOnce) {
  const auto one = concepts({"a dog", "the dogs and a dog", "women with red hats", "the hat is red"});
  EXPECT_EQ(one.objects, (Names{"dog", "hat", "woman"}));
  EXPECT_EQ(one.attributes, (Names{"red"}));
  EXPECT_TRUE(concepts({}).objects.empty());
  EXPECT_TRUE(concepts({"", "2019 !!"}).attributes.empty());
}

TEST(WordNet, FirstSenses) {
  const WordNet wordnet = WordNet::standard();
  const auto dog = wordnet.noun("dog");
  ASSERT_TRUE(dog.has_value());
  EXPECT_EQ(dog->id, "02084071-n");
  EXPECT_EQ(dog->lemmas, (Names{"dog", "domestic dog", "Canis familiaris"}));
  EXPECT_TRUE(dog->gloss.starts_with("a member of the genus Canis")) << dog->gloss;
  EXPECT_EQ(wordnet.noun_at(dog->hypernym).lemmas[0], "canine");
  EXPECT_EQ(wordnet.noun("domestic dog")->id, dog->id);
  EXPECT_TRUE(wordnet.adjective("red")->id.ends_with("-a"));
  EXPECT_FALSE(wordnet.noun("quuxly").has_value());
  EXPECT_FALSE(wordnet.noun("").has_value());
  EXPECT_THROW(wordnet.noun_at(7), Error);
  EXPECT_THROW(WordNet("/nowhere"), Error);
}

// The ends of the index, and every word in between: binary search against reading the file from its start.
TEST(WordNet, EveryWordOfTheIndexIsFound) {
  const WordNet wordnet = WordNet::standard();
  const char* const folder = std::getenv("TRIREME_WORDNET");
  const std::string text = io::read_file(
      std::string(folder != nullptr && *folder != 0 ? folder : "/usr/share/wordnet") + "/index.adj");
  std::int64_t words = 0;
  for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    if (text[at] == ' ' || ++words % 97 != 1) continue;
    const std::string lemma = text.substr(at, text.find(' ', at) - at);
    EXPECT_TRUE(wordnet.adjective(lemma).has_value()) << lemma;
  }
  EXPECT_GT(words, 20000);
}

TEST(ImageNetClasses, AThousandDistinctNames) {
  const auto classes = imagenet_classes(WordNet::standard());
  ASSERT_EQ(classes.size(), 1000U);
  EXPECT_EQ(classes[0].name, "tench");
  EXPECT_EQ(classes[207].name, "golden retriever");
  EXPECT_EQ(classes[207].synset.id, "02099601-n");
  EXPECT_EQ(classes[134].name, "crane (wading bird)");
  EXPECT_EQ(classes[517].name, "crane (lifting device)");
  EXPECT_EQ(classes[999].name, "toilet tissue");
  std::set<std::string> names;
  for (const auto& one : classes) names.insert(one.name);
  EXPECT_EQ(names.size(), 1000U);
}

}  // namespace
}  // namespace trireme::worker::text
