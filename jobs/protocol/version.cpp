#include "jobs/protocol/version.h"

namespace trireme {

std::string version() {
  return TRIREME_VERSION;
}

}  // namespace trireme
