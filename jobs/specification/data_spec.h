// Named data sets: where image–text pairs come from.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/specification/json/fields.h"

namespace trireme::jobs {

// Scenes that Trireme renders itself, with known noise (worker/stages/synthesize). Fractions are of all
// samples and disjoint.
struct SyntheticSpec {
  std::int64_t samples = 4096;
  std::int64_t shards = 16;
  std::int64_t seed = 1;
  std::int64_t image_px = 128;
  std::int64_t captions = 5;  // true captions written per clean sample
  double actions = 0;         // share of the true captions that say what the objects do
  double swapped = 0;         // another scene's caption
  double boilerplate = 0;     // alt-text that many images share
  double duplicate = 0;       // byte-equal copy of an earlier sample
  double near_duplicate = 0;  // re-encoded or slightly cropped copy
  double tiny = 0;            // short side below ALIGN's 200 px scaled to image_px (truth names the rule)
  double stretched = 0;       // aspect ratio over 3
  double foreign = 0;         // caption in another language
  double drawn_text = 0;      // the caption's words drawn into the picture

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("samples", samples, {.help = "how many samples", .least = 1, .most = 1e9});
    v.field("shards", shards, {.help = "tar files", .least = 1, .most = 1e6});
    v.field("seed", seed, {.help = "another seed, other scenes", .least = 0, .most = 9007199254740992.0});
    v.field("image_px", image_px, {.help = "side of an ordinary scene", .least = 16, .most = 1024});
    v.field("captions", captions, {.help = "true captions per clean sample", .least = 1, .most = 16});
    v.field("actions", actions,
            {.help = "share of true captions that say what the objects do",
             .least = 0,
             .most = 1,
             .added = true});
    v.field("swapped", swapped, {.help = "share with another scene's caption", .least = 0, .most = 1});
    v.field("boilerplate", boilerplate,
            {.help = "share with alt-text that many images have", .least = 0, .most = 1});
    v.field("duplicate", duplicate, {.help = "share of byte-equal copies", .least = 0, .most = 1});
    v.field("near_duplicate", near_duplicate, {.help = "share of re-encoded copies", .least = 0, .most = 1});
    v.field("tiny", tiny, {.help = "share of tiny images", .least = 0, .most = 1});
    v.field("stretched", stretched,
            {.help = "share of images with aspect ratio over 3", .least = 0, .most = 1});
    v.field("foreign", foreign, {.help = "share of captions in another language", .least = 0, .most = 1});
    v.field("drawn_text", drawn_text,
            {.help = "share with the caption drawn into the picture", .least = 0, .most = 1});
  }
};

// How a path holds its samples.
enum class DataFormat : std::uint8_t {
  kUnset,
  kAuto,
  kWebdataset,
  kClipBenchmark,
  kTable,
  kFiles,
  kClassFolders
};
constexpr std::array<std::string_view, 7> names_of(DataFormat) {
  return {"", "auto", "webdataset", "clip_benchmark", "table", "files", "class_folders"};
}
// Where a sample's name ends.
enum class SampleKey { kAuto, kFirstDot, kLastDot };
constexpr std::array<std::string_view, 3> names_of(SampleKey) {
  return {"auto", "first_dot", "last_dot"};
}
// What a text holds; none: photographs alone.
enum class CaptionForm { kAuto, kOne, kLines, kNone };
constexpr std::array<std::string_view, 4> names_of(CaptionForm) {
  return {"auto", "one", "lines", "none"};
}

struct SourceSpec {
  std::string path;  // tar, folder of tars, CLIP_benchmark folder, .csv/.tsv; exactly one of path, synthetic
  std::optional<SyntheticSpec> synthetic;
  double weight = 1;  // times a sample is seen per epoch; the fraction by a keyed draw per epoch
  DataFormat format = DataFormat::kAuto;
  DataFormat layout = DataFormat::kUnset;  // another name of format
  std::string image_column = "filepath";   // table: column names (open_clip's defaults)
  std::string caption_column = "title";
  // How members and files become samples; "" and "auto": found out, and shown by plan.
  SampleKey key = SampleKey::kAuto;
  CaptionForm captions = CaptionForm::kAuto;
  std::string image_member, text_member;  // suffixes of the parts, where they are not .jpg … and .txt
  std::string caption_field;              // the caption is this member of .json (a string, or a list of them)
  std::string separator;                  // table: "," "\t" ";" "|" …
  bool exif_orientation = false, icc_to_srgb = false;  // of the pictures, wherever they are decoded
  std::string parquet;  // img2dataset's or DataComp's columns, joined as .json: a file or folder, ".": beside

