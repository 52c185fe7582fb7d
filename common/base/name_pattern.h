// Patterns over names, as job specs use them: "visual.*.bias".
#pragma once

#include <string_view>

namespace trireme {

// Of the whole name; '*' stands for any run of characters, none included.
bool matches(std::string_view pattern, std::string_view name);

}  // namespace trireme
