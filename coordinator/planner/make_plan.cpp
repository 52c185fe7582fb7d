#include <algorithm>
#include <cmath>
#include <deque>

#include "common/io/file.h"
#include "coordinator/planner/plan_text.h"
#include "jobs/kinds/model_sizes.h"
#include "jobs/store/receipt.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::planner {
namespace {

constexpr double kSearchSeconds = 40, kSearchMegabytes = 800;    // per million images, at distance 8
constexpr double kCaptionSeconds = 20, kCaptionMegabytes = 130;  // per million texts
constexpr double kNgramsPerCaption = 20;

using jobs::kGuessedCaptions;

// Completes every task whose result lies in the store.
void walk(TaskGraph& graph) {
  const std::vector<TaskRef> first = graph.start();
  std::deque<TaskRef> ready(first.begin(), first.end());
  while (!ready.empty()) {
    const TaskRef ref = ready.front();
    ready.pop_front();
    jobs::TaskDone done;
    if (!store::read_receipt(graph.describe_task(ref), done)) continue;
    for (const auto& next : graph.complete(ref, done)) ready.push_back(next);
  }
}

PlannedData planned_data(const jobs::DataSpec& spec, const DataInfo& info) {
  PlannedData data{info, -1};
  if (info.all_known) data.expected = info.selected;
  const bool synthetic =
      std::ranges::all_of(spec.sources, [](const auto& source) { return source.synthetic.has_value(); });
  if (info.all_known || !synthetic) return data;
  const jobs::Selection selection = jobs::parse_selection(spec.select);
  std::int64_t all = 0;
  for (const auto& source : spec.sources) all += source.synthetic->samples;
  data.expected = std::max<std::int64_t>(0, std::min(all, selection.last) - selection.first);
  data.info.per_epoch = static_cast<double>(data.expected);
  if (spec.sources.size() > 1) {
    data.info.per_epoch = 0;
    for (const auto& source : spec.sources)
      data.info.per_epoch += static_cast<double>(source.synthetic->samples) * source.weight;
  }
  return data;
}

class Planner {
 public:
  Planner(const jobs::JobSpec& job, ListedJob listed)
      : job_(job), notes_(listed.notes), graph_(job, std::move(listed), "") {}

  Plan run() {
    walk(graph_);
    plan_.notes = notes_;
    plan_.name = job_.name;
    plan_.spec_json = jobs::effective_json(job_);
    plan_.output = job_.spec.output;
    plan_.store = store::store_of(job_.spec);
    for (const auto& info : graph_.data())
      plan_.data.push_back(planned_data(job_.spec.data.at(info.name), info));
    for (std::size_t i = 0; i < graph_.stages().size(); ++i) add_stage(i);
    plan_.disk_bytes = disk_bytes();
    plan_.disk_free_bytes = static_cast<std::int64_t>(io::free_bytes(plan_.store));
    if (plan_.disk_bytes + plan_.checkpoint_bytes > static_cast<double>(plan_.disk_free_bytes))
      plan_.notes.push_back("the disk of " + plan_.store +
                            " has less room than outputs and checkpoints need");
    for (const auto& stage : job_.spec.stages) note_cost(stage);
    for (const auto& [name, model] : job_.spec.models)
      for (const auto& start : jobs::starting_stages(model))
        plan_.notes.push_back(
            "model " + name + " starts from stage " + start +
            ": towers, projections, temperature and standardised features move on (positions "
            "are interpolated where image_px differs); optimizer, schedule, average, gates "
            "and heads start anew");
    plan_.notes.push_back("parameters, FLOPs and activation memory: trireme-worker tool model-info");
    plan_.notes.push_back("a time to completion is given once the job runs, from its own measurements");
    return std::move(plan_);
  }

 private:
  const PlannedData* data_named(const std::string& name) const {
    for (const auto& data : plan_.data)
      if (data.info.name == name) return &data;
    return nullptr;
  }

