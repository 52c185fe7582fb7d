#include "worker/stages/synthesize/sample_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "worker/data/batches/order.h"
#include "worker/stages/synthesize/captions.h"
#include "worker/stages/synthesize/render.h"

namespace trireme::worker::stages::synthesize {
namespace {
constexpr int kQuality = 90;
// What a stream of a sample is for; the last number of its key.
enum Draw : std::uint32_t { kScene, kCaptions, kNoise, kTexture };

bool shows_the_same(const Scene& a, const Scene& b) {
  for (const auto& x : a.objects)
    for (const auto& y : b.objects)
      if (x.shape == y.shape && x.colour == y.colour) return true;
  return false;
}
}  // namespace

std::string_view name_of(Noise noise) {
  constexpr std::string_view kNames[] = {"none", "swapped",   "boilerplate", "duplicate", "near_duplicate",
                                         "tiny", "stretched", "foreign",     "drawn_text"};
  return kNames[static_cast<int>(noise)];
}

std::string_view expected_rule(Noise noise) {
  if (noise == Noise::kTiny) return "short_side";
  if (noise == Noise::kStretched) return "aspect";
  if (noise == Noise::kBoilerplate) return "images_per_text";
  return "";
}

std::string key_of(std::int64_t id) {
  std::array<char, 24> key{};
  std::snprintf(key.data(), key.size(), "%09lld", static_cast<long long>(id));
  return key.data();
}

Planner::Planner(const jobs::SyntheticSpec& spec) : spec_(spec) {
  double sum = 0;
  std::int64_t end = 0;
  for (const double fraction : {spec.swapped, spec.boilerplate, spec.duplicate, spec.near_duplicate,
                                spec.tiny, spec.stretched, spec.foreign, spec.drawn_text}) {
    sum += fraction;
    end += std::llround(fraction * static_cast<double>(spec.samples));
    ends_.push_back(std::min(end, spec.samples));
  }
  if (sum > 1 + 1e-9)
    throw Error(ErrorKind::kInvalid, "the kinds of noise of a synthetic source sum to " + std::to_string(sum),
                "let them sum to at most 1");
}

Noise Planner::planned_noise(std::int64_t id) const {
  const auto key = static_cast<std::uint64_t>(spec_.seed) * 2 + 1;
  const auto rank = static_cast<std::int64_t>(data::keyed_permutation(
      static_cast<std::uint64_t>(id), static_cast<std::uint64_t>(spec_.samples), key));
  const auto kind = std::upper_bound(ends_.begin(), ends_.end(), rank) - ends_.begin();
  return kind == static_cast<std::ptrdiff_t>(ends_.size()) ? Noise::kNone : static_cast<Noise>(kind + 1);
}

// An earlier clean sample, the first one from a drawn place downwards (then from the top); -1 when there is
// none.
std::int64_t Planner::original_of(std::int64_t id) const {
  if (id == 0) return -1;
  RandomStream random(static_cast<std::uint64_t>(spec_.seed), RandomPurpose::kSynthetic,
                      static_cast<std::uint64_t>(id), kNoise);
  const auto start = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(id)));
  for (std::int64_t back = 0; back < id; ++back) {
    const std::int64_t candidate = (start - back + id) % id;
    if (planned_noise(candidate) == Noise::kNone) return candidate;
  }
  return -1;
}

Noise Planner::noise_of(std::int64_t id) const {
  const Noise noise = planned_noise(id);
  const bool copy = noise == Noise::kDuplicate || noise == Noise::kNearDuplicate;
  return copy && original_of(id) < 0 ? Noise::kNone : noise;
}

Scene Planner::scene_of(std::int64_t id) const {
  RandomStream random(static_cast<std::uint64_t>(spec_.seed), RandomPurpose::kSynthetic,
                      static_cast<std::uint64_t>(id), kScene);
  return draw_scene(random);
}

