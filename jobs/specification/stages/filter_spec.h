// Settings of the curation stages: filter (rules), the tallies that its counted rules read, and export. Each
// rule names its paper and section; null (or an empty list) turns a rule off.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/enum_names.h"
#include "jobs/specification/json/fields.h"
#include "jobs/specification/stages/index_spec.h"

namespace trireme::jobs {

// A rule over a value that comes with the samples: a member of each sample's .json (img2dataset's and users'
// extra columns), or a score in sidecars that another program wrote (scores in jobs/protocol/FORMAT.md).
struct ColumnRule {
  static constexpr const char* kScoredBy = "pair_scores";  // the kind of stage that `sidecar` may name
  std::string name;                                        // the member, or the name of the score
  // Folder of <shard>.<name>.scores.jsonl, "." for beside the shards; "stage:<name>" of a pair_scores stage;
  // "": .json
  std::string sidecar;
  std::optional<double> least, most;  // numbers, both ends kept
  // DataComp: keep this share of all samples that have the number, the highest; equal ones at the cut too.
  std::optional<double> top_fraction;
  std::vector<std::string> one_of, none_of;  // strings
  bool keep_missing = false;                 // samples without the value, or with one of the wrong type

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("name", name, {.help = "member of .json, or name of the score", .least = 1, .required = true});
    v.field("sidecar", sidecar,
            {.help = "folder of score files, \".\": beside the shards; stage:<name> of a pair_scores stage; "
                     "empty: the samples' .json"});
    v.field("least", least, {.help = "keep numbers from this on"});
    v.field("most", most, {.help = "keep numbers up to this"});
    v.field("top_fraction", top_fraction,
            {.help = "keep this share of the numbers of all samples, the highest (DataComp)",
             .least = 0,
             .most = 1});
    v.field("one_of", one_of, {.help = "keep these strings"});
    v.field("none_of", none_of, {.help = "drop these strings"});
    v.field("keep_missing", keep_missing, {.help = "keep samples without a usable value"});
  }
};

