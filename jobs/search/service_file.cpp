#include "jobs/search/service_file.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"

namespace trireme::jobs {
namespace {

using nlohmann::ordered_json;

io::Path path_of(const io::Path& run) {
  return run / "search-service.json";
}

}  // namespace

void write_service_file(const io::Path& run, const ServiceFile& service) {
  if (io::exists(run / "manifest.json")) return;
  const ordered_json json = {{"format", "trireme-search-service"},
                             {"version", 1},
                             {"url", service.url},
                             {"pid", service.pid},
                             {"index", service.index},
                             {"token_file", service.token_file}};
  try {
    io::write_file_atomic(path_of(run), json.dump() + "\n", /*durable=*/false);
  } catch (const Error& error) {
    log_warning("serve", std::string("`trireme search` will not find this service: ") + error.what());
  }
}

std::optional<ServiceFile> read_service_file(const io::Path& run) {
  if (!io::is_file(path_of(run))) return std::nullopt;
  const auto json = ordered_json::parse(io::read_file(path_of(run), 1 << 16), nullptr, false);
  if (!json.is_object() || json.value("format", "") != "trireme-search-service" ||
      json.value("version", 0) != 1)
    return std::nullopt;
  return ServiceFile{json.value("url", ""), json.value("pid", std::int64_t{0}), json.value("index", ""),
                     json.value("token_file", "")};
}

void remove_service_file(const io::Path& run, std::int64_t pid) {
  if (const auto service = read_service_file(run); service && service->pid == pid)
    io::remove_file(path_of(run));
}

}  // namespace trireme::jobs
