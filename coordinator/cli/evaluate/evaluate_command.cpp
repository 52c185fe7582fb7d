#include "coordinator/cli/evaluate/evaluate_command.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "coordinator/cli/client/format.h"
#include "coordinator/cli/evaluate/score_table.h"
#include "coordinator/cli/plan/spec_file.h"

namespace trireme::coordinator::cli {
namespace {

// A model's last folder names it, but not where that is what every run calls it.
std::string name_of_model(const std::string& model) {
  io::Path path = io::absolute(model).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  while (path.has_relative_path() && (path.filename() == "final" || path.filename() == "model.safetensors" ||
                                      path.filename() == "open_clip_model.safetensors"))
    path = path.parent_path();
  return path.stem().empty() ? "model" : path.filename().string();
}

Suite suite_of(const EvaluateOptions& options) {
  if (options.suite.empty()) return {};
  if (options.data.size() != 1)
    throw Error(ErrorKind::kUsage, "a suite runs over one root",
                "name the folder that holds its wds_* folders");
  if (options.task != "auto")
    throw Error(ErrorKind::kUsage, "--task and --suite contradict each other", "the suite names the tasks");
  return read_suite(options.suite);
}

std::vector<std::string> remarks_of(const Suite& suite, const std::vector<Average>& averages,
                                    const std::vector<Wins>& wins) {
  std::vector<std::string> remarks;
  for (const auto& one : averages)
    remarks.push_back(one.value ? one.name + " of " + std::to_string(one.wanted) +
                                      " sets: " + number_text(*one.value, 4)
                                : one.name + ": none, " + std::to_string(one.there) + " of its " +
                                      std::to_string(one.wanted) + " sets are there");
  for (const auto& one : wins)
    remarks.push_back("against " + one.against + ": " + std::to_string(one.wins) + " wins, " +
                      std::to_string(one.ties) + " ties, " + std::to_string(one.losses) + " losses");
  if (!suite.name.empty())
    remarks.push_back("suite " + suite.name + ", from " + suite.source + " (" + suite.confidence + ")");
  return remarks;
}

// Names of the models evaluated here, each once.
std::vector<std::string> names_of_models(const EvaluateOptions& options) {
  std::vector<std::string> names{name_of_model(options.model)};
  for (const auto& also : options.also) {
    const std::string name = name_of_model(also);
    names.push_back(std::ranges::find(names, name) == names.end() ? name : also);
  }
  return names;
}

// The files beside the run, and the table.
void report(const Suite& suite, const std::vector<std::string>& absent, const std::vector<ModelResults>& own,
            const std::vector<ModelResults>& others, const io::Path& folder, std::ostream& out) {
  std::vector<ModelResults> models = own;
  models.insert(models.end(), others.begin(), others.end());
  auto averages = averages_of(own.front(), suite);
  for (std::size_t i = 1; i < own.size(); ++i)
    for (auto& average : averages_of(own[i], suite)) {
      average.name += " (" + own[i].name + ")";
      averages.push_back(std::move(average));
    }
  std::vector<Wins> wins;
  for (std::size_t i = 1; i < models.size(); ++i) wins.push_back(wins_over(models.front(), models[i]));
  auto remarks = remarks_of(suite, averages, wins);
  for (auto& line : oddities_of(own.front())) remarks.push_back(std::move(line));
  io::write_file_atomic(folder / "evaluation.results.json",
                        results_json(own, absent, averages, wins, suite.name));
  io::write_file_atomic(folder / "evaluation.csv", results_csv(own));
  io::write_file_atomic(folder / "evaluation.html",
                        matrix_html("Evaluation of " + own.front().name, models, absent, remarks));
  out << "\n" << matrix_text(models, absent);
  for (const auto& remark : remarks) out << printable(remark, 300) << "\n";
}

}  // namespace

int evaluate(const EvaluateOptions& options) {
  if (options.data.empty())
    throw Error(
        ErrorKind::kUsage, "nothing is named that " + options.model + " is to be evaluated on",
        "trireme evaluate MODEL DATA…: a set as a job's source names it, a folder of wds_* folders, or "
        "SimLex-999.txt");
  std::ostream& out = *options.fleet.out;
  const Suite suite = suite_of(options);
  std::vector<ModelResults> others;  // read first: a wrong path is said before the work
  for (const auto& path : options.against)
    for (auto& one : read_results(path)) others.push_back(std::move(one));
  const auto sets =
      suite.name.empty() ? sets_of(options.data, options.task) : find_sets(suite, options.data.front());
  const std::string output =
      io::absolute(options.output.empty() ? "runs/evaluate-" + name_of_model(options.model) : options.output)
          .lexically_normal()
          .string();
  std::string resolved;
  EvaluateJob job = evaluate_job(model_of_checkpoint(options.model, resolved), sets, output);
  const auto names = names_of_models(options);
  std::vector<std::vector<StageOfSet>> stages{job.stages};
  for (const auto& also : options.also)
    stages.push_back(add_model(job, model_of_checkpoint(also, resolved), stages.size() + 1));
  LaunchOptions fleet = options.fleet;
  fleet.job = (io::Path(output) / "evaluate.job.json").string();
  io::make_folders(output);
  io::write_file_atomic(fleet.job, job.job.dump(2) + "\n");
  for (const auto& absent : job.absent) out << "absent: " << printable(absent, 60) << "\n";
  const int code = launch(fleet);
  if (code != 0 || fleet.dry_run) return code;
  const jobs::JobSpec ran = read_job_file(fleet.job, fleet.overrides);  // --set may move the output
  std::vector<ModelResults> own;
  for (std::size_t i = 0; i < names.size(); ++i)
    own.push_back(own_results(stages[i], ran.spec.output, names[i]));
  report(suite, job.absent, own, others, ran.spec.output, out);
  const io::Path folder(ran.spec.output);
  for (const auto& of_model : stages)
    for (const auto& stage : of_model)
      out << printable(stage.set, 60) << ": "
          << (folder / "stages" / stage.stage / "evaluation.json").string() << "\n";
  out << "all: " << (folder / "evaluation.results.json").string()
      << ", evaluation.csv and evaluation.html beside it\n";
  return 0;
}

}  // namespace trireme::coordinator::cli
