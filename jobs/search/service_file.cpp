#include "jobs/search/service_file.h"

#include <cerrno>
#include <csignal>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/host_name.h"
#include "common/base/log.h"
#include "common/io/folder.h"

namespace trireme::jobs {
namespace {

using nlohmann::ordered_json;

io::Path path_of(const io::Path& run) {
  return run / "search-service.json";
}

// A process of another host cannot be looked for.
bool may_live(const ServiceFile& service, const std::string& here) {
  return service.host != here || ::kill(static_cast<pid_t>(service.pid), 0) == 0 || errno == EPERM;
}

}  // namespace

void write_service_file(const io::Path& run, const ServiceFile& service) {
  if (io::exists(run / "manifest.json")) return;
  const ordered_json json = {{"format", "trireme-search-service"},
                             {"version", 1},
                             {"url", service.url},
                             {"pid", service.pid},
                             {"host", service.host},
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
  try {
    if (json.at("format") != "trireme-search-service" || json.at("version") != 1) return std::nullopt;
    return ServiceFile{json.at("url"), json.at("pid"), json.value("host", host_name()), json.at("index"),
                       json.at("token_file")};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

bool announce_again(const io::Path& run, const ServiceFile& service) {
  const auto announced = read_service_file(run);
  if (announced && announced->pid > 0 && may_live(*announced, service.host)) return false;
  write_service_file(run, service);
  return true;
}

void remove_service_file(const io::Path& run, std::int64_t pid) {
  if (const auto service = read_service_file(run);
      service && service->pid == pid && service->host == host_name())
    io::remove_file(path_of(run));
}

}  // namespace trireme::jobs
