#include "coordinator/cli/launch/process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/io/folder.h"

namespace trireme::coordinator::cli {
namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

std::vector<std::string> environment_with(const std::map<std::string, std::string>& more) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (more.count(text.substr(0, text.find('='))) == 0) out.push_back(text);
  }
  for (const auto& [name, value] : more) out.push_back(name + "=" + value);
  return out;
}

std::string in_path(const std::string& name) {
  if (name.find('/') != std::string::npos) return io::may_run(name) ? name : "";
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "/usr/bin:/bin" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string file = (folder.empty() ? "." : folder) + "/" + name;
    if (io::may_run(file) && !io::is_folder(file)) return file;
  }
  return "";
}

// In the child: only async-signal-safe calls.
[[noreturn]] void become(const char* program, char* const* arguments, char* const* environment, int output,
                         pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::execve(program, arguments, environment);
  ::_exit(127);
}

pid_t start(const Spawn& what, int output) {
  const std::string program = in_path(what.command.at(0));
  if (program.empty())
    throw Error(ErrorKind::kNotFound, "the program " + what.command[0] + " is not there",
                "see 'trireme doctor'");
  std::vector<std::string> arguments = what.command, environment = environment_with(what.environment);
  const auto argument_pointers = pointers(arguments), environment_pointers = pointers(environment);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) throw system_error("cannot start " + program, errno);
  if (child == 0)
    become(program.c_str(), argument_pointers.data(), environment_pointers.data(), output, parent);
  ::setpgid(child, child);  // whichever of the two is first
  return child;
}

int code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool is_zombie(pid_t process) {
  try {
    const std::string stat = io::read_file("/proc/" + std::to_string(process) + "/stat", 65536);
    const std::size_t end = stat.rfind(')');
    return end == std::string::npos || end + 2 >= stat.size() || stat[end + 2] == 'Z' || stat[end + 2] == 'X';
  } catch (const Error&) {
    return true;
  }
}

}  // namespace

pid_t spawn(const Spawn& what) {
  io::make_folders(what.output.parent_path());
  const int output = io::disk().open(what.output, O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (output < 0) throw system_error("cannot open " + what.output.string(), errno);
  try {
    const pid_t child = start(what, output);
    ::close(output);
    return child;
  } catch (...) {
    ::close(output);
    throw;
  }
}

std::optional<Ended> ended(pid_t child) {
  int status = 0;
  const pid_t got = ::waitpid(child, &status, WNOHANG);
  if (got == 0 || (got < 0 && errno == EINTR)) return std::nullopt;
  if (got != child) return Ended{127, 0};
  return Ended{code_of(status), WIFSIGNALED(status) ? WTERMSIG(status) : 0};
}

void wait_for_end(pid_t child, std::chrono::milliseconds at_most) {
  constexpr int kBlindly = 20;  // a kernel without such descriptors
  const int end = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
  const int most = static_cast<int>(at_most.count());
  pollfd wait{end, POLLIN, 0};
  ::poll(&wait, 1, end >= 0 ? most : std::min(most, kBlindly));
  if (end >= 0) ::close(end);
}

std::vector<pid_t> processes_marked(const std::string& name, const std::string& value) {
  const std::string mark = name + "=" + value;
  std::vector<pid_t> found;
  for (const auto& entry : io::list_folder("/proc")) {
    const std::string digits = entry.filename().string();
    if (digits.find_first_not_of("0123456789") != std::string::npos) continue;
    try {
      const std::string environment = '\0' + io::read_file(entry / "environ", 8U << 20);
      const std::size_t at = environment.find('\0' + mark);
      if (at == std::string::npos) continue;
      const std::size_t end = at + 1 + mark.size();
      if (end < environment.size() && environment[end] != '\0') continue;
      const pid_t process = std::stoi(digits);
      if (!is_zombie(process)) found.push_back(process);
    } catch (const Error&) {  // gone, or not ours to read
    }
  }
  return found;
}

std::string command_name(pid_t process) {
  try {
    std::string name = io::read_file("/proc/" + std::to_string(process) + "/comm", 4096);
    name.erase(name.find_last_not_of('\n') + 1);
    return name;
  } catch (const Error&) {
    return "";
  }
}

Captured capture(const std::vector<std::string>& command, std::chrono::seconds limit) {
  Captured captured;
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return captured;
  pid_t child = 0;
  try {
    child = start({command, {}, {}}, pipe[1]);
  } catch (const Error&) {
    ::close(pipe[0]);
    ::close(pipe[1]);
    return captured;
  }
  ::close(pipe[1]);
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::array<char, 4096> part{};
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd wait{pipe[0], POLLIN, 0};
    if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) <= 0) break;
    const ssize_t got = ::read(pipe[0], part.data(), part.size());
    if (got <= 0) break;
    if (captured.output.size() < 65536) captured.output.append(part.data(), static_cast<std::size_t>(got));
  }
  ::close(pipe[0]);
  std::optional<Ended> end;
  while (!(end = ended(child)) && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  if (!end) {
    ::kill(-child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    end = Ended{code_of(status), 0};
  }
  captured.exit_code = end->code;
  return captured;
}

std::string find_program(const std::string& name) {
  const io::Path beside = io::own_program().parent_path() / name;
  return io::may_run(beside) ? beside.string() : in_path(name);
}

int become_worker_tool(int argument_count, char** arguments) {
  std::string worker = find_program("trireme-worker"), tool = "tool";
  if (worker.empty())
    throw Error(ErrorKind::kNotFound, "the program trireme-worker is neither beside trireme nor in $PATH",
                "build it (./quickstart build)");
  std::vector<char*> words{worker.data(), tool.data()};
  words.insert(words.end(), arguments + 1, arguments + argument_count);
  words.push_back(nullptr);
  ::execv(worker.c_str(), words.data());
  throw system_error("cannot start " + worker, errno);
}

}  // namespace trireme::coordinator::cli
