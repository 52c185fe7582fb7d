// Reads the writing in a picture: lines that the detector finds are cut out, turned upright, brought to one
// letter height and given to Tesseract (LSTM, English), one by one, on the calling thread. Not thread-safe:
// one spotter per thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/spotting/text_detector.h"

namespace trireme::worker::spotting {

struct SpottedText {
  std::string text;       // UTF-8, words joined by one blank
  double confidence = 0;  // 0 to 1: the mean of its words', weighted by their length
};

class Spotter {
 public:
  // `data_folder`: that of eng.traineddata; "" for $TESSDATA_PREFIX or Tesseract's own. Throws kNotFound
  // when the language data are not installed.
  explicit Spotter(const std::string& data_folder = "");
  ~Spotter();

  // At most `most_lines` of `lines`, in the order given, read from `plane`. `scale` is plane px per px of the
  // plane that the lines were found in. Words below `least_confidence` are left out; empty lines, too.
  std::vector<SpottedText> read(const Plane& plane, const std::vector<TextLine>& lines, double scale,
                                double least_confidence, int most_lines = 12);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The line upright, dark on light, letters `letter_px` high, with a margin.
Plane upright_line(const Plane& plane, const TextLine& line, double scale, double letter_px);

}  // namespace trireme::worker::spotting
