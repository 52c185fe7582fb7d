#include "worker/text/tokenizers/vocabulary_file.h"

#include <zlib.h>

#include <cerrno>
#include <filesystem>
#include <memory>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "jobs/layouts/line_list.h"

namespace trireme::worker::text {
namespace {

constexpr std::size_t kMostBytes = std::size_t{256} << 20;

std::string read_all(const std::string& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) throw system_error("vocabulary " + path, errno);
  std::string text;
  std::string piece(std::size_t{1} << 20, '\0');
  int count = 0;
  while ((count = gzread(file.get(), piece.data(), static_cast<unsigned>(piece.size()))) > 0) {
    text.append(piece, 0, static_cast<std::size_t>(count));
    if (text.size() > kMostBytes)
      throw Error(ErrorKind::kInvalid, "vocabulary " + path + " is larger than 256 MiB",
                  "is this the right file?");
  }
  int code = Z_OK;
  const char* const message = gzerror(file.get(), &code);
  if (count < 0 || (code != Z_OK && code != Z_STREAM_END))
    throw Error(ErrorKind::kDamaged, "vocabulary " + path + " cannot be unpacked: " + message,
                "copy or download the file again");
  return text;
}

}  // namespace

std::vector<std::string> read_vocabulary_lines(const std::string& path) {
  if (path.empty() || !io::exists(path))
    throw Error(ErrorKind::kNotFound, "vocabulary '" + path + "' is not a file",
                "set tokenizer.vocabulary to a file or to pretrained:<name>");
  if (!io::is_file(path)) throw Error(ErrorKind::kInvalid, "vocabulary " + path + " is not a regular file");
  return jobs::parse_line_list(read_all(path), "vocabulary " + path, /*trim=*/false);
}

}  // namespace trireme::worker::text
