// Pictures that several models of an evaluation see alike, so that they are decoded once.
#pragma once

#include <string>

#include "jobs/specification/image_preprocess.h"
#include "jobs/specification/job_spec.h"

namespace trireme::jobs {

// All that decides the bytes of a picture before they are normalised (not mean and std).
std::string geometry_text(const ImagePreprocess& preprocess);

// Of how many models of spec.models the evaluate stages of a job see `data` as `model` of them does; 1 for
// one that a stage trains.
std::int64_t models_that_see_alike(const PipelineSpec& spec, const std::string& model,
                                   const std::string& data);

}  // namespace trireme::jobs
