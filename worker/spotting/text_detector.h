// Where writing may stand in a picture, cheaply: what is much darker or lighter than its surroundings is cut
// into connected components; components of about one height that follow one another along a straight line are
// a line, and a linear score over how even, how straight, how contrasting and how many they are says whether
// it is worth a recogniser. The weights are a logistic regression over lines of drawn
// words and of photographs without text. Letters from 6 to 120 px of the plane, lines within 30 degrees of
// upright.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace trireme::worker::spotting {

// 8-bit luma, row by row without padding.
struct Plane {
  std::int64_t width = 0, height = 0;
  std::vector<std::uint8_t> luma;
};

struct TextLine {
  double left_x = 0, left_y = 0, right_x = 0, right_y = 0;  // ends of the middle of the line, px of the plane
  double letter_height = 0;                                 // px of the plane
  int letters = 0;                                          // components in the line
  bool light = false;                                       // lighter than its ground
  double score = 0;
};

inline constexpr double kTextScore = 0.49;  // lets about a tenth of photographs without text pass

// Lines that score at least so much, best first. A plane of less than 16 px a side has none. Thread-safe.
std::vector<TextLine> find_text_lines(const Plane& plane, double least_score = kTextScore);

// Half as wide and high, each pixel the mean of four.
Plane halved(const Plane& plane);

}  // namespace trireme::worker::spotting
