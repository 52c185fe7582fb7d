// `trireme weights inspect|convert|compare`: what a checkpoint holds, in which layout, and which model
// specification fits it; the same tensors in another layout; how far two checkpoints are apart.
#pragma once

namespace trireme::worker::exchange {

// argv[0] is the tool's name ("weights"), then the verb and its operands:
//   inspect PATH [--tensors] [--json]
//   convert IN OUT.safetensors --to open_clip|hf_clip|hf_align|hf_bert|hf_blip|timm_vit|timm_efficientnet|
//           efficientnet_lite
//   compare A B [--tolerance X]   0 when all tensors agree within X (absolute, default 0), else 1
// PATH: a safetensors file, a folder with one, or pretrained:<name>. Throws Error (kUsage, kNotFound,
// kInvalid, kDamaged).
int run_weights(int argc, char** argv);

}  // namespace trireme::worker::exchange
