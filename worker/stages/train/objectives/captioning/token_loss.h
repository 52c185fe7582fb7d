// Evaluation of a captioner while it trains: on held-back data the mean cross entropy of each next token of
// every caption, teacher-forced, prompt and padding left out, without smoothing. In chunks of fixed size that
// do not depend on the number of ranks; one number, the same bits on every rank and for any number of them.
#pragma once

#include <string>
#include <vector>

#include "worker/collective/group.h"
#include "worker/evaluation/result.h"
#include "worker/models/captioner/captioner.h"
#include "worker/stages/train/inputs/data_set.h"
#include "worker/stages/train/step/slot_pool.h"

namespace trireme::worker::stages::train {

class TokenLoss {
 public:
  // All must outlive this object. Throws kInvalid when `encoder` has no decoder.
  TokenLoss(const DataSet& set, const models::DualEncoder& encoder, collective::Group& group, SlotPool& pool,
            std::string device);

  // Collective: {"token_loss", nats per token}. Pictures that cannot be decoded are left out; kInvalid when
  // that leaves no token.
  evaluation::Metrics run();

 private:
  struct Sum {
    double loss = 0, tokens = 0;
  };
  Sum of_chunk(std::size_t first, std::size_t last) const;

  const DataSet& set_;
  const models::DualEncoder& encoder_;
  models::Captioner captioner_;
  collective::Group& group_;
  SlotPool& pool_;
  std::string device_;
  std::vector<data::SamplePosition> samples_;
};

}  // namespace trireme::worker::stages::train