// map, two steps: measure what the rules ask about (stored, so that other thresholds cost no second look at
// the pictures), then judge. Verdict per sample; every drop is counted by rule. Defaults are ALIGN's
// (METHODS 3.1).
struct FilterSettings {
  static constexpr const char* kKind = "filter";
  std::vector<std::string> data;
  std::optional<std::int64_t> short_side_over_px = 200;  // keep if short side > this
  std::optional<double> aspect_below = 3.0;              // keep if long/short < this
  std::optional<std::int64_t> min_words = 3;
  std::optional<std::int64_t> max_words = 20;
  std::optional<std::int64_t> max_images_per_text;  // ALIGN: 10; needs a pair_counts stage
  std::optional<std::int64_t> max_texts_per_image;  // ALIGN: 1000; needs a pair_counts stage
  std::optional<std::int64_t> max_ngrams;           // ALIGN: 1e8; needs an ngram_counts stage
  std::optional<std::int64_t> min_ngram_count;      // instead of a rank; needs an ngram_counts stage
  std::vector<std::string> languages;               // codes of CLD2 ("en"); empty: any
  bool keep_unknown_language = true;                // texts too short or odd to tell
  std::optional<std::int64_t> min_complexity;       // DiHT: 1
  std::optional<std::int64_t> min_actions;          // DiHT: 1
  bool count_intransitive = true;
  std::optional<std::int64_t> spotted_text_below;  // DiHT: 5 characters of the caption
  // Of the text that counts as spotted. DiHT has .8, of a spotter of its own; the confidence of Tesseract,
  // which reads here, says the same at .5 (worker/spotting/README.md: recall .93 there, .895 at .8).
  double spot_confidence = 0.5;
  std::vector<std::string> unique;       // "image", "text", "pair": of equal ones keep the first
  std::vector<std::string> near_unique;  // "image", "embedding", "text": of a cluster keep the first
  std::vector<std::string> against;      // data sets that no image may have an equal or near-duplicate in
  std::vector<ColumnRule> columns;
  std::string keep_list, drop_list;  // files of keys, one a line
  std::string list_by = "key";       // "key", or a string column of .json: "uid"
  std::string random_like;           // control: as many samples as this filter stage keeps, at random
  std::int64_t seed = 0;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data sets", .least = 1, .required = true});
    v.field("short_side_over_px", short_side_over_px,
            {.help = "ALIGN rule 1: keep if the short side is over this", .least = 0, .most = 16384});
    v.field("aspect_below", aspect_below,
            {.help = "ALIGN rule 1: keep if long/short is below this", .least = 1, .most = 16384});
    v.field("min_words", min_words,
            {.help = "ALIGN rule 6: fewest words of a text", .least = 0, .most = 100000});
    v.field("max_words", max_words,
            {.help = "ALIGN rule 6: most words of a text", .least = 1, .most = 1000000});
    v.field("max_images_per_text", max_images_per_text,
            {.help = "ALIGN rule 4 (10): images that may share a text; needs pair_counts",
             .least = 1,
             .most = 1e12});
    v.field("max_texts_per_image", max_texts_per_image,
            {.help = "ALIGN rule 2 (1000): texts one image may have; needs pair_counts",
             .least = 1,
             .most = 1e12});
    v.field(
        "max_ngrams", max_ngrams,
        {.help = "ALIGN rule 5 (1e8): every word and pair of words of a text is among the most frequent so "
                 "many; needs ngram_counts",
         .least = 1,
         .most = 1e12});
    v.field(
        "min_ngram_count", min_ngram_count,
        {.help = "ALIGN rule 5 by count: every word and pair of words occurs so often; needs ngram_counts",
         .least = 1,
         .most = 1e12});
    visit_texts(v);
    visit_others(v);
  }

 private:
  template <class Visitor>
  void visit_texts(Visitor& v) {
    v.field("languages", languages, {.help = "codes of the languages to keep, as CLD2 names them: en"});
    v.field("keep_unknown_language", keep_unknown_language,
            {.help = "keep texts whose language cannot be told",
             .unread = unless(!languages.empty(), "languages names none, so any is kept")});
    v.field("min_complexity", min_complexity,
            {.help = "DiHT's C (1): most relations and attributes of one entity", .least = 0, .most = 1000});
    v.field("min_actions", min_actions,
            {.help = "DiHT's A (1): verbs that are actions", .least = 0, .most = 1000});
    v.field("count_intransitive", count_intransitive,
            {.help = "a verb without object is a relation of its subject",
             .unread = unless(min_complexity.has_value(), "min_complexity is off")});
    v.field("spotted_text_below", spotted_text_below,
            {.help = "DiHT's T (5): characters in a row of the caption that are written in the picture; a "
                     "caption with so many is dropped",
             .least = 1,
             .most = 100000});
    v.field("spot_confidence", spot_confidence,
            {.help = "DiHT's T: least confidence of text that counts as spotted; DiHT has 0.8 for its own "
                     "spotter, 0.5 is as strict for Tesseract",
             .least = 0.3,
             .most = 1,
             .unread = unless(spotted_text_below.has_value(), "spotted_text_below is off")});
  }
  template <class Visitor>
  void visit_others(Visitor& v) {
    v.field("near_unique", near_unique,
            {.help = "image, embedding, text: of samples that are nearly the same the first is kept; needs "
                     "near_duplicates by hash, embedding or caption"});
    v.field("against", against,
            {.help = "ALIGN rule 3: data sets, for example test sets, whose images and their near-duplicates "
                     "are dropped here; needs near_duplicates over them too"});
    v.field(
        "unique", unique,
        {.help = "image, text, pair: of samples that are equal in it the first is kept; needs duplicates"});
    v.field("columns", columns, {.help = "rules over members of .json and over scores", .most = 64});
    v.field("keep_list", keep_list, {.help = "file of keys, one a line: all others are dropped"});
    v.field("drop_list", drop_list, {.help = "file of keys, one a line: these are dropped"});
    v.field("list_by", list_by,
            {.help = "what the lists hold: key, or a member of .json",
             .least = 1,
             .unread =
                 unless(!keep_list.empty() || !drop_list.empty(), "there is no keep_list and no drop_list")});
    v.field("random_like", random_like,
            {.help = "control of the size of another filter stage: so many samples at random"});
    v.field("seed", seed,
            {.help = "of random_like",
             .least = 0,
             .most = 9007199254740992.0,
             .unread = unless(!random_like.empty(), "random_like is off")});
  }
};

