#include "worker/stages/caption/caption_stage.h"

#include <algorithm>
#include <map>
#include <set>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/random.h"
#include "jobs/specification/job_spec.h"
#include "worker/data/batches/image_batch.h"

#include "worker/data/shards/shard_reader.h"
#include "worker/data/shards/written_captions.h"
#include "worker/models/autocast.h"
#include "worker/models/captioner/captioner.h"
#include "worker/runtime/batches.h"

namespace trireme::worker::stages::caption {
namespace {

using Ids = std::vector<std::int64_t>;

models::DecodingOptions decoding_of(const jobs::CaptionSettings& settings) {
  models::DecodingOptions options;
  options.method = settings.method;
  // Also with rules: a beam's change log-probabilities, those of greedy logits, as transformers has both.
  if (options.method == jobs::CaptionMethod::kBeam && settings.beams == 1)
    options.method = jobs::CaptionMethod::kGreedy;
  options.beams = settings.beams;
  options.length_penalty = settings.length_penalty;
  options.top_p = settings.top_p;
  options.temperature = settings.temperature;
  options.seed = static_cast<std::uint64_t>(settings.seed);
  options.max_length = settings.max_length;
  options.rules.repetition_penalty = settings.repetition_penalty;
  options.rules.no_repeat_ngram = settings.no_repeat_ngram;
  options.rules.min_length = settings.min_length;
  return options;
}

// What stands in the sidecar's head: all that decides the words beside model and shard.
std::string decoding_json(const jobs::CaptionSettings& settings, const std::string& prompt) {
  auto json = nlohmann::ordered_json::parse(jobs::settings_json(settings));
  for (const char* name : {"data", "model"}) json.erase(name);
  json["prompt"] = prompt;
  return json.dump();
}

struct Pass {
  const jobs::ShardRef& place;
  const data::ShardReader& shard;
  models::DualEncoder& model;
  jobs::CaptionSettings settings;
  models::DecodingOptions decoding;
  std::string device;
  const runtime::StopRequest* stop = nullptr;
};

struct WrittenBatch {
  std::vector<data::WrittenCaption> captions;
  std::map<std::string, std::int64_t> counts;
};

WrittenBatch write_batch(const Pass& pass, const std::vector<std::int64_t>& samples) {
  const at::NoGradGuard no_gradients;
  const models::Autocast autocast(pass.device, pass.settings.precision == jobs::Precision::kBf16);
  WrittenBatch batch;
  const auto pictures = data::evaluation_batch(pass.shard, samples, pass.model.image_preprocess());
  auto fault = pictures.faults.begin();
  for (std::size_t i = 0; i < samples.size(); ++i) {
    auto& one = batch.captions.emplace_back(data::WrittenCaption{samples[i], pass.shard.key(samples[i])});
    if (fault != pictures.faults.end() && fault->first == i) one.fault = (fault++)->second;
  }
  std::vector<std::uint64_t> keys;
  std::vector<std::string> names;
  for (const auto& one : batch.captions)
    if (one.fault.empty()) {
      keys.push_back(name_key(pass.place.sha256) + static_cast<std::uint64_t>(one.sample));
      names.push_back(one.key);
    } else
      ++batch.counts["bad." + one.fault];
  if (keys.empty()) return batch;
  io::take_together(names);
  const models::Captioner captioner(pass.model);
  const auto written = captioner.write(pictures.image_BCHW.to(at::Device(pass.device)),
                                       captioner.start(pass.settings.prompt), pass.decoding, keys, [&] {
                                         if (pass.stop != nullptr) pass.stop->throw_if_stopped();
                                       });
  std::size_t next = 0;
  for (auto& one : batch.captions) {
    if (!one.fault.empty()) continue;
    const models::WrittenCaption& ids = written[next++];
    one.text = captioner.words(ids.ids);
    one.log_probability = ids.log_probability;
    one.tokens = static_cast<std::int64_t>(ids.ids.size());
    one.ended = ids.ended;
    batch.counts["tokens"] += one.tokens;
    ++batch.counts[one.text.empty() ? "empty" : "captions"];
    batch.counts["cut"] += one.ended ? 0 : 1;
    batch.counts["looping"] += loops(ids.ids) ? 1 : 0;
  }
  return batch;
}

std::map<std::string, std::int64_t> counts_of(const std::vector<WrittenBatch>& batches, std::size_t in) {
  std::map<std::string, std::int64_t> counts{{"in", static_cast<std::int64_t>(in)},
                                             {"captions", 0},
                                             {"tokens", 0},
                                             {"empty", 0},
                                             {"repeated", 0},
                                             {"looping", 0},
                                             {"cut", 0}};
  std::set<std::string> seen;
  for (const auto& batch : batches) {
    for (const auto& [name, count] : batch.counts) counts[name] += count;
    for (const auto& one : batch.captions)
      if (!one.text.empty() && !seen.insert(one.text).second) ++counts["repeated"];
  }
  return counts;
}

}  // namespace

bool loops(const Ids& ids) {
  for (std::size_t run = 1; run <= 4; ++run) {
    std::size_t same = 0;  // tokens in a row that equal the one `run` before
    for (std::size_t i = run; i < ids.size(); ++i) {
      same = ids[i] == ids[i - run] ? same + 1 : 0;
      if (same == 2 * run) return true;
    }
  }
  return false;
}

jobs::TaskDone CaptionStage::work(const Task& task, runtime::TaskContext& context) {
  const auto& settings = task.settings;
  auto& model = model_.get(task.message, context.device, [this](models::DualEncoder& loaded) {
    const models::Captioner check(loaded);  // throws when it has no decoder
    fingerprint_ = models::fingerprint(loaded);
  });
  const data::ShardReader shard = task.open_shard();
  const Pass pass{task.shard(), shard, model, settings, decoding_of(settings), context.device, context.stop};
  const auto samples = task.kept(shard);
  auto batches = runtime::by_batches(samples, settings.batch, context,
                                     [&](const runtime::Samples& some) { return write_batch(pass, some); });
  jobs::TaskDone result;
  result.counts = counts_of(batches, samples.size());
  data::WrittenCaptions file{task.shard().sha256,
                             task.first(),
                             task.message.count,
                             fingerprint_,
                             decoding_json(settings, settings.prompt.value_or(model.spec().text.prompt)),
                             {}};
  for (auto& batch : batches) std::ranges::move(batch.captions, std::back_inserter(file.captions));
  data::write_captions_file(task.output(), file);

  return result;
}

}  // namespace trireme::worker::stages::caption
