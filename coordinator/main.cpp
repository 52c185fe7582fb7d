#include "coordinator/app.h"

int main(int argc, char** argv) {
  return trireme::coordinator::run(argc, argv);
}
