// Every metric by its name in the catalog (catalog.h), served for Prometheus by one exporter per process.
// Thread-safe.
#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace trireme::telemetry {

using Labels = std::map<std::string, std::string>;

class Metrics {
 public:
  // Serves http://<host>:<port>/metrics; port 0: a free one; host "": no exporter (tests, tools). Throws as
  // Exporter does. `constant_labels` go on every series (rank). With a `token` a scrape
  // without "Authorization: Bearer <token>" is answered 401.
  Metrics(const std::string& host, int port, const Labels& constant_labels = {},
          const std::string& token = "");
  ~Metrics();
  int port() const;

  // The name must be in the catalog with that type and exactly those label names; anything else throws
  // kInternal.
  void count(std::string_view name, double by = 1, const Labels& labels = {});
  void set(std::string_view name, double value, const Labels& labels = {});
  void observe(std::string_view name, double value, const Labels& labels = {});
  // Takes a gauge's series away again (a job that ended).
  void drop(std::string_view name, const Labels& labels);

  std::string exposition() const;  // text format, what a scrape answers

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme::telemetry
