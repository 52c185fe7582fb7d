// The synthetic source as a pure function with known noise; captions are checked against the scene by a
// reader that knows only English words and the truth's JSON.
#include <filesystem>
#include <regex>
#include <set>

#include <gtest/gtest.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "jobs/specification/job_spec.h"
#include "jobs/store/tar_scan.h"
#include "worker/data/images/image.h"
#include "worker/stages/synthesize/sample_plan.h"
#include "worker/stages/synthesize/synthesize_stage.h"
#include "worker/text/parser/caption_parser.h"

namespace trireme::worker::stages::synthesize {
namespace {
namespace fs = std::filesystem;
using nlohmann::json;

jobs::SyntheticSpec noisy(std::int64_t samples) {
  jobs::SyntheticSpec spec;
  spec.samples = samples;
  spec.image_px = 64;
  spec.swapped = 0.1;
  spec.boilerplate = spec.duplicate = spec.near_duplicate = spec.tiny = spec.stretched = spec.foreign =
      spec.drawn_text = 0.05;
  return spec;
}

std::map<std::string, int> noise_counts(const jobs::SyntheticSpec& spec) {
  const Planner planner(spec);
  std::map<std::string, int> counts;
  for (std::int64_t id = 0; id < spec.samples; ++id) ++counts[std::string(name_of(planner.noise_of(id)))];
  return counts;
}

const json* object_named(const json& scene, const std::string& size, const std::string& colour,
                         const std::string& shape) {
  for (const json& object : scene["objects"])
    if (object["colour"] == colour && object["shape"] == shape && (size.empty() || object["size"] == size))
      return &object;
  return nullptr;
}

bool holds(const json& a, const json& b, const std::string& relation) {
  const double ax = a["x"], ay = a["y"], ar = a["radius"], bx = b["x"], by = b["y"], br = b["radius"];
  if (relation == "left of") return ax + ar < bx - br;
  if (relation == "right of") return ax - ar > bx + br;
  if (relation == "above") return ay + ar < by - br;
  if (relation == "below") return ay - ar > by + br;
  if (relation == "on") return ay < by && std::abs(ax - bx) < br;
  return std::hypot(ax - bx, ay - by) + ar < br * 0.75;  // inside
}

// "" when every word about the scene is true.
std::string fault_of(const std::string& caption, const json& scene) {
  static const std::regex kOne(
      R"(\ban? (small |large )?(\w+) (circle|square|triangle|star|ring|cross|diamond|hexagon|heart|crescent)\b)");
  static const std::regex kMany(R"(\b(two|three|four|five) (\w+) (\w+?)(e?s)\b)");
  static const std::regex kRelation(
      R"(an? (small |large )?(\w+) (\w+) (?:is \w+ )?(left of|right of|above|below|on|inside) an? (small |large )?(\w+) (\w+)( |$))");
  static const std::regex kBackground(R"((\w+) background)"), kGradient(R"(from (\w+) to (\w+))"),
      kStripes(R"((\w+) and (\w+) stripes)");
  static const std::map<std::string, std::size_t> kNumbers{
      {"two", 2}, {"three", 3}, {"four", 4}, {"five", 5}};
  const auto trimmed = [](std::string text) { return text.empty() ? text : text.substr(0, text.size() - 1); };
  int mentions = 0;
  for (std::sregex_iterator at(caption.begin(), caption.end(), kOne), end; at != end; ++at, ++mentions)
    if (object_named(scene, trimmed((*at)[1]), (*at)[2], (*at)[3]) == nullptr) return "no " + at->str();
  std::smatch match;
  if (std::regex_search(caption, match, kMany)) {
    ++mentions;
    if (scene["objects"].size() != kNumbers.at(match[1])) return "not " + match[1].str();
    std::string shape = match[3];
    if (shape == "squar" || shape == "circl" || shape == "triangl") shape += "e";
    if (object_named(scene, "", match[2], shape) == nullptr) return "no " + match.str();
  }
  if (mentions == 0) return "says nothing";
  if (std::regex_search(caption, match, kRelation)) {
    const json *a = object_named(scene, trimmed(match[1]), match[2], match[3]),
               *b = object_named(scene, trimmed(match[5]), match[6], match[7]);
    if (a != nullptr && b != nullptr && !holds(*a, *b, match[4])) return "not so: " + match.str();
  }
  for (const char* ground : {"sky", "grass", "snow", "sand"})
    if (caption.find(std::string("the ") + ground) != std::string::npos && scene["ground"] != ground)
      return "no " + std::string(ground);
  if (std::regex_search(caption, match, kBackground) &&
      (scene["ground"] != "plain" || scene["first"] != match[1].str()))
    return "another background";
  if (std::regex_search(caption, match, kGradient) &&
      (scene["ground"] != "gradient" || scene["first"] != match[1].str() ||
       scene["second"] != match[2].str()))
    return "another gradient";
  if (std::regex_search(caption, match, kStripes) &&
      (scene["ground"] != "stripes" || scene["first"] != match[1].str() || scene["second"] != match[2].str()))
    return "other stripes";
  const json& first = scene["objects"][0];
  if (caption.find("at the left") != std::string::npos && first["x"] > 0.35) return "not at the left";
  if (caption.find("at the right") != std::string::npos && first["x"] < 0.65) return "not at the right";
  if (caption.find("at the top") != std::string::npos && first["y"] > 0.35) return "not at the top";
  if (caption.find("at the bottom") != std::string::npos && first["y"] < 0.65) return "not at the bottom";
  return "";
}

TEST(Synthesize, FractionsAreExact) {
  for (const std::int64_t samples : {40, 1000, 4096}) {
    auto counts = noise_counts(noisy(samples));
    const auto share = [&](double f) {
      return static_cast<int>(std::llround(f * static_cast<double>(samples)));
    };
    EXPECT_EQ(counts["swapped"], share(0.1));
    for (const char* kind : {"boilerplate", "tiny", "stretched", "foreign", "drawn_text"})
      EXPECT_EQ(counts[kind], share(0.05)) << kind;
    EXPECT_NEAR(counts["duplicate"], share(0.05), 1);
    EXPECT_NEAR(counts["near_duplicate"], share(0.05), 1);
  }
  jobs::SyntheticSpec too_much = noisy(10);
  too_much.swapped = 0.9;
  EXPECT_THROW(Planner{too_much}, Error);
}

TEST(Synthesize, CaptionsOfCleanSamplesAreTrueAndSwappedOnesAreNot) {
  const jobs::SyntheticSpec spec = noisy(500);
  const Planner planner(spec);
  std::set<std::string> distinct;
  for (std::int64_t id = 0; id < spec.samples; ++id) {
    const SamplePlan plan = planner.plan(id);
    const json truth = json::parse(Planner::truth_line(plan));
    const bool says_nothing = plan.noise == Noise::kBoilerplate || plan.noise == Noise::kForeign;
    EXPECT_EQ(plan.captions.size(), says_nothing ? 1U : 5U);
    for (const std::string& caption : plan.captions) {
      const auto words = 1 + std::count(caption.begin(), caption.end(), ' ');
      EXPECT_TRUE(words >= 3 && words <= 20) << caption;
      const std::string fault = fault_of(caption, truth["scene"]);
      if (plan.noise == Noise::kSwapped || says_nothing)
        EXPECT_NE(fault, "") << caption << " " << truth.dump();
      else
        EXPECT_EQ(fault, "") << caption << " " << truth.dump();
      if (plan.noise == Noise::kNone) distinct.insert(caption);
    }
    if (plan.copy_of >= 0) {
      EXPECT_LT(plan.copy_of, id);
      EXPECT_EQ(planner.noise_of(plan.copy_of), Noise::kNone);
    }
  }
  EXPECT_GT(distinct.size(), 1000U);
}

// What DiHT's action rule asks for: a verb that the parser reads, said of what is there.
TEST(Synthesize, ActionsAreTrueAndReadAsActions) {
  jobs::SyntheticSpec spec;
  spec.samples = 300;
  spec.captions = 2;
  spec.actions = 1;
  const Planner planner(spec);
  const text::CaptionParser parser(text::Lexicon::standard());
  text::ParsedCaption parsed;
  for (std::int64_t id = 0; id < spec.samples; ++id) {
    const SamplePlan plan = planner.plan(id);
    const json truth = json::parse(Planner::truth_line(plan));
    for (const std::string& caption : plan.captions) {
      const auto words = 1 + std::count(caption.begin(), caption.end(), ' ');
      EXPECT_TRUE(words >= 3 && words <= 20) << caption;
      EXPECT_EQ(fault_of(caption, truth["scene"]), "") << caption << " " << truth.dump();
      parser.parse(caption, parsed);
      EXPECT_FALSE(parsed.actions.empty()) << caption << "\n" << parsed.text();
    }
  }
}

TEST(Synthesize, PicturesAreWhatTheirNoiseSays) {
  const jobs::SyntheticSpec spec = noisy(400);
  const Planner planner(spec);
  for (std::int64_t id = 0; id < spec.samples; ++id) {
    const SamplePlan plan = planner.plan(id);
    const std::string jpeg = planner.picture(plan);
    data::ImageInfo info;
    ASSERT_EQ(data::image_info(jpeg, info), "");
    const auto shorter = std::min(info.width, info.height), longer = std::max(info.width, info.height);
    if (plan.noise == Noise::kTiny) {
      EXPECT_LE(shorter, spec.image_px * 2 / 5);
    } else if (plan.noise == Noise::kStretched) {
      EXPECT_GT(longer, 3 * shorter);
    } else if (plan.noise != Noise::kNearDuplicate) {
      EXPECT_TRUE(shorter == spec.image_px && longer == spec.image_px);
    }
    const bool equal = plan.copy_of >= 0 && jpeg == planner.picture(planner.plan(plan.copy_of));
    EXPECT_EQ(equal, plan.noise == Noise::kDuplicate);
  }
}

TEST(Synthesize, NeighbouringSamplesDiffer) {
  jobs::SyntheticSpec spec;
  spec.image_px = 32;
  const Planner planner(spec);
  std::set<std::string> pictures;
  for (std::int64_t id = 0; id < 200; ++id) pictures.insert(planner.picture(planner.plan(id)));
  EXPECT_EQ(pictures.size(), 200U);
}

TEST(SynthesizeStage, ShardsAreByteIdenticalAndHoldEverySampleOnce) {
  const fs::path folder = fs::temp_directory_path() / ("trireme-synthesize-" + std::to_string(::getpid()));
  const jobs::SyntheticSpec spec = noisy(103);
  runtime::StopRequest stop;
  std::set<std::string> keys;
  for (std::int64_t shard = 0; shard < 4; ++shard) {
    std::string bytes[2];
    for (const int threads : {1, 2}) {
      jobs::Task task;
      task.settings = jobs::synthetic_json(spec);
      task.part = shard;
      task.parts = 4;
      task.output = (folder / (std::to_string(shard) + "-" + std::to_string(threads))).string();
      runtime::TaskContext context;
      context.stop = &stop;
      context.threads = threads;
      const jobs::TaskDone done = SynthesizeStage().run(task, context);
      ASSERT_EQ(done.outputs.size(), 2U);
      bytes[threads - 1] = io::read_file(done.outputs[0].path) + io::read_file(done.outputs[1].path);
      if (threads == 1) continue;
      const std::string tar = io::read_file(done.outputs[0].path);
      std::int64_t members = 0;
      const auto scan = store::scan_tar(tar, [&](const store::TarMember& member) {
        ++members;
        if (member.name.ends_with(".jpg")) {
          EXPECT_TRUE(keys.insert(member.name).second);
        }
      });
      EXPECT_TRUE(scan.is_tar);
      EXPECT_EQ(members, 3 * done.counts.at("in"));
    }
    EXPECT_EQ(bytes[0], bytes[1]);
  }
  EXPECT_EQ(keys.size(), 103U);
  EXPECT_TRUE(keys.contains("000000000.jpg") && keys.contains("000000102.jpg"));
  fs::remove_all(folder);
}

// What a captioner and a teacher would say is in .json, true also where the text is not.
TEST(SynthesizeStage, JsonTellsOfTheSceneWhateverTheTextSays) {
  const fs::path folder = fs::temp_directory_path() / ("trireme-fields-" + std::to_string(::getpid()));
  jobs::SyntheticSpec spec = noisy(120);
  spec.swapped = 0.5;
  jobs::Task task;
  task.settings = jobs::synthetic_json(spec);
  task.parts = 1;
  task.output = (folder / "shard").string();
  runtime::StopRequest stop;
  runtime::TaskContext context;
  context.stop = &stop;
  SynthesizeStage().run(task, context);
  const std::string tar = io::read_file(task.output + ".tar");
  std::vector<json> fields;
  store::scan_tar(tar, [&](const store::TarMember& member) {
    if (member.name.ends_with(".json")) fields.push_back(json::parse(tar.substr(member.offset, member.size)));
  });
  ASSERT_EQ(fields.size(), 120U);
  const Planner planner(spec);
  std::set<std::string> captions;
  for (std::size_t id = 0; id < fields.size(); ++id) {
    const json truth = json::parse(Planner::truth_line(planner.plan(static_cast<std::int64_t>(id))));
    const std::string caption = fields[id]["synthetic_caption"];
    captions.insert(caption);
    EXPECT_EQ(fault_of(caption, truth["scene"]), "") << caption << " " << truth.dump();
    double objects = 0, attributes = 0;
    for (const auto& [name, probability] : fields[id]["objects"].items()) {
      objects += probability.get<double>();
      const bool ground = name == truth["scene"]["ground"];
      EXPECT_TRUE(ground || caption.find(name) != std::string::npos) << name << ": " << caption;
    }
    for (const auto& [name, probability] : fields[id]["attributes"].items())
      attributes += probability.get<double>();
    for (const json& object : truth["scene"]["objects"]) {
      EXPECT_TRUE(fields[id]["objects"].contains(object["shape"]));
      EXPECT_TRUE(fields[id]["attributes"].contains(object["colour"]));
    }
    EXPECT_NEAR(objects, 1, 1e-9);
    EXPECT_NEAR(attributes, 1, 1e-9);
  }
  EXPECT_LT(captions.size(), 120U) << "coarse";
  EXPECT_GT(captions.size(), 60U);
  fs::remove_all(folder);
}

TEST(SynthesizeStage, StopsWhenAsked) {
  jobs::Task task;
  task.settings = jobs::synthetic_json(noisy(1000));
  task.parts = 1;
  task.output =
      (fs::temp_directory_path() / ("trireme-synthesize-stop-" + std::to_string(::getpid()))).string();
  runtime::StopRequest stop;
  stop.stop();
  runtime::TaskContext context;
  context.stop = &stop;
  EXPECT_THROW(SynthesizeStage().run(task, context), Error);
  for (const auto& entry : fs::directory_iterator(fs::temp_directory_path()))
    EXPECT_FALSE(entry.path().string().starts_with(task.output)) << entry.path();
}
}  // namespace
}  // namespace trireme::worker::stages::synthesize
