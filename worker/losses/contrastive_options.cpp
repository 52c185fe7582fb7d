#include <string>

#include "common/base/error.h"
#include "worker/losses/contrastive.h"

namespace trireme::worker::losses {

void check(const ContrastiveOptions& o) {
  const auto refuse = [](const std::string& what, const std::string& hint) {
    throw Error(ErrorKind::kInvalid, "contrastive loss: " + what, hint);
  };
  if (!(o.smoothing >= 0 && o.smoothing < 1))
    refuse("smoothing is " + std::to_string(o.smoothing), "use at least 0 and less than 1");
  if (!(o.alpha >= 0 && o.alpha <= 1)) refuse("alpha is " + std::to_string(o.alpha), "use 0 to 1");
  if (!(o.beta >= 0 && o.beta <= 100)) refuse("beta is " + std::to_string(o.beta), "use 0 to 100");
  if (!(o.negative_fraction > 0 && o.negative_fraction <= 1))
    refuse("negative_fraction is " + std::to_string(o.negative_fraction), "use over 0 and at most 1");
  if (o.kind == ContrastiveKind::kSigmoid && (o.smoothing != 0 || o.alpha != 1 || o.beta != 0))
    refuse("the sigmoid loss has no denominator to smooth or to re-weight",
           "set smoothing 0, alpha 1 and beta 0, or use the softmax loss");
}

}  // namespace trireme::worker::losses
