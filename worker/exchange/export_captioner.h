// A captioner as a folder that transformers loads as it is: BlipForConditionalGeneration and BlipProcessor.
// Its greedy captions are ours, with max_length of the caption stage; a model's prompt is given to theirs as
// text beside the image. An image tower is a vit without ln_pre; patches without bias get one of zeros. With
// resize_mode "shortest", which BlipImageProcessor does not know, the preprocessor is CLIP's
// (AutoImageProcessor finds it).
#pragma once

#include "common/io/file.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::exchange {

// `model` has a decoder. Throws kInvalid naming the field that BLIP cannot express.
void export_hf_captioner(models::DualEncoder& model, const io::Path& folder, bool tokenizer);

}  // namespace trireme::worker::exchange