// tally. Distinct images per text and distinct texts per image, exact for any worker count.
struct PairCountsSettings {
  static constexpr const char* kKind = "pair_counts";
  std::vector<std::string> data;
  std::int64_t partitions = 8;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data sets, counted together", .least = 1, .required = true});
    v.field("partitions", partitions, {.help = "merge tasks", .least = 1, .most = 4096});
  }
};

// tally. How often every word and pair of neighbouring words occurs (ALIGN rule 5, METHODS 3.1), exact for
// any worker count and any memory.
struct NgramCountsSettings {
  static constexpr const char* kKind = "ngram_counts";
  std::vector<std::string> data;
  std::int64_t partitions = 8;
  std::int64_t memory_mib = 256;  // of the table of one task; beyond it sorted runs go to disk

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data sets, counted together", .least = 1, .required = true});
    v.field("partitions", partitions, {.help = "merge tasks", .least = 1, .most = 4096});
    v.field("memory_mib", memory_mib,
            {.help = "memory of the table of one task; beyond it sorted runs are written to disk",
             .least = 1,
             .most = 1048576});
  }
};

// tally. Samples with the same image, text or both, for the filter's `unique`.
struct DuplicatesSettings {
  static constexpr const char* kKind = "duplicates";
  std::vector<std::string> data;
  std::int64_t partitions = 8;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data sets, compared together", .least = 1, .required = true});
    v.field("partitions", partitions, {.help = "merge tasks", .least = 1, .most = 4096});
  }
};

enum class NearBy { kHash, kEmbedding, kCaption };
constexpr std::array<std::string_view, 3> names_of(NearBy) {
  return {"hash", "embedding", "caption"};
}

// tally. Clusters of samples that are nearly the same, for the filter's `near_unique` and `against`: images
// by a perceptual hash or by a model's embedding, captions by the words that they share.
struct NearDuplicatesSettings {
  static constexpr const char* kKind = "near_duplicates";
  std::vector<std::string> data;
  NearBy by = NearBy::kHash;
  std::int64_t max_hash_distance = 10;  // bits of 64
  std::string model;                    // by embedding: a name in spec.models, or "stage:<train stage>"
  double least_cosine = 0.95;
  std::int64_t shingle_words = 2;  // by caption: words in a row that make an element of its set
  double least_jaccard = 0.7;
  std::int64_t partitions = 8;
  SearchKind search = SearchKind::kAuto;  // by embedding: how candidates are found
  double least_recall = 0.99;             // of pairs, where lists find them

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data sets, compared together", .least = 1, .required = true});
    v.field("by", by,
            {.help = "hash: images by perceptual hash; embedding: images by cosine similarity; caption: "
                     "texts by MinHash over their words in a row"});
    v.field("max_hash_distance", max_hash_distance,
            {.help = "hash: bits of 64 in which the hashes of near-duplicates differ at most; 10 holds for "
                     "re-encoding, resizing by half and cropping 3 % on every side",
             .least = 0,
             .most = 12,
             .unread = unless(by == NearBy::kHash, "only near-duplicates by hash have it")});
    v.field("model", model,
            {.help = "embedding: a name in spec.models whose image tower is frozen (its features, shared "
                     "with an embed stage), or stage:<name> of a train stage (its shared space)"});
    v.field("least_cosine", least_cosine,
            {.help = "embedding: least cosine of near-duplicates; what fits depends on the model",
             .least = 0.1,
             .most = 1,
             .unread = unless(by == NearBy::kEmbedding, "only near-duplicates by embedding have it")});
    v.field("shingle_words", shingle_words,
            {.help = "caption: so many words in a row are one element of a text's set",
             .least = 1,
             .most = 8,
             .unread = unless(by == NearBy::kCaption, "only near-duplicates by caption have it")});
    v.field("least_jaccard", least_jaccard,
            {.help = "caption: least share of all elements of two texts that both have",
             .least = 0.4,
             .most = 1,
             .unread = unless(by == NearBy::kCaption, "only near-duplicates by caption have it")});
    v.field("partitions", partitions, {.help = "tasks that search for pairs", .least = 1, .most = 4096});
    visit_search(v);
  }

 private:
  template <class Visitor>
  void visit_search(Visitor& v) {
    const bool embeds = by == NearBy::kEmbedding;
    v.field("search", search,
            {.help = "embedding: exact: every pair is looked at (quadratic in the number of images); "
                     "approximate: lists of 8-bit codes offer pairs, whose cosine decides; auto: approximate "
                     "from 50000 images",
             .unread = unless(embeds, "only near-duplicates by embedding are searched for"),
             .added = true});
    v.field("least_recall", least_recall,
            {.help = "embedding: the share of near-duplicate pairs that lists must offer, measured on "
                     "held-back images",
             .least = 0.5,
             .most = 1,
             .unread = unless(embeds && search != SearchKind::kExact,
                              "only near-duplicates by embedding whose search is not exact have lists"),
             .added = true});
  }
};

