// Any bytes as the vocabulary of each tokenizer, and a few captions through it: refused by name, or ids
// within the vocabulary. Seeds: a few lines of each.
#include <cstdlib>

#include <unistd.h>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "worker/text/tokenizers/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trireme;
  static const io::Path file =
      io::temporary_folder() / ("trireme-vocabulary-fuzz-" + std::to_string(::getpid()));
  static const bool removed_at_end = std::atexit([] { io::remove_file(file); }) == 0;
  if (!removed_at_end) return 0;
  io::write_file_atomic(file, {reinterpret_cast<const char*>(data), size}, false, 0600);
  for (const auto kind : {jobs::TokenizerKind::kClipBpe, jobs::TokenizerKind::kWordPiece,
                          jobs::TokenizerKind::kSentencePiece}) {
    jobs::TokenizerSpec spec;
    spec.kind = kind;
    spec.vocabulary = file.string();
    try {
      const auto tokenizer = worker::text::make_tokenizer(spec);
      for (const char* caption :
           {"", "a photo of a dog", "\xe6\x9d\xb1 don't \xff &amp; 3", "aaaaaaaaaaaaaaaa"}) {
        const auto tokens = tokenizer->encode(caption, 9);
        if (tokens.ids.size() > 9) std::abort();
        for (const std::int64_t id : tokens.ids)
          if (id < 0 || id >= tokenizer->vocabulary_size()) std::abort();
        tokenizer->decode(tokens.ids);
      }
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kInternal) std::abort();
    }
  }
  return 0;
}
