#include "coordinator/cli/launch/hosts.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/file.h"

namespace trireme::coordinator::cli {
namespace {

constexpr int kMostSlots = 100000;

// The whole text as a number of 1 or more, 0 where it is none.
int number_of(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 1 && value <= kMostSlots ? value
                                                                                                       : 0;
}

bool good_host(std::string_view name) {
  return !name.empty() && name.size() <= 253 && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                  c == '-' || c == '_';
         });
}

void add_host(std::vector<Host>& hosts, std::string_view name, int slots) {
  const auto same = std::find_if(hosts.begin(), hosts.end(), [&](const Host& h) { return h.name == name; });
  if (same == hosts.end())
    hosts.push_back({std::string(name), slots});
  else
    same->slots += slots;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

// Splits at commas that stand outside of brackets.
std::vector<std::string_view> split_outside_brackets(std::string_view text) {
  std::vector<std::string_view> parts;
  int depth = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || (text[i] == ',' && depth == 0)) {
      parts.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    } else if (text[i] == '[') {
      ++depth;
    } else if (text[i] == ']') {
      --depth;
    }
  }
  return parts;
}

[[noreturn]] void bad_list(std::string_view list) {
  throw Error(ErrorKind::kInvalid, "'" + printable(std::string(list), 200) + "' is no list of Slurm's nodes",
              "name the hosts with --hosts a:8,b:8");
}

// "01-03" -> 01 02 03, "7" -> 7.
void expand_range(std::string_view range, std::string_view list, const std::string& before,
                  const std::string& after, std::vector<std::string>& names) {
  const auto ends = split(range, '-');
  const std::string_view first = ends.front(), last = ends.back();
  if (ends.size() > 2 || first.empty() || first.find_first_not_of("0123456789") != std::string_view::npos ||
      last.empty() || last.find_first_not_of("0123456789") != std::string_view::npos || last.size() > 8)
    bad_list(list);
  const long from = std::stol(std::string(first)), to = std::stol(std::string(last));
  if (to < from || to - from > kMostSlots) bad_list(list);
  for (long number = from; number <= to; ++number) {
    std::string digits = std::to_string(number);
    if (digits.size() < first.size()) digits.insert(0, first.size() - digits.size(), '0');
    names.push_back(before + digits + after);
  }
}

HostList of_slurm(const std::function<std::string(const std::string&)>& get) {
  HostList found{{}, "Slurm job " + get("SLURM_JOB_ID")};
  const auto names = expand_nodes(get("SLURM_JOB_NODELIST"));
  const std::string tasks = get("SLURM_TASKS_PER_NODE");
  const auto counts = tasks.empty() ? std::vector<int>(names.size(), 0) : expand_counts(tasks);
  if (counts.size() != names.size())
    throw Error(ErrorKind::kInvalid,
                "Slurm names " + std::to_string(names.size()) + " nodes but counts tasks for " +
                    std::to_string(counts.size()) + " (SLURM_TASKS_PER_NODE=" + printable(tasks, 100) + ")",
                "name the hosts with --hosts");
  for (std::size_t i = 0; i < names.size(); ++i) add_host(found.hosts, names[i], counts[i]);
  return found;
}

HostList of_file(const std::string& file, const std::string& source) {
  return {parse_hostfile(io::read_file(file, 64U << 20), file), source};
}

}  // namespace

std::vector<Host> parse_hosts(std::string_view text) {
  std::vector<Host> hosts;
  for (const auto part : split(text, ',')) {
    const std::size_t colon = part.rfind(':');
    const auto name = part.substr(0, colon);
    const int slots = colon == std::string_view::npos ? 0 : number_of(part.substr(colon + 1));
    if (!good_host(name) || (colon != std::string_view::npos && slots == 0))
      throw Error(ErrorKind::kUsage,
                  "--hosts has '" + printable(std::string(part), 100) + "', which is no host[:workers]",
                  "write --hosts a:8,b:8");
    add_host(hosts, name, slots);
  }
  return hosts;
}

std::vector<Host> parse_hostfile(std::string_view text, const std::string& file) {
  std::vector<Host> hosts;
  int number = 0;
  for (auto line : split(text, '\n')) {
    ++number;
    line = line.substr(0, line.find('#'));
    std::istringstream words{std::string(line)};
    std::string name, word;
    if (!(words >> name)) continue;
    int slots = 1;
    bool good = good_host(name);
    while (words >> word) {
      if (word.rfind("slots=", 0) == 0)
        good = good && (slots = number_of(std::string_view(word).substr(6))) > 0;
      else
        good = good && (word.rfind("max_slots=", 0) == 0 || word.rfind("max-slots=", 0) == 0);
    }
    if (!good)
      throw Error(ErrorKind::kInvalid,
                  file + " line " + std::to_string(number) + ": '" + printable(std::string(line), 200) +
                      "' is no host of a hostfile",
                  "write one host per line: a slots=8");
    add_host(hosts, name, slots);
  }
  if (hosts.empty())
    throw Error(ErrorKind::kInvalid, file + " names no host", "write one per line: a slots=8");
  return hosts;
}

std::vector<std::string> expand_nodes(std::string_view list) {
  std::vector<std::string> names;
  for (const auto part : split_outside_brackets(list)) {
    const std::size_t open = part.find('['), close = part.find(']');
    if (open == std::string_view::npos) {
      if (!good_host(part)) bad_list(list);
      names.emplace_back(part);
      continue;
    }
    if (close == std::string_view::npos || close < open) bad_list(list);
    for (const auto range : split(part.substr(open + 1, close - open - 1), ','))
      expand_range(range, list, std::string(part.substr(0, open)), std::string(part.substr(close + 1)),
                   names);
  }
  return names;
}

std::vector<int> expand_counts(std::string_view list) {
  std::vector<int> counts;
  for (const auto part : split(list, ',')) {
    const std::size_t open = part.find("(x");
    const int value = number_of(part.substr(0, open));
    const int times = open == std::string_view::npos ? 1
                      : part.back() == ')' ? number_of(part.substr(open + 2, part.size() - open - 3))
                                           : 0;
    if (value == 0 || times == 0) bad_list(list);
    counts.insert(counts.end(), static_cast<std::size_t>(times), value);
  }
  return counts;
}

HostList hosts_of_environment(const std::function<std::string(const std::string&)>& get) {
  if (!get("SLURM_JOB_NODELIST").empty()) return of_slurm(get);
  if (!get("PBS_NODEFILE").empty()) return of_file(get("PBS_NODEFILE"), "PBS job " + get("PBS_JOBID"));
  if (!get("LSB_DJOB_HOSTFILE").empty())
    return of_file(get("LSB_DJOB_HOSTFILE"), "LSF job " + get("LSB_JOBID"));
  const std::string file = get("OMPI_MCA_orte_default_hostfile");
  if (!file.empty()) return of_file(file, "hostfile " + file);
  return {};
}

}  // namespace trireme::coordinator::cli
