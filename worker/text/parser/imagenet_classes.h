// The 1,000 classes of ImageNet-1k in the order of every published classifier: their ids are synsets of
// WordNet 3.0, whose files give the names. A name is the synset's first word; where two classes share one,
// the class above stands behind it: "crane (wading bird)".
#pragma once

#include <string>
#include <vector>

#include "worker/text/parser/wordnet.h"

namespace trireme::worker::text {

struct ImageNetClass {
  std::string name;  // distinct
  Synset synset;
};

// Throws kDamaged when `wordnet` is not version 3.0.
std::vector<ImageNetClass> imagenet_classes(const WordNet& wordnet);

}  // namespace trireme::worker::text
