// Words drawn in a stroke face of this test's own, upright and turned, dark and light, coloured; pictures
// without any.
#include "worker/spotting/spot_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "common/base/random.h"
#include "worker/spotting/overlap.h"

namespace trireme::worker::spotting {
namespace {

struct Stroke {
  double x0, y0, x1, y1;  // of a box one wide and one high, y down
};

// Capitals of straight strokes.
const std::map<char, std::vector<Stroke>> kFace = {
    {'A', {{0, 1, .5, 0}, {.5, 0, 1, 1}, {.22, .62, .78, .62}}},
    {'E', {{0, 0, 0, 1}, {0, 0, .9, 0}, {0, .5, .75, .5}, {0, 1, .9, 1}}},
    {'F', {{0, 0, 0, 1}, {0, 0, .9, 0}, {0, .5, .75, .5}}},
    {'H', {{0, 0, 0, 1}, {1, 0, 1, 1}, {0, .5, 1, .5}}},
    {'I', {{.5, 0, .5, 1}}},
    {'K', {{0, 0, 0, 1}, {0, .55, .9, 0}, {.3, .4, .95, 1}}},
    {'L', {{0, 0, 0, 1}, {0, 1, .85, 1}}},
    {'M', {{0, 1, 0, 0}, {0, 0, .5, .8}, {.5, .8, 1, 0}, {1, 0, 1, 1}}},
    {'N', {{0, 1, 0, 0}, {0, 0, 1, 1}, {1, 1, 1, 0}}},
    {'T', {{0, 0, 1, 0}, {.5, 0, .5, 1}}},
    {'V', {{0, 0, .5, 1}, {.5, 1, 1, 0}}},
    {'W', {{0, 0, .25, 1}, {.25, 1, .5, .2}, {.5, .2, .75, 1}, {.75, 1, 1, 0}}},
    {'X', {{0, 0, 1, 1}, {1, 0, 0, 1}}},
    {'Z', {{0, 0, 1, 0}, {1, 0, 0, 1}, {0, 1, 1, 1}}}};

struct Picture {
  std::int64_t width = 480, height = 360;
  std::vector<std::uint8_t> rgb;
};
using Colour = std::array<double, 3>;

double distance(const Stroke& s, double x, double y) {
  const double ex = s.x1 - s.x0, ey = s.y1 - s.y0, px = x - s.x0, py = y - s.y0;
  const double along = std::clamp((px * ex + py * ey) / (ex * ex + ey * ey), 0.0, 1.0);
  return std::hypot(px - along * ex, py - along * ey);
}

// `words` with capitals `px` high, turned about the middle of the picture.
Picture drawn(const std::string& words, double px, double degrees, const Colour& ground, const Colour& ink) {
  std::vector<Stroke> strokes;
  double at = 0;
  for (const char c : words) {
    if (c != ' ')
      for (Stroke s : kFace.at(c)) {
        for (double* x : {&s.x0, &s.x1}) *x = (at + 0.62 * *x) * px;
        for (double* y : {&s.y0, &s.y1}) *y *= px;
        strokes.push_back(s);
      }
    at += 0.9;
  }
  Picture picture;
  const double turn = degrees * 3.14159265358979 / 180, half = 0.075 * px;
  for (std::int64_t y = 0; y < picture.height; ++y)
    for (std::int64_t x = 0; x < picture.width; ++x) {
      const double dx = static_cast<double>(x - picture.width / 2),
                   dy = static_cast<double>(y - picture.height / 2);
      const double tx = dx * std::cos(turn) + dy * std::sin(turn) + at * px / 2,
                   ty = dy * std::cos(turn) - dx * std::sin(turn) + px / 2;
      double nearest = 1e9;
      if (ty > -px && ty < 2 * px && tx > -px && tx < (at + 1) * px)
        for (const auto& s : strokes) nearest = std::min(nearest, distance(s, tx, ty));
      const double share = std::clamp(half + 0.5 - nearest, 0.0, 1.0);
      for (std::size_t c = 0; c < 3; ++c)
        picture.rgb.push_back(static_cast<std::uint8_t>(ground[c] + share * (ink[c] - ground[c])));
    }
  return picture;
}

constexpr const char* kWords[] = {"MILK HALF TAKEN", "TEXT IN THE WINTER", "LITTLE FAMILY", "WHITE ELEPHANT",
                                  "FAMILIAL ATTIC"};
std::string letters_known(std::string words) {
  std::erase_if(words, [](char c) { return c != ' ' && !kFace.contains(c); });
  return words;
}

std::int64_t overlap(Spotter& spotter, const Picture& picture, const std::string& words, double confidence) {
  std::int64_t most = 0;
  if (!may_have_text(picture.rgb.data(), picture.width, picture.height, true)) return 0;
  for (const auto& text : spot_text(picture.rgb.data(), picture.width, picture.height, spotter, confidence))
    most = std::max(most, longest_common_characters(text.text, words));
  return most;
}

TEST(SpotText, DrawnWordsBySizeAngleAndColour) {
  Spotter spotter;
  const std::vector<std::pair<Colour, Colour>> colours = {{{230, 230, 230}, {20, 20, 20}},
                                                          {{40, 60, 40}, {245, 245, 245}},
                                                          {{240, 240, 250}, {250, 250, 10}},
                                                          {{90, 90, 90}, {10, 10, 250}}};
  const auto recall = [&](double px, double degrees) {
    double found = 0, all = 0;
    for (const char* words : kWords)
      for (const auto& [ground, ink] : colours) {
        const std::string text = letters_known(words);
        found += overlap(spotter, drawn(text, px, degrees, ground, ink), text, 0.5) >= 5 ? 1 : 0;
        ++all;
      }
    std::printf("capitals %2.0f px, %3.0f degrees: recall %.2f\n", px, degrees, found / all);
    return found / all;
  };
  recall(8, 0);
  EXPECT_GE(recall(16, 0), 0.95);
  EXPECT_GE(recall(24, 8), 0.95);
  EXPECT_GE(recall(24, -8), 0.95);
  recall(24, 25);
  recall(24, 45);
}

TEST(SpotText, NothingWhereNothingIsWritten) {
  Spotter spotter;
  RandomStream random(4, RandomPurpose::kTest);
  for (int i = 0; i < 8; ++i) {
    Picture picture = drawn("", 20, 0, {200, 180, 160}, {0, 0, 0});
    for (auto& byte : picture.rgb)
      byte = static_cast<std::uint8_t>(
          byte - 40 * (i % 3) + static_cast<int>(random.below(1 + 16 * static_cast<std::uint64_t>(i))));
    EXPECT_LT(overlap(spotter, picture, "a brown dog runs over the beach", 0.3), 5) << i;
  }
  for (const std::int64_t side : {1, 2, 15, 17}) {
    const std::vector<std::uint8_t> rgb(static_cast<std::size_t>(3 * side * side), 77);
    EXPECT_TRUE(spot_text(rgb.data(), side, side, spotter, 0.3).empty());
  }
}

TEST(SpotText, TheCheapLookIsTheSameOnAPictureOfHalfTheSize) {
  const Picture whole = drawn("MILK HALF TAKEN", 24, 5, {230, 230, 230}, {20, 20, 20});
  Picture half{whole.width / 2, whole.height / 2, {}};
  for (std::int64_t y = 0; y < half.height; ++y)
    for (std::int64_t x = 0; x < half.width; ++x)
      for (std::int64_t c = 0; c < 3; ++c) {
        const auto at = [&](std::int64_t dy, std::int64_t dx) {
          return int{whole.rgb[static_cast<std::size_t>(3 * ((2 * y + dy) * whole.width + 2 * x + dx) + c)]};
        };
        half.rgb.push_back(static_cast<std::uint8_t>((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1) + 2) / 4));
      }
  EXPECT_TRUE(may_have_text(whole.rgb.data(), whole.width, whole.height, true));
  EXPECT_TRUE(may_have_text(half.rgb.data(), half.width, half.height, false));
  const Picture plain = drawn("", 24, 0, {230, 230, 230}, {20, 20, 20});
  EXPECT_FALSE(may_have_text(plain.rgb.data(), plain.width, plain.height, true));
}

TEST(SpotText, PlanesShowWhatTheOtherHides) {
  const std::vector<std::uint8_t> yellow_white{250, 250, 10, 250, 250, 250};
  const auto luma = luma_of(yellow_white.data(), 2, 1), blue = blueness_of(yellow_white.data(), 2, 1);
  EXPECT_LT(std::abs(luma.luma[0] - luma.luma[1]), 30);
  EXPECT_GT(std::abs(blue.luma[0] - blue.luma[1]), 100);
  EXPECT_EQ(blue.luma[1], 128);
}

TEST(SpotText, LanguageDataThatAreAbsentAreNamed) {
  try {
    Spotter spotter("/no/such/folder");
    FAIL();
  } catch (const std::exception& error) {
    EXPECT_NE(std::string(error.what()).find("eng.traineddata"), std::string::npos);
  }
}

}  // namespace
}  // namespace trireme::worker::spotting
