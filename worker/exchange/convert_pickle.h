// PyTorch's pickled checkpoints into safetensors, by worker/checkpoint/pth_to_safetensors.py in a Python of
// its own: no code of the file runs, and no torch is needed there.
#pragma once

#include <string>

namespace trireme::worker::exchange {

// .pt, .pth, .bin, .ckpt or a TorchScript archive, by its first bytes.
bool is_pickled(const std::string& path);

// `take`: which table of tensors, "" for the raw weights. Prints what was taken. Throws kInvalid with the
// script's reason, kNotFound without python3.
void convert_pickle(const std::string& from, const std::string& to, const std::string& take);

}  // namespace trireme::worker::exchange
