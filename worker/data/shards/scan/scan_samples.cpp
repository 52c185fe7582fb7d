#include "worker/data/shards/scan/scan_samples.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/hash.h"
#include "jobs/layouts/folder_listing.h"
#include "jobs/specification/image_suffix.h"
#include "worker/data/shards/sample_fields.h"
#include "worker/data/shards/sample_json.h"

namespace trireme::worker::data {
namespace {

constexpr std::int32_t kNone = SampleGroup::kNone;
constexpr std::size_t kFirstVersionImages = 4;  // of jobs::kImageSuffixes: what version 1 read

bool several_lines(std::string_view text) {
  const auto end = text.find('\n');
  return end != std::string_view::npos && text.find_first_not_of("\r\n \t", end) != std::string_view::npos;
}

}  // namespace

TextForm text_form(const jobs::SourceSpec& source, bool lines) {
  if (source.captions == jobs::CaptionForm::kNone) return TextForm::kNone;
  if (!source.caption_field.empty()) return TextForm::kField;
  return lines ? TextForm::kLines : TextForm::kWhole;
}

void note(const CaptionText& text, ShardScan& scan) {
  if (text.long_caption > 0) scan.noted["long_caption"] += text.long_caption;
  if (text.bad_text > 0) scan.noted["bad_text"] += text.bad_text;
}

std::int64_t parse_label(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const auto last = text.find_last_not_of(" \t\r\n");
  text = text.substr(0, last == std::string_view::npos ? 0 : last + 1);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && !text.empty();
  return whole && value >= 0 ? value : -1;
}

std::string reading_of(const ShardIndex& index) {
  return "2:" + io::hex(io::xxh3_64(encode_index(index)));
}

void SampleScan::take(const SampleGroups& groups, std::vector<SampleGroup> found, bool cut_short) {
  auto& seen = scan_.seen;
  for (const char* name : {"members", "members.kept", "members.bad", "members.other"}) seen[name] += 0;
  seen["members"] += groups.members();
  if (groups.hidden() > 0) seen["members.hidden"] += groups.hidden();
  if (groups.linked() > 0) seen["linked"] += groups.linked();
  seen["members.other"] += groups.nameless();
  bool as_before = groups.hidden_as_before() && text_in_shard(index_.kind) && form_ != TextForm::kNone;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const SampleGroup& group = found[i];
    const bool whole = group.image != kNone && (group.text != kNone || group.label != kNone);
    if (!group.is_sample() || (cut_short && i + 1 == found.size() && !whole)) {
      seen["members.other"] += group.members;
      continue;
    }
    const std::size_t before = index_.samples.size();
    judge(groups, group);
    const bool kept = index_.samples.size() > before;
    seen[kept ? "members.kept" : "members.bad"] += group.members;
    if (kept && group.joined) ++seen["joined"];
    if (kept && group.inner_dot) ++seen["last_dot"];
    as_before =
        as_before && !group.joined && !(kept && (group.inner_dot || group.image_rank >= kFirstVersionImages));
  }
  const auto hidden = groups.hidden();
  if (seen["members.kept"] + seen["members.bad"] + seen["members.other"] + hidden != seen["members"])
    throw Error(ErrorKind::kInternal,
                "the members of a shard do not add up: " + std::to_string(seen["members"]) + " were found, " +
                    std::to_string(seen["members.kept"]) + " kept, " + std::to_string(seen["members.bad"]) +
                    " bad, " + std::to_string(seen["members.other"]) + " no data, " + std::to_string(hidden) +
                    " hidden");
  if (unjoined_ > 0)
    throw Error(ErrorKind::kInvalid,
                std::to_string(unjoined_) + " of " + std::to_string(looked_up_) +
                    " samples have no row in the parquet that the source names (first: " + first_unjoined_ +
                    ")",
                "its \"key\" is the sample's name, or its \"uid\" that of the .json");
  if (!as_before) scan_.reading = reading_of(index_);
}

void SampleScan::blame(const SampleGroups& groups, const SampleGroup& group, const std::string& reason) {
  const bool odd = reason == "unusual_suffix";
  scan_.blame(odd ? groups.name(group.first) : group.key, reason);
  if (odd) scan_.bad[reason] += group.odd_images - 1;  // each picture counts
}

void SampleScan::join_columns(const io::Path& shard, const std::vector<SampleGroup>& found) {
  if (source_.parquet.empty()) return;
  std::vector<std::string> ids;
  for (const SampleGroup& group : found) {
    ids.push_back(group.key.substr(group.key.rfind('/') + 1));
    if (group.json == kNone) continue;
    std::string storage;
    for (auto& uid : strings_at(places_.bytes(group.json, storage), "uid")) ids.push_back(std::move(uid));
  }
  rows_ = read_parquet_rows(jobs::parquet_of(shard, source_.parquet), ids);
}

