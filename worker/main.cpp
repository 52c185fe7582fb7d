#include "worker/app.h"

int main(int argc, char** argv) {
  return trireme::worker::run(argc, argv);
}
