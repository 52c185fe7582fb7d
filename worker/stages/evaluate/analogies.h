// evaluate, task "analogies": ALIGN's linearity (section 7: a picture's embedding plus that of words finds
// the picture that the words change), measured on rendered scenes, where the edited picture is known.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "worker/evaluation/result.h"
#include "worker/stages/evaluate/members.h"

namespace trireme::worker::stages::evaluate {

struct AnalogyScores {
  evaluation::Metrics metrics, chance;
  std::int64_t scenes = 0, queries = 0;
};

// A scene of one kind of object is its shape, colour, ground and size, as members "objects" and "attributes"
// of the .json say (worker/stages/synthesize/concepts.h). Each asks for itself in the next colour, by name,
// that the set has of it: image + 2 "a <colour> <shape>", its own picture left out. edited_recall@k: the
// share of queries with such a picture among the k best; words_recall@k, picture_recall@k: by the words or
// the picture alone, which know nothing of the ground, or of the colour. `image_ND`: unit rows; `words`:
// embeds texts, unit rows. Throws kInvalid for samples without these members and when no scene has another
// colour.
AnalogyScores analogy_scores(const runtime::OpenedTask& task, const std::string& data, const Places& places,
                             const at::Tensor& image_ND, const std::vector<std::int64_t>& recall_k,
                             const std::function<at::Tensor(const std::vector<std::string>&)>& words,
                             const std::function<void()>& poll);

}  // namespace trireme::worker::stages::evaluate