  DataFormat wanted_layout() const { return layout == DataFormat::kUnset ? format : layout; }

  template <class Visitor>
  void visit(Visitor& v) {
    const bool tar = synthetic.has_value() || path.ends_with(".tar") || format == DataFormat::kWebdataset ||
                     format == DataFormat::kClipBenchmark;
    v.field("path", path,
            {.help = "a .tar, a folder of them, a CLIP_benchmark folder, a .csv/.tsv/.jsonl of paths and "
                     "captions, or "
                     "a folder of pictures"});
    v.field("synthetic", synthetic, {.help = "scenes that Trireme renders, instead of a path"});
    v.field("weight", weight, {.help = "times each sample is seen per epoch", .least = 0.001, .most = 1000});
    v.field("format", format,
            {.help = "layout of path",
             .choices = {"auto", "webdataset", "clip_benchmark", "table", "files", "class_folders"}});
    v.field("layout", layout, {.help = "the same as format", .quiet = true});
    v.field(
        "image_column", image_column,
        {.help = "table: column of image paths", .least = 1, .unread = unless(!tar, "tars have no columns")});
    v.field(
        "caption_column", caption_column,
        {.help = "table: column of captions", .least = 1, .unread = unless(!tar, "tars have no columns")});
    v.field(
        "key", key,
        {.help =
             "where a sample's name ends: at the first dot of a member's name (webdataset) or at the last; "
             "auto: the last where that makes more samples whole",
         .quiet = true});
    v.field(
        "captions", captions,
        {.help = "a text is one caption, or has one a line; none: pictures without captions", .quiet = true});
    v.field("image_member", image_member,
            {.help = "suffix of the pictures, when it is no usual one: \"input.jpg\"", .quiet = true});
    v.field("text_member", text_member, {.help = "suffix of the texts, when it is not txt", .quiet = true});
    v.field("caption_field", caption_field,
            {.help = "member of .json that holds the caption", .quiet = true});
    v.field("separator", separator,
            {.help = "table: the character between two fields (\\t: a tab)",
             .most = 2,
             .quiet = true,
             .unread = unless(!tar, "tars have no columns")});
    v.field("exif_orientation", exif_orientation,
            {.help = "pictures are turned as their EXIF orientation says (Pillow's ImageOps.exif_transpose)",
             .quiet = true});
    v.field("icc_to_srgb", icc_to_srgb,
            {.help = "pictures with an ICC profile become sRGB (Pillow's ImageCms.profileToProfile)",
             .quiet = true});
    v.field(
        "parquet", parquet,
        {.help =
             "parquet whose columns stand for the samples' .json, joined by key or uid: a file, a folder, "
             "or \".\" for the one beside each shard",
         .quiet = true});
  }
};

// A plain string in the job file is short for {"sources": [{"path": …}]}; with one source its fields may
// stand beside those of the data set: {"path": …, "select": "0:400"}.
struct DataSpec {
  std::vector<SourceSpec> sources;
  std::string select;  // "0:400": positions in manifest order; empty: all
  std::vector<std::string>
      classes;  // class names; empty: classnames.txt beside the shards when there are labels
  // Captions of labelled samples that have no text; {c} is the class name.
  std::vector<std::string> caption_templates = {"a photo of a {c}."};
  double max_bad_fraction = 0.1;  // bad samples over all; above it the job fails
  bool allow_empty_shards = false;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("sources", sources,
            {.help = "where the pairs come from", .least = 1, .most = 1000, .required = true});
    visit_common(v);
  }

  template <class Visitor>
  void visit_common(Visitor& v) {
    v.field("select", select, {.help = "first:last positions in manifest order, last excluded"});
    v.field("classes", classes, {.help = "class names, when classnames.txt does not hold them"});
    v.field("caption_templates", caption_templates,
            {.help = "captions for labelled samples; {c} is the class name"});
    v.field("max_bad_fraction", max_bad_fraction,
            {.help = "share of bad samples above which the job fails", .least = 0, .most = 1});
    v.field("allow_empty_shards", allow_empty_shards, {.help = "accept a shard without any usable sample"});
  }
};

}  // namespace trireme::jobs