// map. How well image and text fit by a model: CLIP score, the cosine of both in the shared space, of a
// sample with several captions the best one's (METHODS 2.2; DataComp's CLIP filters, FORMATS 3).
struct PairScoresSettings {
  static constexpr const char* kKind = "pair_scores";
  static constexpr bool kWholeModel = true;  // similarity means something when both projections were learnt
  std::vector<std::string> data;
  std::string model;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data sets", .least = 1, .required = true});
    v.field("model", model,
            {.help = "stage:<name> of a train stage, or a name in spec.models whose init_from brings both "
                     "towers (frozen) and their projections",
             .required = true});
  }
};

// What stands in `near_unique` -> `by` of the stage whose clusters it reads; nothing for anything else.
inline std::optional<NearBy> near_duplicates_by(std::string_view unique) {
  if (unique == "image") return NearBy::kHash;
  if (unique == "text") return NearBy::kCaption;
  return from_name<NearBy>(unique == "embedding" ? unique : "");
}

// map, one task per shard. Curated tars in img2dataset's shape: members copied byte for byte, keys kept.
struct ExportSettings {
  static constexpr const char* kKind = "export";
  std::vector<std::string> data;
  bool drop_captions = true;       // CLIP_benchmark tars: write only the captions that passed
  std::string uid_column = "uid";  // 32 hex digits in .json; DataComp's subset.npy is written where present

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data sets", .least = 1, .required = true});
    v.field("drop_captions", drop_captions,
            {.help = "of samples with several captions write only those that passed the filter"});
    v.field("uid_column", uid_column,
            {.help = "member of .json with 32 hex digits: DataComp's subset.npy of the kept samples",
             .least = 1});
  }
};

// What the measuring step of a filter is asked for: everything that decides its bytes, no threshold.
struct MeasureSettings {
  bool language = false, parse = false, ngrams = false, pairs = false, spot = false;
  bool decode = true;  // every byte of the pictures; a filter before has done it where this is off
  std::vector<std::string> unique, near, against;
  std::vector<std::string> columns, scores;  // members of .json; names of scores
  std::vector<std::string> score_folders;    // beside scores

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("language", language);
    v.field("parse", parse);
    v.field("ngrams", ngrams);
    v.field("pairs", pairs);
    v.field("near", near);
    v.field("spot", spot);
    v.field("decode", decode);
    v.field("unique", unique);
    v.field("against", against);
    v.field("columns", columns);
    v.field("scores", scores);
    v.field("score_folders", score_folders);
  }
};
MeasureSettings measures_of(const FilterSettings& settings);
std::string measure_json(const MeasureSettings& settings);
MeasureSettings measure_from_json(std::string_view json_text);

}  // namespace trireme::jobs