SamplePlan Planner::plan(std::int64_t id) const {
  SamplePlan plan;
  plan.id = id;
  plan.noise = noise_of(id);
  const bool copy = plan.noise == Noise::kDuplicate || plan.noise == Noise::kNearDuplicate;
  if (copy) plan.copy_of = original_of(id);
  const std::int64_t shown = copy ? plan.copy_of : id;
  plan.scene = scene_of(shown);
  const auto seed = static_cast<std::uint64_t>(spec_.seed);
  RandomStream noise(seed, RandomPurpose::kSynthetic, static_cast<std::uint64_t>(id), kNoise);
  std::int64_t told = shown;
  Scene of = plan.scene;
  if (plan.noise == Noise::kSwapped) {
    for (int tries = 0; tries < 100 && (told == id || shows_the_same(of, plan.scene)); ++tries) {
      // Beyond the last sample when there are few: those scenes exist too.
      told = static_cast<std::int64_t>(noise.below(static_cast<std::uint64_t>(spec_.samples) + 1000));
      of = scene_of(told);
    }
    plan.caption_of = told;
  }
  RandomStream words(seed, RandomPurpose::kSynthetic, static_cast<std::uint64_t>(told), kCaptions);
  if (plan.noise == Noise::kBoilerplate)
    plan.captions = {boilerplate(noise)};
  else if (plan.noise == Noise::kForeign)
    plan.captions = {foreign_sentence(noise)};
  else
    plan.captions = captions_of(of, spec_.captions, spec_.actions, words);
  return plan;
}

data::Image Planner::clean_image(std::int64_t id, std::int64_t side) const {
  RandomStream texture(static_cast<std::uint64_t>(spec_.seed), RandomPurpose::kSynthetic,
                       static_cast<std::uint64_t>(id), kTexture);
  return render(scene_of(id), side, texture.next_u64());
}

std::string Planner::picture(const SamplePlan& plan) const {
  const std::int64_t side = spec_.image_px;
  RandomStream noise(static_cast<std::uint64_t>(spec_.seed), RandomPurpose::kSynthetic,
                     static_cast<std::uint64_t>(plan.id), kTexture + 1);
  const std::int64_t shown = plan.copy_of >= 0 ? plan.copy_of : plan.id;
  if (plan.noise == Noise::kTiny) {
    const auto tiny =
        std::max<std::int64_t>(8, std::llround(static_cast<double>(side) * noise.uniform(0.2, 0.4) - 0.5));
    return data::encode_jpeg(clean_image(shown, tiny), kQuality);
  }
  data::Image image = clean_image(shown, side);
  if (plan.noise == Noise::kStretched) {
    const auto longer = std::llround(static_cast<double>(side) * noise.uniform(3.2, 4.5));
    image = noise.below(2) == 0 ? stretch(image, longer, side) : stretch(image, side, longer);
  }
  if (plan.noise == Noise::kDrawnText) draw_words(image, plan.captions.front(), noise);
  if (plan.noise != Noise::kNearDuplicate) return data::encode_jpeg(image, kQuality);
  const auto margin = static_cast<std::int64_t>(noise.below(static_cast<std::uint64_t>(side / 32 + 1)));
  image = crop(image, margin, margin, side - 2 * margin, side - 2 * margin);
  return data::encode_jpeg(image, 60 + static_cast<int>(noise.below(20)));
}

std::string Planner::truth_line(const SamplePlan& plan) {
  using nlohmann::json;
  json objects = json::array();
  for (const Object& object : plan.scene.objects)
    objects.push_back({{"shape", name_of(object.shape)},
                       {"colour", colour(object.colour).name},
                       {"size", name_of(object.size)},
                       {"x", object.x},
                       {"y", object.y},
                       {"radius", object.radius}});
  const Background& background = plan.scene.background;
  const json scene{{"ground", name_of(background.ground)},
                   {"first", colour(background.first).name},
                   {"second", colour(background.second).name},
                   {"relation", name_of(plan.scene.relation)},
                   {"objects", objects}};
  return json{{"sample", plan.id},
              {"key", key_of(plan.id)},
              {"noise", name_of(plan.noise)},
              {"rule", expected_rule(plan.noise)},
              {"copy_of", plan.copy_of},
              {"caption_of", plan.caption_of},
              {"captions", plan.captions},
              {"scene", scene}}
      .dump();
}

}  // namespace trireme::worker::stages::synthesize
