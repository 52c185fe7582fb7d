// True sentences about a scene, in several templates: what is there, how many, how large, where to each
// other, on which background. And sentences that say nothing of the picture.
#pragma once

#include <string>
#include <vector>

#include "worker/stages/synthesize/scene.h"

namespace trireme::worker::stages::synthesize {

// `count` captions of 3 to 20 words, different from one another as long as the templates allow. A share of
// `actions` says what the objects do.
std::vector<std::string> captions_of(const Scene& scene, std::int64_t count, double actions,
                                     RandomStream& random);

// What a captioner would say that sees shapes, colours and scenery and no more: the same for equal scenes.
std::string coarse_caption(const Scene& scene);

// "two red stars", "a small blue ring".
std::string object_phrase(const Scene& scene, std::size_t object, bool with_size);

// Alt-text that many pictures share.
std::string boilerplate(RandomStream& random);

// A sentence in German, French, Spanish, Czech, Italian, Polish, Dutch or Portuguese.
std::string foreign_sentence(RandomStream& random);

}  // namespace trireme::worker::stages::synthesize
