// What a teacher that sees the scene would say is in it: nouns and attributes with probabilities, by the
// share of the visible area. Written to each sample's .json, for concept heads (METHODS 2.3).
#pragma once

#include <map>
#include <string>

#include "worker/stages/synthesize/scene.h"

namespace trireme::worker::stages::synthesize {

// Concept to probability; they sum to 1.
using Concepts = std::map<std::string, double>;

// Shapes, and with a fifth of the weight sky, grass, snow or sand where the ground is one.
Concepts object_concepts(const Scene& scene);

// Colours of the objects, and with a fifth of the weight "small" and "large" where an object is.
Concepts attribute_concepts(const Scene& scene);

}  // namespace trireme::worker::stages::synthesize
