// The text in a picture: lines are looked for in its luma and in its blueness, B - Y (yellow on white has no
// luma to speak of, blue on black and white stripes has all of its contrast there); the best twelve are read.
// Measured figures: README.md.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/spotting/spotter.h"

namespace trireme::worker::spotting {

// Y = (77 R + 150 G + 29 B) / 256 and 128 + 2 (B - Y) / 3, of interleaved RGB.
Plane luma_of(const std::uint8_t* rgb, std::int64_t width, std::int64_t height);
Plane blueness_of(const std::uint8_t* rgb, std::int64_t width, std::int64_t height);

// The cheap look before it: whether a line may stand in the picture. `rgb` has half as many pixels a side as
// spot_text() would get, or with `whole` as many, and the planes are halved here. Letters of 12 px and more
// of the picture that is read are seen. Lets pass about an eighth of photographs without text.
inline constexpr double kMayBeText = -1;
bool may_have_text(const std::uint8_t* rgb, std::int64_t width, std::int64_t height, bool whole);

// Tesseract is asked only where a line was found. Text of less than `least_confidence` is left out.
std::vector<SpottedText> spot_text(const std::uint8_t* rgb, std::int64_t width, std::int64_t height,
                                   Spotter& spotter, double least_confidence);

}  // namespace trireme::worker::spotting
