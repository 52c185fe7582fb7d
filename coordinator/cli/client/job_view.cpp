#include "coordinator/cli/client/job_view.h"

#include "coordinator/cli/client/json_members.h"

namespace trireme::coordinator::cli {
namespace {
using nlohmann::json;

const json& list_of(const json& object, const char* key) {
  static const json kEmpty = json::array();
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : kEmpty;
}

StageView stage_from(const json& object) {
  StageView stage{text_of(object, "name"), text_of(object, "kind"), text_of(object, "state")};
  stage.implicit = flag_of(object, "implicit");
  stage.tasks_final = flag_of(object, "tasks_final");
  stage.tasks_done = number_of<std::int64_t>(object, "tasks_done");
  stage.tasks_known = number_of<std::int64_t>(object, "tasks_known");
  stage.tasks_reused = number_of<std::int64_t>(object, "tasks_reused");
  if (const auto counts = object.find("counts"); counts != object.end() && counts->is_object())
    for (const auto& [name, count] : counts->items())
      if (count.is_number()) stage.counts[name] = count.get<std::int64_t>();
  return stage;
}

TrainingView training_from(const json& object) {
  TrainingView training;
  training.stage = text_of(object, "stage");
  training.step = number_of<std::int64_t>(object, "step");
  training.steps = number_of<std::int64_t>(object, "steps");
  training.epoch = number_of<std::int64_t>(object, "epoch");
  training.loss = number_of<double>(object, "loss");
  training.learning_rate = number_of<double>(object, "learning_rate");
  training.samples_per_second = number_of<double>(object, "samples_per_second");
  return training;
}

JobView job_from(const json& object) {
  JobView job;
  job.id = text_of(object, "id");
  job.name = text_of(object, "name");
  job.state = text_of(object, "state");
  job.cause = text_of(object, "cause");
  job.output = text_of(object, "output");
  job.submitted = text_of(object, "submitted");
  job.attempt = number_of<std::int64_t>(object, "attempt");
  job.active_seconds = number_of<double>(object, "active_seconds");
  for (const json& stage : list_of(object, "stages"))
    if (stage.is_object()) job.stages.push_back(stage_from(stage));
  if (const auto training = object.find("training"); training != object.end() && training->is_object())
    job.training = training_from(*training);
  for (const json& worker : list_of(object, "workers"))
    if (worker.is_object())
      job.workers.push_back({number_of<std::int64_t>(worker, "rank"), text_of(worker, "state"),
                             text_of(worker, "host"), text_of(worker, "device"), text_of(worker, "task")});
  if (const auto eta = object.find("eta_seconds"); eta != object.end() && eta->is_number())
    job.eta_seconds = eta->get<double>();
  return job;
}

}  // namespace

JobView job_view_from_json(std::string_view text) {
  return job_from(object_from(text, "the job document"));
}

JobPage job_page_from_json(std::string_view text) {
  const json document = object_from(text, "the list of jobs");
  JobPage page;
  for (const json& job : list_of(document, "jobs"))
    if (job.is_object()) page.jobs.push_back(job_from(job));
  page.next_page_token = text_of(document, "next_page_token");
  return page;
}

std::vector<EventView> events_from_json(std::string_view text) {
  const json document = object_from(text, "the list of events");
  std::vector<EventView> events;
  for (const json& event : list_of(document, "events")) {
    if (!event.is_object()) continue;
    const auto payload = event.find("payload");
    events.push_back(
        {number_of<std::uint64_t>(event, "sequence"), text_of(event, "kind"), text_of(event, "time"),
         payload == event.end() ? ""
         : payload->is_string() ? payload->get<std::string>()
                                : payload->dump(-1, ' ', false, json::error_handler_t::replace)});
  }
  return events;
}

}  // namespace trireme::coordinator::cli