  const jobs::StageSpec* spec_of(const std::string& name) const {
    for (const auto& stage : job_.spec.stages)
      if (stage.name == name) return &stage;
    return nullptr;
  }

  void add_stage(std::size_t index) {
    const StageInfo& info = graph_.stages()[index];
    const StageProgress progress = graph_.progress(index);
    PlannedStage stage{info.name, info.kind, std::string(name_of(info.row->shape)), info.needs};
    stage.gang = info.row->shape == jobs::Shape::kGang;
    stage.tasks = progress.tasks_known;
    stage.tasks_final = progress.tasks_final;
    stage.reused = progress.tasks_done;
    plan_.tasks += stage.tasks;
    plan_.reused += stage.reused;
    if (const jobs::StageSpec* spec = spec_of(info.name); spec != nullptr && !info.implicit)
      if (const auto* train = std::get_if<jobs::TrainSettings>(&spec->settings))
        add_steps(*spec, *train, stage);
    plan_.stages.push_back(std::move(stage));
  }

  // Share of a data set that the filters which this stage needs have kept; 1 with none, -1 while unknown.
  double kept_share(const jobs::StageSpec& spec, const std::string& data) const {
    double share = 1;
    for (const auto& need : spec.needs) {
      const jobs::StageSpec* other = spec_of(need);
      if (other == nullptr) continue;
      const auto* filter = std::get_if<jobs::FilterSettings>(&other->settings);
      if (filter != nullptr && std::ranges::find(filter->data, data) != filter->data.end()) {
        for (std::size_t i = 0; i < graph_.stages().size(); ++i) {
          if (graph_.stages()[i].name != need) continue;
          const StageProgress progress = graph_.progress(i);
          const auto in = progress.counts.find("in"), kept = progress.counts.find("kept");
          if (!progress.committed || in == progress.counts.end() || kept == progress.counts.end() ||
              in->second == 0)
            return -1;
          share = std::min(share, static_cast<double>(kept->second) / static_cast<double>(in->second));
        }
      } else if (const double upstream = kept_share(*other, data); upstream < share) {
        share = upstream;
      }
    }
    return share;
  }

  void add_steps(const jobs::StageSpec& spec, const jobs::TrainSettings& train, PlannedStage& stage) {
    const PlannedData* data = data_named(train.data);
    const double share = kept_share(spec, train.data);
    if (data != nullptr && data->expected >= 0 && share >= 0)
      stage.steps_per_epoch =
          std::ceil(data->info.per_epoch * share / static_cast<double>(train.global_batch));
    if (train.steps)
      stage.steps = *train.steps;
    else if (stage.steps_per_epoch >= 0)
      stage.steps = static_cast<std::int64_t>(stage.steps_per_epoch) * train.epochs;
  }

  double samples_of(const std::vector<std::string>& names) const {
    double sum = 0;
    for (const auto& name : names) {
      const PlannedData* data = data_named(name);
      if (data == nullptr || data->expected < 0) return -1;
      sum += static_cast<double>(data->expected);
    }
    return sum;
  }

  // What all stages leave; -1 while their samples are unknown.
  double disk_bytes() {
    double sum = 0;
    bool known = true;
    for (const auto& data : plan_.data) {
      sum += static_cast<double>(std::max<std::int64_t>(0, data.expected)) * jobs::kShardIndexBytes;
      for (const auto& source : job_.spec.data.at(data.info.name).sources)
        if (source.synthetic)
          sum += static_cast<double>(source.synthetic->samples) * jobs::bytes_per_sample(*source.synthetic);
    }
    for (const auto& stage : job_.spec.stages) {
      const jobs::Footprint left = jobs::footprint_of(job_.spec, stage.settings);
      const std::vector<std::string> sets = jobs::data_of(stage);
      sum += left.whole;
      plan_.checkpoint_bytes += left.checkpoints;
      for (const auto& name : sets)
        if (const PlannedData* data = data_named(name))
          sum += left.copies * static_cast<double>(data->info.bytes);
      if (left.per_sample == 0) continue;
      const double samples = samples_of(sets);
      known = known && samples >= 0;
      sum += samples * left.per_sample;
    }
    return known ? sum : -1;
  }

