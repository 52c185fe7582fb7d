#include "worker/exchange/convert_pickle.h"

#include <spawn.h>
#include <sys/wait.h>

#include <cerrno>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"

extern char** environ;

namespace trireme::worker::exchange {

namespace {

// Beside an installed program, or in the checkout that holds this one.
std::string converter() {
  const io::Path program = io::own_program().parent_path();
  std::vector<io::Path> candidates{program.parent_path() / "share/trireme/pth_to_safetensors.py"};
  for (io::Path folder = program; folder.has_relative_path(); folder = folder.parent_path())
    candidates.push_back(folder / "worker/checkpoint/pth_to_safetensors.py");
  for (const auto& candidate : candidates)
    if (io::is_file(candidate)) return candidate.string();
  throw Error(ErrorKind::kNotFound,
              "pth_to_safetensors.py is neither installed nor in a checkout around this program",
              "install Trireme again, or run worker/checkpoint/pth_to_safetensors.py of its sources");
}

}  // namespace

bool is_pickled(const std::string& path) {
  char head[8] = {};
  io::FileReader(path).read(head);
  const std::string_view start(head, sizeof head);
  // A zip; pickles of protocol 2 to 5. A safetensors header of such a length would be larger than allowed.
  return start.starts_with("PK\x03\x04") ||
         (head[0] == '\x80' && head[1] >= 2 && head[1] <= 5 && head[7] != 0);
}

void convert_pickle(const std::string& from, const std::string& to, const std::string& take) {
  std::vector<std::string> words{"python3", converter(), from, to};
  if (!take.empty()) words.insert(words.end(), {"--take", take});
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  if (const int failed = ::posix_spawnp(&child, "python3", nullptr, nullptr, arguments.data(), environ);
      failed != 0)
    throw Error(ErrorKind::kNotFound, "python3 cannot be started, which reads PyTorch files",
                "install python3");
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw Error(ErrorKind::kInvalid, from + " cannot be converted (reason above)");
}

}  // namespace trireme::worker::exchange
