// Any bytes as a search: refused by name, or the same after its own JSON. Seeds: queries of docs/search.md.
#include <cstdlib>

#include "common/base/error.h"
#include "jobs/search/query.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trireme;
  jobs::SearchQuery query;
  try {
    query = jobs::query_from_json({reinterpret_cast<const char*>(data), size});
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInternal) std::abort();
    return 0;
  }
  const std::string text = jobs::to_json(query);
  if (jobs::to_json(jobs::query_from_json(text)) != text) std::abort();
  return 0;
}
