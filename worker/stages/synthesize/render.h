// Scenes and words as pixels, antialiased by the distance to each edge. A pure function of its arguments.
#pragma once

#include <cstdint>
#include <string>

#include "worker/data/images/image.h"
#include "worker/stages/synthesize/scene.h"

namespace trireme::worker::stages::synthesize {

// side x side pixels; `texture` keys the grain of grass, snow and sand.
data::Image render(const Scene& scene, std::int64_t side, std::uint64_t texture);

// Draws words in capitals of a 5 x 7 face over the picture, wrapped to its width, at a slight angle, in a
// size and a colour drawn from the stream. Letters and blanks only; other characters are left out.
void draw_words(data::Image& image, const std::string& words, RandomStream& random);

// Bilinear, to any width and height.
data::Image stretch(const data::Image& image, std::int64_t width, std::int64_t height);

data::Image crop(const data::Image& image, std::int64_t x, std::int64_t y, std::int64_t width,
                 std::int64_t height);

}  // namespace trireme::worker::stages::synthesize
