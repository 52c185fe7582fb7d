// Who labels images: a published classifier with its own head, the concept heads of a model that Trireme
// trained, or such a model by prompts (as zero-shot evaluation: exp(logit_scale) cosine). Legend: B images, T
// tower width, V concepts of a vocabulary.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "jobs/specification/stages/concept_stages_spec.h"
#include "jobs/specification/stages/concept_vocabulary.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::stages::concepts {

class Teacher {
 public:
  virtual ~Teacher() = default;
  virtual jobs::ImagePreprocess preprocess() const = 0;
  // Outputs of the tower, [B, T]; thread-safe, as is logits().
  virtual at::Tensor features(const at::Tensor& image_BCHW) = 0;
  // Of tower outputs, one [B, V] per vocabulary, float32.
  virtual std::vector<at::Tensor> logits(const at::Tensor& features_BT) = 0;
  // The tower is as an embed stage ran it, so that stored features stand for it; 0: it is not.
  virtual std::int64_t stored_width() const { return 0; }
};

// What the settings stand for on this machine: `model` is the folder of a trained model, "" for a classifier;
// `vocabulary` the file of vocabularies, "" for imagenet or the model's own.
struct TeacherFiles {
  std::string model, vocabulary;
};

// Vocabularies in the order of the teacher's outputs, and its hash: over weights, templates and how it is
// asked. Builds no model. Throws kInvalid as ConceptTeacherStage says, kNotFound for files.
jobs::ConceptVocabularies settle_teacher(const jobs::ConceptsSettings& settings, const TeacherFiles& files);

// `settled`: what settle_teacher() gave.
std::unique_ptr<Teacher> open_teacher(const jobs::ConceptsSettings& settings, const TeacherFiles& files,
                                      const jobs::ConceptVocabularies& settled, const std::string& device);

}  // namespace trireme::worker::stages::concepts
