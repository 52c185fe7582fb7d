// Fields of a model whose default depends on others (METHODS 3.2, 4.2, 4.3).
#pragma once

#include "jobs/specification/model_spec.h"

namespace trireme::jobs {

// Fills in what is empty or absent; what is given stays, so that a second call changes nothing.
//
//                      vit        efficientnet_b0…l2 (ALIGN)       efficientnet_lite0…2
//   resize_px          image_px   image_px * 346 / 289             image_px * 8 / 7
//   resize_mode        shortest   square                           shortest
//   interpolation      bicubic    bilinear                         bicubic
//   mean, std          CLIP's     0.5                              0.5
//   projection         matrix     linear                           linear
//   padding            -          asymmetric                       same
//   head_conv          -          no                               yes
//   batch_norm.policy  -          stored with weights, ghost without
void resolve_model_defaults(ModelSpec& model);

// Whether it names weights that may bring a config: then empty fields wait for what that says
// (jobs/checkpoint).
bool awaits_config(const ModelSpec& model);

bool is_efficientnet(const ImageTowerSpec& image);
bool is_efficientnet_lite(const ImageTowerSpec& image);

}  // namespace trireme::jobs
