#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <span>

#include "common/base/error.h"
#include "jobs/kinds/model_sizes.h"
#include "jobs/kinds/stage_kinds.h"

namespace trireme::jobs {
namespace {

template <std::size_t... I>
std::vector<StageSettings> every_kind(std::index_sequence<I...>) {
  return {StageSettings(std::in_place_index<I>)...};
}
std::vector<StageSettings> every_kind() {
  return every_kind(std::make_index_sequence<std::variant_size_v<StageSettings>>());
}

TEST(TaskKinds, NamesGoBothWaysAndNoFolderIsShared) {
  std::set<std::string_view> names;
  for (const TaskRow& row : kTasks) {
    EXPECT_EQ(task_kind_from_name(row.name), row.kind);
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(row.place.empty(), row.published == Published::kNowhere) << row.name;
    EXPECT_EQ(row.beside.empty(), row.beside_extension.empty()) << row.name;
  }
  EXPECT_THROW(task_kind_from_name("pair_coutns_map"), Error);
  EXPECT_FALSE(from_name<Role>("verdict"));
}

TEST(TaskKinds, EveryFileThatIsReadHasARoleOfItsOwn) {
  std::map<Role, std::string_view> extensions;
  for (const TaskRow& row : kTasks) {
    if (row.made == Role::kNone) continue;
    EXPECT_EQ(extensions.emplace(row.made, row.extension).first->second, row.extension) << row.name;
  }
  EXPECT_EQ(extensions.size(), names_of(Role{}).size() - 1);
}

TEST(StageKinds, EveryTaskBelongsToAStageAndPhasesAreDistinct) {
  std::set<TaskKind> tasks{kSynthesizeRow.result, kInspectRow.result};
  for (const auto& settings : every_kind()) {
    const StageRow& row = row_of(settings);
    EXPECT_EQ(row_named(row.name), &row);
    EXPECT_EQ(row.name, stage_kinds()[settings.index()]);
    const auto steps = std::span(row.steps).first(row.step_count);
    EXPECT_TRUE(std::ranges::any_of(steps, [&](const StageStep& step) { return step.task == row.result; }));
    for (const auto& step : steps) {
      tasks.insert(step.task);
      EXPECT_EQ(row.phase_of(step.task), step.phase);
    }
    const bool gang = row_of(row.result).extent == Extent::kGang;
    EXPECT_EQ(row.shape == Shape::kGang, gang) << row.name;
  }
  EXPECT_EQ(tasks.size(), std::size(kTasks));
  EXPECT_THROW(row_of(StageSettings(EmbedSettings{})).phase_of(TaskKind::kTrain), Error);
  EXPECT_EQ(row_named("inspect"), &kInspectRow);
  EXPECT_EQ(row_named("nothing"), nullptr);
}

TEST(StageKinds, EveryKindTakesRoomOnDisk) {
  PipelineSpec spec;
  spec.models["m"].text.tokenizer.buckets = 64;
  spec.stages = {{"t", {}, TrainSettings{.data = "d", .model = "m"}}};
  for (auto settings : every_kind()) {
    std::visit(
        [](auto& one) {
          if constexpr (requires { one.model; }) one.model = "m";
        },
        settings);
    if (auto* evaluate = std::get_if<EvaluateSettings>(&settings)) evaluate->model = "t";
    if (auto* index = std::get_if<IndexSettings>(&settings)) index->model = "t";
    const Footprint left = footprint_of(spec, settings);
    EXPECT_GT(left.per_sample + left.copies + left.whole, 0) << row_of(settings).name;
    EXPECT_EQ(left.checkpoints > 0, std::holds_alternative<TrainSettings>(settings));
  }
}

// ViT-B/32 of CLIP has 151.3 M parameters, and EfficientNet-Lite0 with MiniLM 4.7 M + 22.7 M less the
// classifier's 1.3 M; frozen towers have no moments.
TEST(StageKinds, CheckpointsAreOfWhatIsLearnt) {
  PipelineSpec spec;
  ModelSpec& clip = spec.models["clip"];
  clip.text.tokenizer.kind = TokenizerKind::kClipBpe;
  EXPECT_NEAR(parameters_of(clip) / 1e6, 151.3, 2);
  ModelSpec& small = spec.models["small"];
  small.image.kind = ImageTowerKind::kEfficientNetLite0;
  small.text = {.kind = TextTowerKind::kBert,
                .tokenizer = {.kind = TokenizerKind::kWordPiece},
                .width = 384,
                .layers = 6,
                .heads = 12};
  small.embed_dim = 256;
  small.image.frozen = small.text.frozen = true;
  EXPECT_NEAR(parameters_of(small) / 1e6, 26.5, 1.5);
  const ModelSizes sizes(spec);
  TrainSettings train{.data = "d", .model = "small"};
  EXPECT_NEAR(sizes.checkpoint(train), sizes.weights(train) + 2 * 4 * 256 * (1280 + 384), 1);
  train.model = "clip";
  EXPECT_NEAR(sizes.checkpoint(train), 3 * sizes.weights(train), 1);
  train.evaluate_every.steps = 1;
  train.average.decay = 0.99;
  EXPECT_NEAR(sizes.checkpoint(train), 5 * sizes.weights(train), 1);
}

}  // namespace
}  // namespace trireme::jobs