std::string_view SampleScan::json_of(const SampleGroup& group, std::string& storage) {
  const std::string_view own = group.json == kNone ? std::string_view() : places_.bytes(group.json, storage);
  if (!rows_) return own;
  ++looked_up_;
  auto row = rows_->find(group.key.substr(group.key.rfind('/') + 1));
  if (row == rows_->end())
    if (const auto uid = strings_at(own, "uid"); !uid.empty()) row = rows_->find(uid.front());
  if (row == rows_->end()) {
    if (unjoined_++ == 0) first_unjoined_ = group.key;
    return own;
  }
  joined_ = with_columns(own, row->second);
  return joined_;
}

CaptionText SampleScan::texts_of(const SampleGroup& group, std::string_view json) {
  if (form_ == TextForm::kNone) return {};
  std::string storage;
  if (form_ == TextForm::kField) {
    CaptionText all;
    for (const std::string& raw : strings_at(json, source_.caption_field)) {
      const CaptionText text = read_caption(raw);
      all.bad_text += text.bad_text;
      all.long_caption += text.long_caption;
      all.captions.insert(all.captions.end(), text.captions.begin(), text.captions.end());
    }
    return all;
  }
  if (group.text == kNone) return {};
  const std::string_view raw = places_.bytes(group.text, storage);
  ++scan_.seen["texts"];
  if (several_lines(raw)) ++scan_.seen["texts.lines"];
  return form_ == TextForm::kLines ? read_caption_lines(raw) : read_caption(raw);
}

void SampleScan::judge(const SampleGroups& groups, const SampleGroup& group) {
  if (!seen_.insert(group.key).second) return blame(groups, group, "duplicate_key");
  if (group.image == kNone)
    return blame(groups, group,
                 group.other_image      ? "unsupported_image"
                 : group.odd_images > 0 ? "unusual_suffix"
                                        : "no_image");
  std::string storage, label_storage;
  IndexSample sample;
  if (places_.label >= 0) sample.label = places_.label;
  const bool has_label = group.label != kNone;
  if (has_label) sample.label = parse_label(places_.bytes(group.label, label_storage));
  const bool json_wanted = rows_.has_value() || form_ == TextForm::kField || !json_in_shard(index_.kind);
  const std::string_view json = json_wanted ? json_of(group, storage) : std::string_view();
  const CaptionText text = texts_of(group, json);
  if (group.json != kNone && !json_fault(places_.bytes(group.json, label_storage)).empty())
    ++scan_.seen["json.unreadable"];
  const bool bad_label = has_label && sample.label < 0;
  if (text.captions.empty() && sample.label < 0 && form_ != TextForm::kNone)
    return blame(groups, group, bad_label ? "bad_label" : text.bad_text > 0 ? "bad_text" : "no_caption");
  if (bad_label) ++scan_.noted["bad_label"];
  note(text, scan_);
  scan_.labels = scan_.labels || sample.label >= 0;
  if (sample.label >= 0) {
    auto& largest = scan_.seen["label.largest"];
    largest = std::max(largest, sample.label);
  }
  scan_.captions += static_cast<std::int64_t>(text.captions.size());
  sample.image = places_.range(group.image);
  if (text_in_shard(index_.kind)) {
    if (group.text != kNone && form_ != TextForm::kNone) sample.text = places_.range(group.text);
  } else {
    sample.text = {index_.captions.size(), text.captions.size()};
    for (const std::string& caption : text.captions) index_.captions.push_back(index_.intern(caption));
  }
  if (!json_in_shard(index_.kind))
    sample.json = index_.intern(json);
  else if (group.json != kNone)
    sample.json = places_.range(group.json);
  sample.key = index_.intern(valid_utf8(group.key) ? group.key : printable(group.key));
  index_.samples.push_back(sample);
}

namespace {

// "input.jpg (16), output.txt (16)": the most frequent first.
std::string census(const SampleGroups& groups, const std::vector<SampleGroup>& found,
                   const std::function<bool(const SampleGroup&, const std::string&)>& counts_it) {
  const auto& names = groups.suffix_names();
  std::vector<std::int64_t> counts(names.size());
  for (const SampleGroup& group : found)
    for (const std::uint16_t id : group.suffixes)
      if (id < names.size() && counts_it(group, names[id])) ++counts[id];
  std::vector<std::size_t> order(names.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return counts[a] > counts[b]; });
  std::string text;
  for (std::size_t i = 0; i < order.size() && i < 6 && counts[order[i]] > 0; ++i)
    text += (i == 0 ? "." : ", .") + printable(names[order[i]], 80) + " (" +
            std::to_string(counts[order[i]]) + ")";
  return text;
}

bool is_of(const ShardScan& scan, const char* reason) {
  const auto found = scan.bad.find(reason);
  return found != scan.bad.end() && found->second > 0;
}

