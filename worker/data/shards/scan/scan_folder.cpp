#include <algorithm>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "jobs/layouts/folder_listing.h"
#include "jobs/layouts/leftover.h"
#include "worker/data/shards/scan/scan_samples.h"
#include "worker/data/shards/scan/shard_scan.h"

namespace trireme::worker::data {

void scan_folder(const io::Path& folder, bool is_class, const jobs::SourceSpec& source,
                 const std::function<void()>& poll, ShardIndex& index, ShardScan& scan) {
  const auto files = jobs::files_of_folder(folder, is_class);
  const std::int64_t label = is_class ? jobs::class_of_folder(folder) : -1;
  io::Sha256 hash;
  hash.update("files " + std::to_string(label) + "\n");
  SampleGroups groups(source, text_form(source, false) == TextForm::kField);
  for (const auto& file : files) {
    if (poll) poll();
    if (file.bytes == 0 && !io::is_file(folder / file.name)) {
      scan.blame(file.name, "not_regular");
      continue;
    }
    groups.add(file.name);
    if (jobs::is_leftover(file.name)) continue;
    const io::MappedFile mapped(folder / file.name);
    hash.update(file.name + "\n" + std::to_string(mapped.bytes().size()) + "\n");
    hash.update({reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()});
    index.shard_bytes += mapped.bytes().size();
  }
  index.sha256 = hash.finish_hex();
  const MemberPlaces places{[&](std::int32_t member, std::string& storage) -> std::string_view {
                              storage = io::read_file(folder / groups.name(member), std::uint64_t{64} << 20);
                              return storage;
                            },
                            [&](std::int32_t member) { return index.intern(groups.name(member)); }, label};
  const auto samples = groups.finish();
  SampleScan rows(source, text_form(source, source.captions == jobs::CaptionForm::kLines), places, index,
                  scan);
  rows.join_columns(folder, samples);
  rows.take(groups, samples, false);
  scan.samples = static_cast<std::int64_t>(index.samples.size());
  scan.advice = scan_advice(source, groups, samples, places, scan);
}

}  // namespace trireme::worker::data
