// Names of tensors without what training wrappers put around them.
#pragma once

#include <string>
#include <vector>

namespace trireme::worker::checkpoint {

struct UnwrappedNames {
  std::vector<std::string> names;  // one per given name, in that order; "" for one that is left out
  std::string taken, left;         // where raw weights stand beside an averaged copy: whose names these are
};

// Components "module" (DDP), "_orig_mod" (torch.compile) and FSDP's go wherever they stand; a first component
// that all names share goes when it is a wrapper's ("model.", "state_dict." …), again until none is left. An
// averaged copy ("ema.", "model_ema." …) beside raw weights is left out. Throws kInvalid when two tensors end
// with one name.
UnwrappedNames unwrapped(const std::vector<std::string>& names, const std::string& path);

}  // namespace trireme::worker::checkpoint
