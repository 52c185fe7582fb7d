// Any bytes as a job file: faults or a job, never a crash, and at most a hundred faults and their number.
// What has none reads the same again from its effective form. Seeds: jobs/examples.
#include <cstdlib>

#include "jobs/specification/job_spec.h"
#include "jobs/specification/json/names.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trireme::jobs;
  const auto read = read_job({reinterpret_cast<const char*>(data), size});
  if (read.faults.size() > kMostFaults + 1) std::abort();
  if (!read.ok()) return 0;
  const std::string text = effective_json(read.job);
  const auto again = read_job(text);
  if (!again.ok() || effective_json(again.job) != text) std::abort();
  return 0;
}
