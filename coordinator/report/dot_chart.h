// Values of named rows as inline SVG: every value a faint dot, the mean a strong one, a bar of one spread to
// each side. No script, no outside file.
#pragma once

#include <string>
#include <vector>

namespace trireme::coordinator::report {

struct DotRow {
  std::string name;
  double mean = 0, spread = 0;  // not finite: not drawn
  std::vector<double> values;
};

std::string dot_chart(const std::vector<DotRow>& rows, const std::string& title);

}  // namespace trireme::coordinator::report
