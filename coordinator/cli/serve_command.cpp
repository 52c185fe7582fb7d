#include "coordinator/cli/serve_command.h"

#include <algorithm>
#include <ostream>
#include <thread>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "coordinator/cli/client/http_client.h"
#include "coordinator/cli/launch/process.h"
#include "jobs/search/search_options.h"
#include "jobs/search/service_file.h"

namespace trireme::coordinator::cli {
namespace {

using nlohmann::ordered_json;

std::string token_of(const std::string& file) {
  if (file.empty()) return "";
  std::string token = io::read_file(file, 4096);
  while (!token.empty() && token.back() == '\n') token.pop_back();
  return token;
}

HttpCall call_of(const jobs::ServiceFile& service, const std::string& body) {
  HttpCall call;
  const std::size_t colon = service.url.rfind(':');
  const std::string scheme = "http://";
  if (!service.url.starts_with(scheme) || colon <= scheme.size())
    throw Error(ErrorKind::kUnavailable, "search-service.json names no address");
  call.host = service.url.substr(scheme.size(), colon - scheme.size());
  call.port = std::atoi(service.url.c_str() + colon + 1);
  call.method = "POST";
  call.target = "/api/v1/search";
  call.body = body;
  call.headers = {{"Content-Type", "application/json"}};
  if (const std::string token = token_of(service.token_file); !token.empty())
    call.headers["Authorization"] = "Bearer " + token;
  return call;
}

// The service's answer, or its refusal as the error that the tool itself would give.
std::string answer_of(const HttpAnswer& answer) {
  if (answer.status == 200) return answer.body;
  const auto json = ordered_json::parse(answer.body, nullptr, false);
  const std::string detail = json.is_object() ? json.value("detail", "") : "";
  throw Error(answer.status == 404   ? ErrorKind::kNotFound
              : answer.status == 401 ? ErrorKind::kUnauthorised
              : answer.status == 503 ? ErrorKind::kTryAgain
                                     : ErrorKind::kInvalid,
              detail.empty() ? "the search service answered " + std::to_string(answer.status) : detail);
}

void print(const jobs::SearchOptions& options, const jobs::ServiceFile& service, const std::string& answer,
           std::ostream& out) {
  if (options.json)
    out << ordered_json::parse(answer).dump(2, ' ', false, ordered_json::error_handler_t::replace) << "\n";
  else
    out << jobs::answer_text(answer) << "pictures: " << service.url << "/\n";
}

}  // namespace

int serve(serve::ServiceOptions options, std::ostream& out) {
  options.worker_program = find_program("trireme-worker");
  if (options.worker_program.empty())
    throw Error(ErrorKind::kNotFound, "the program trireme-worker is neither beside trireme nor in $PATH",
                "build it (./quickstart build)");
  const auto cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  if (options.threads == 0) options.threads = std::max(1, cores / options.workers);
  serve::Service service(std::move(options));
  service.wait_until_ready();
  out << "searching at " << service.link() << std::endl;
  if (!service.token_file().empty())
    out << "the link opens it once; programs send the token in " << service.token_file().string()
        << std::endl;
  service.run_until_signalled();
  return 0;
}

bool asked_service(const std::vector<std::string>& arguments, std::ostream& out) {
  if (std::find(arguments.begin(), arguments.end(), "--help") != arguments.end()) return false;
  jobs::SearchOptions options = jobs::parse_search(arguments);
  if (!options.service || !options.batch.empty() || !options.html.empty()) return false;
  const auto service = jobs::read_service_file(options.run);
  if (!service) return false;
  options.query.index = service->index;
  jobs::read_pictures(options.query);
  HttpAnswer answer;
  try {
    answer = http_call(call_of(*service, jobs::to_json(options.query)));
  } catch (const Error& error) {  // it is gone, or this user may not read its token
    log_warning("search", std::string("the search service is not asked: ") + error.what());
    return false;
  }
  print(options, *service, answer_of(answer), out);
  return true;
}

}  // namespace trireme::coordinator::cli
