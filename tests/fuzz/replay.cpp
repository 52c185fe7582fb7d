// Every fuzz target without libFuzzer, in each build: its seeds, and what a fixed generator makes of them,
// for some seconds each. A crash, a contradiction or an input that takes too long ends it with the input in a
// file. tests/fuzz/run.sh does the same with sanitizers, and looks where the bytes lead.
//
//     fuzz_replay SECONDS [TARGET…]      in the root of the checkout
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "jobs/store/tar_scan.h"

using Entry = int(const std::uint8_t*, std::size_t);
// CMakeLists.txt names LLVMFuzzerTestOneInput of each target so.
extern "C" Entry fuzz_protocol, fuzz_job, fuzz_sweep, fuzz_tar, fuzz_table, fuzz_safetensors, fuzz_ledger,
    fuzz_http, fuzz_image, fuzz_query, fuzz_config, fuzz_vocabulary, fuzz_caption;

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
constexpr std::size_t kLongest = 65536;
constexpr auto kSlow = std::chrono::seconds(5);

struct Target {
  const char* name;
  Entry* entry;
  std::vector<std::string> seeds;
};

std::string bytes_of(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<std::string> files(const fs::path& folder, const std::string& begin, const std::string& end) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder))
    if (const auto name = entry.path().filename().string(); name.starts_with(begin) && name.ends_with(end))
      paths.push_back(entry.path());
  std::ranges::sort(paths);
  std::vector<std::string> found;
  for (const auto& path : paths) found.push_back(bytes_of(path));
  return found;
}

std::vector<std::string> members(const std::vector<std::string>& tars) {
  std::vector<std::string> found;
  for (const auto& tar : tars)
    trireme::store::scan_tar(tar, [&](const trireme::store::TarMember& member) {
      if (member.size <= kLongest) found.push_back(tar.substr(member.offset, member.size));
    });
  return found;
}

std::vector<std::string> peer_configs() {
  std::vector<std::string> found;
  for (const auto& folder : nlohmann::json::parse(bytes_of("tests/golden/peer_folders.json")))
    for (const auto& file : folder.at("files")) found.push_back(file.dump());
  return found;
}

std::vector<Target> targets() {
  const auto pictures = files("tests/golden", "", "images.tar");
  const std::string
      get =
          "GET /api/v1/jobs?limit=3 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
          "0123456789abcdef\r\n\r\n",
      post =
          "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost:80\r\nContent-Type: "
          "application/json\r\nTransfer-Encoding: "
          "chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
      query =
          R"({"query": [{"text": "a dog", "weight": 2}, {"item": "9f1c.17", "weight": -1}, {"embedding": [0.1, 2], "of": "texts"}],
 "k": 40, "offset": 0, "filter": [{"column": "width", "least": 200}, {"column": "lang", "one_of": ["en"]}], "distinct": 0.95})",
      header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  return {
      {"protocol", fuzz_protocol, {std::string(64, '\0'), std::string("TRMS\x01\0", 6) + std::string(60, 1)}},
      {"job", fuzz_job, files("jobs/examples", "", ".json")},
      {"sweep", fuzz_sweep, files("jobs/examples", "sweep-", ".json")},
      {"tar", fuzz_tar, pictures},
      {"table",
       fuzz_table,
       {"filepath,title\na.png,\"b, \"\"c\"\"\"\n", "{\"filepath\": \"a.png\", \"title\": \"b\"}\n"}},
      {"safetensors",
       fuzz_safetensors,
       {std::string{static_cast<char>(header.size()), 0, 0, 0, 0, 0, 0, 0} + header + std::string(8, 'x')}},
      {"ledger", fuzz_ledger, {std::string("\1\0\0\0abcd", 8), std::string("\0\x20\0\0efgh", 8)}},
      {"image", fuzz_image, members(pictures)},
      {"http", fuzz_http, {get, post}},
      {"query", fuzz_query, {query}},
      {"config", fuzz_config, peer_configs()},
      {"vocabulary",
       fuzz_vocabulary,
       {bytes_of("tests/golden/sentencepiece/t5.model"),
        bytes_of("tests/golden/sentencepiece/xlm_roberta.model"),
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nphoto\n##s\ndog\n", "#version: 0.2\na b\nab c</w>\n"}},
      {"caption",
       fuzz_caption,
       {"Two men's dogs, chasing a red ball in the park on 3 May.",
        "r\u00e9sum\u00e9 na\u00efve \u00c3\u00a9 &amp;eacute; <b>\u6771\u4eac</b> \ufb01 \u201cx\u201d "
        "\u0e20\u0e32\u0e29\u0e32 "
        "\u0644\u063a\u0629"}}};
}

// One to four of: a bit flipped, some bytes of chance, a piece taken out, doubled, or put in from another.
std::string changed(std::string text, const std::string& other, std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) {
    return limit == 0 ? 0 : static_cast<std::size_t>(random() % limit);
  };
  for (std::size_t count = 1 + below(4); count > 0; --count) {
    const std::size_t at = below(text.size() + 1), length = 1 + below(below(8) == 0 ? 4096 : 8);
    switch (below(5)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        break;
      case 1:
        for (std::size_t i = at; i < std::min(text.size(), at + length); ++i)
          text[i] = static_cast<char>(random());
        break;
      case 2:
        text.erase(at, length);
        break;
      case 3:
        text.insert(at, text.substr(at, length));
        break;
      default:
        text.insert(at, other.substr(below(other.size() + 1), length));
    }
  }
  return text.substr(0, kLongest);
}

const std::string* in_hand = nullptr;
std::string finding;

void keep(int signal) {
  const int file = ::open(finding.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file >= 0 && ::write(file, in_hand->data(), in_hand->size()) >= 0) ::close(file);
  static constexpr char kSaid[] = "\na finding: see finding-TARGET in this folder\n";
  [[maybe_unused]] const auto told = ::write(STDERR_FILENO, kSaid, sizeof kSaid - 1);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(const Target& target, double seconds) {
  std::mt19937_64 random(7);
  finding = std::string("finding-") + target.name;
  std::string input;
  in_hand = &input;
  const auto begun = Clock::now();
  std::uint64_t count = 0;
  for (; count < target.seeds.size() || std::chrono::duration<double>(Clock::now() - begun).count() < seconds;
       ++count) {
    const std::string &seed = target.seeds[count % target.seeds.size()],
                      &other = target.seeds[static_cast<std::size_t>(random() % target.seeds.size())];
    input = count < target.seeds.size() ? seed : changed(seed, other, random);
    const auto start = Clock::now();
    target.entry(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
    if (Clock::now() - start > kSlow) std::abort();
  }
  std::printf("%s: %llu inputs from %zu seeds\n", target.name, static_cast<unsigned long long>(count),
              target.seeds.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, keep);
  const double seconds = argc > 1 ? std::atof(argv[1]) : 1;
  const std::vector<std::string> wanted(argv + std::min(argc, 2), argv + argc);
  for (const auto& target : targets()) {
    if (!wanted.empty() && std::ranges::find(wanted, target.name) == wanted.end()) continue;
    if (target.seeds.empty()) {
      std::printf("%s: there are no seeds here\n", target.name);
      return 2;
    }
    run(target, seconds);
  }
  return 0;
}
