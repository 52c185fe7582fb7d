// What a training run learns: its inputs, its learner (model and loss), what is measured of it, and what it
// leaves beside the model. The run (run/train_run.h) builds one, loops and reports, and knows no objective by
// name; make_objective() alone does.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "jobs/protocol/messages.h"
#include "jobs/specification/job_spec.h"
#include "worker/data/batches/loader.h"
#include "worker/evaluation/result.h"
#include "worker/models/dual_encoder.h"
#include "worker/stages/train/inputs/data_set.h"
#include "worker/stages/train/step/learner.h"
#include "worker/stages/train/step/slot_pool.h"

namespace trireme::worker::stages::train {

// What an objective is made of; all of it outlives the objective.
struct ObjectiveSetup {
  const jobs::TrainSettings& settings;
  const std::vector<jobs::InputsLine>& inputs;  // of the task
  DataSet& data;                                // an objective may say how often samples are seen
  const DataSet* evaluated;                     // held back; null: nothing is evaluated
  models::DualEncoder& encoder;                 // on the device
  collective::Group& group;
  SlotPool& pool;
  std::string device;
};

class Objective {
 public:
  virtual ~Objective() = default;
  virtual Learner& learner() = 0;

  // ---- Inputs.
  // Which of pictures and texts the loader brings.
  virtual void ask(data::LoaderOptions& options) const = 0;
  // Of one slot's batch; `slot`: logical slot, `step`: global, 0-based. Samples that lack something go dead
  // in batch.live. Adds to `counts`, named as in TaskDone::counts. Called by several threads at once.
  virtual SlotInput input(data::SlotBatch& batch, std::int64_t step, std::int64_t slot,
                          std::map<std::string, std::int64_t>& counts) const = 0;
  // Which towers' outputs come from files, so that their work is not counted.
  struct Stored {
    bool images = false, texts = false;
  };
  virtual Stored stored() const { return {}; }
  // Sidecars of other stages among the inputs, and the processor time that opening them took.
  struct Sidecars {
    bool any = false;
    double opened_seconds = 0;
  };
  virtual Sidecars sidecars() const { return {}; }

  // ---- What is measured.
  virtual std::vector<std::string> parts() const = 0;              // of StepLoss::parts
  virtual std::vector<std::string> signals() const { return {}; }  // rows of StepLoss::signals_Kb
  // On the held-back data, with the weights as they are. Collective; the same on every rank.
  virtual evaluation::Metrics evaluate() = 0;
  virtual bool better(double metric, double best) const { return metric > best; }

  // ---- State and result.
  // A checkpoint of an earlier start has been loaded.
  virtual void resumed() {}
  // What belongs to the weights and lies outside of the encoder: kept with the best ones. Shares memory.
  virtual NamedTensors beside_encoder() { return {}; }
  // Adds files to the model folder. `best`: copies of beside_encoder() at the step that is kept; empty: now.
  virtual void write(const io::Path& /*folder*/, const NamedTensors& /*best*/) {}
};

// Throws kInvalid, naming what the data lack.
std::unique_ptr<Objective> make_objective(const ObjectiveSetup& setup);

}  // namespace trireme::worker::stages::train
