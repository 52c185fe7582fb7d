// Lines of a merges file or vocab.txt, plain or gzip.
#pragma once

#include <string>
#include <vector>

namespace trireme::worker::text {

// Without line ends; a last empty line is dropped. Throws kNotFound / kInvalid / kDamaged naming the file.
std::vector<std::string> read_vocabulary_lines(const std::string& path);

}  // namespace trireme::worker::text