  // What the tallies and rules cost on one core, from the figures of tests/bench/curation_bench.
  void note_cost(const jobs::StageSpec& stage) {
    if (const auto* ngrams = std::get_if<jobs::NgramCountsSettings>(&stage.settings)) {
      const double samples = samples_of(ngrams->data);
      std::string text = stage.name +
                         ": a million n-grams cost about 0.3 s of one core, 36 MB of disk per million "
                         "different ones (twice while merging), and at most " +
                         std::to_string(ngrams->memory_mib) + " MiB of memory per task (about " +
                         std::to_string(ngrams->memory_mib / 110 + 1) +
                         " million different ones before it spills)";
      if (samples >= 0)
        text += "; up to " +
                std::to_string(
                    static_cast<std::int64_t>(samples * kGuessedCaptions * kNgramsPerCaption / 1e6 + 1)) +
                " million n-grams here";
      plan_.notes.push_back(text);
    }
    if (const auto* near = std::get_if<jobs::NearDuplicatesSettings>(&stage.settings))
      plan_.notes.push_back(stage.name + ": " + near_cost(*near));
    const auto* filter = std::get_if<jobs::FilterSettings>(&stage.settings);
    if (filter == nullptr) return;
    const double samples = samples_of(filter->data);
    if (samples < 0) return;
    const bool decodes =
        filter->spotted_text_below || std::ranges::any_of(filter->data, [&](const auto& name) {
          return !filtered_before(job_.spec.stages, stage, name);
        });
    const double per_sample =
        1.0 / (decodes ? 1000 : 20000) +
        kGuessedCaptions *
            ((filter->languages.empty() ? 0 : 1.0 / 190000) +
             (filter->min_complexity || filter->min_actions ? 1.0 / 160000 : 0) + 1.0 / 260000);
    plan_.notes.push_back(
        stage.name + ": about " + std::to_string(static_cast<std::int64_t>(samples * per_sample + 1)) +
        " s of one core to measure, once; other thresholds are judged from what was measured");
  }

  std::string near_cost(const jobs::NearDuplicatesSettings& near) const {
    const auto number = [](double value) { return std::to_string(static_cast<std::int64_t>(value)); };
    const std::string tasks = " in each of " + std::to_string(near.partitions) + " tasks";
    const auto partitions = static_cast<double>(near.partitions);
    if (near.by == jobs::NearBy::kHash)
      return "about 1 s of one core per 1000 images for their hashes, once; then about " +
             number(kSearchSeconds / partitions) + " s and " + number(kSearchMegabytes / partitions + 100) +
             " MB" + tasks + " per million images to find the pairs";
    if (near.by == jobs::NearBy::kCaption)
      return "about " + number(kCaptionSeconds / partitions + 1) + " s and " +
             number(kCaptionMegabytes / partitions + 30) + " MB" + tasks + " per million texts";
    const double samples = std::max(0.0, samples_of(near.data)),
                 width = jobs::ModelSizes(job_.spec).image(near.model) / jobs::kFloatBytes;
    return "every image with every other, " + number(samples * samples * width / 1e9) +
           " GFLOP (a core does some 30 GFLOP per second)" + tasks + " together, and 40 MB each";
  }

  const jobs::JobSpec& job_;
  std::vector<std::string> notes_;
  TaskGraph graph_;
  Plan plan_;
};

}  // namespace

Plan make_plan(const jobs::JobSpec& job, ListedJob listed) {
  return Planner(job, std::move(listed)).run();
}

}  // namespace trireme::coordinator::planner