std::string caption_advice(const jobs::SourceSpec& source, const SampleGroups& groups,
                           const std::vector<SampleGroup>& found, const MemberPlaces& places) {
  std::string fields;
  for (const SampleGroup& group : found) {
    if (group.image == kNone || group.json == kNone) continue;
    std::string storage;
    for (const auto& name : members_with_text(places.bytes(group.json, storage)))
      fields += (fields.empty() ? "" : ", ") + printable(name, 80);
    break;
  }
  if (!source.caption_field.empty())
    return "no text at caption_field \"" + source.caption_field + "\" of the .json" +
           (source.parquet.empty() ? "" : ", nor of the parquet") +
           (fields.empty() ? "" : "; text is in: " + fields);
  if (!fields.empty())
    return "captions are looked for in .txt members; the .json has text in: " + fields +
           " (set caption_field of the source to one of them)";
  for (const SampleGroup& group : found) {
    std::string storage;
    if (group.image != kNone && group.text != kNone &&
        read_caption(places.bytes(group.text, storage)).captions.empty())
      return "the .txt of " + printable(group.key, 100) + " is empty";
  }
  const auto others = census(groups, found, [](const SampleGroup& group, const std::string& suffix) {
    return group.image != kNone && group.text == kNone && suffix != "json" && !jobs::is_image_suffix(suffix);
  });
  if (!others.empty())
    return "captions are looked for in .txt members; beside the pictures stand: " + others +
           " (set text_member of the source to the one with the captions)";
  return "captions are looked for in .txt members beside the pictures; photographs without captions are read "
         "with "
         "captions \"none\" of the source, which is enough to embed, index and caption them";
}

// Which .json is the first that nothing is read from, and why.
std::string json_advice(const std::vector<SampleGroup>& found, const MemberPlaces& places,
                        const ShardScan& scan) {
  const auto count = scan.seen.find("json.unreadable");
  if (count == scan.seen.end()) return "";
  for (const SampleGroup& group : found) {
    std::string storage;
    if (group.image == kNone || group.json == kNone) continue;
    if (const std::string why = json_fault(places.bytes(group.json, storage)); !why.empty())
      return "nothing is read from " + std::to_string(count->second) +
             " .json (first: " + printable(group.key, 100) + ".json: " + why + ")";
  }
  return "";
}

}  // namespace

std::string scan_advice(const jobs::SourceSpec& source, const SampleGroups& groups,
                        const std::vector<SampleGroup>& found, const MemberPlaces& places,
                        const ShardScan& scan) {
  std::string advice;
  const auto say = [&](const std::string& text) { advice += (advice.empty() ? "" : "; ") + text; };
  if (is_of(scan, "no_caption")) say(caption_advice(source, groups, found, places));
  if (is_of(scan, "unusual_suffix")) {
    const auto of_odd = [](const SampleGroup& group, const std::string&) {
      return group.image == kNone && group.odd_images > 0;
    };
    say("pictures are looked for as .jpg, .png …, texts as .txt; these members are called " +
        census(groups, found, of_odd) + " (name them with image_member and text_member of the source" +
        (source.key == jobs::SampleKey::kFirstDot ? ", or set key to \"last_dot\")" : ")"));
  }
  if (is_of(scan, "unsupported_image"))
    say("pictures that are not read: " +
        census(groups, found, [](const SampleGroup& group, const std::string& suffix) {
          return group.image == kNone && jobs::is_other_image_suffix(suffix);
        }));
  if (is_of(scan, "duplicate_key"))
    say("a name stands for one sample of a shard only: rename the later ones");
  if (is_of(scan, "symbolic_link")) say("a symbolic link holds no bytes: tar -h packs what links point to");
  if (is_of(scan, "broken_link")) say("a hard link names an earlier member, and these name none");
  if (is_of(scan, "sparse")) say("files with holes are not read: tar without --sparse packs them whole");
  if (is_of(scan, "bad_label")) say("a .cls holds a whole number, which counts the classes from 0");
  if (is_of(scan, "bad_text"))
    say("captions are UTF-8: iconv -f LATIN1 -t UTF-8 (or -f UTF-16) writes them anew");
  if (is_of(scan, "no_image") && advice.empty()) {
    const auto others = census(groups, found, [](const SampleGroup& group, const std::string& suffix) {
      return group.image == kNone && group.text != kNone && suffix != "json" && suffix != "txt" &&
             suffix != "cls";
    });
    say(others.empty() ? "texts without a picture of the same name"
                       : "pictures are looked for as .jpg, .png …; beside the texts stand: " + others +
                             " (set image_member of the source to the one that is the picture)");
  }
  if (const std::string unread = json_advice(found, places, scan); !unread.empty()) say(unread);
  if (scan.samples == 0 && scan.bad.empty()) {
    const auto all = census(groups, found, [](const SampleGroup&, const std::string&) { return true; });
    say("none of its " + std::to_string(groups.members()) + " members is a picture, a .txt or a .cls" +
        (all.empty() ? "" : "; they are " + all) +
        (groups.hidden() > 0 ? "; " + std::to_string(groups.hidden()) + " are hidden files" : ""));
  }
  return advice;
}

}  // namespace trireme::worker::data
