// Connected components of what stands out from its surroundings.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/spotting/text_detector.h"

namespace trireme::worker::spotting {

// Bounding box [left, right) x [top, bottom), px.
struct Component {
  int left = 0, top = 0, right = 0, bottom = 0;
  int area = 0;
  int runs = 0;      // horizontal runs of pixels
  int contrast = 0;  // mean difference to the surroundings
  int width() const { return right - left; }
  int height() const { return bottom - top; }
  // Mean thickness of strokes: of horizontal runs, where strokes are not horizontal.
  double stroke() const { return static_cast<double>(area) / runs; }
};

// Dark components (`light` false) or light ones, 8-connected: pixels that differ by more than `least` from
// the mean of a window of 2 radius + 1 px. Both lists at once, for they share the means.
struct Components {
  std::vector<Component> dark, light;
};
Components find_components(const Plane& plane, int radius, int least);

}  // namespace trireme::worker::spotting
