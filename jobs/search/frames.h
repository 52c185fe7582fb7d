// What a search service and its workers say to one another over a local socket: length, number of the
// request, what is asked or how it went, and the body (JSON, or a picture). Both run the same program's
// version on one machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/enum_names.h"
#include "common/base/error.h"

namespace trireme::jobs {

enum class SearchCall : std::uint8_t {
  kSearch,     // a SearchQuery
  kItem,       // {"index", "id"}
  kThumbnail,  // {"index", "id"}: a JPEG
  kKnn,        // clip-retrieval's /knn-service
  kMetadata,   // clip-retrieval's /metadata
  kRows        // a SearchQuery: the embeddings of its parts
};
constexpr std::array<std::string_view, 6> names_of(SearchCall) {
  return {"search", "item", "thumbnail", "knn", "metadata", "rows"};
}

struct Frame {
  std::uint64_t number = 0;  // 0: the worker is ready, the body says what it serves
  std::uint8_t code = 0;     // a SearchCall; of an answer 0, or 1 + ErrorKind with a message as body
  std::string body;
};

inline constexpr std::size_t kLargestFrame = 64U << 20;

std::string encoded(const Frame& frame);

// Takes the first whole frame out of `bytes`; nothing while it is not whole. Throws kDamaged for one that is
// larger than any may be.
std::optional<Frame> take_frame(std::string& bytes);

constexpr std::uint8_t code_of(ErrorKind kind) {
  return static_cast<std::uint8_t>(1 + static_cast<int>(kind));
}

}  // namespace trireme::jobs
