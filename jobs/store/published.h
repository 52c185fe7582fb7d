// Published weights and vocabularies, "pretrained:<name>", and the one rule where they lie, for planner,
// worker and doctor alike.
#pragma once

#include <string>
#include <vector>

#include "common/io/file.h"

namespace trireme::jobs {

// The folder that $TRIREME_WEIGHTS names, and nothing else when it is set; otherwise the first that exists of
//   <prefix>/share/trireme/weights   of an installed program, which is <prefix>/bin/<name>
//   .trireme/weights                 of the checkout that holds this program: of its folder or any above
//   /opt/trireme/weights             of an image
// so that a tree can be moved and no path is built in. "" when there is none.
io::Path weights_folder();

// The file that weights or a vocabulary of a job stand for: a file, a checkpoint's folder (weights), or
// "pretrained:<name>" in weights_folder(). Throws kNotFound with the nearest name, or with the folder that
// was looked at and what installs the file.
std::string resolve_weights(const std::string& given);
std::string resolve_vocabulary(const std::string& given);

}  // namespace trireme::jobs
