#include "common/telemetry/metrics.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include <CivetServer.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "common/base/error.h"
#include "common/telemetry/catalog.h"

namespace trireme::telemetry {
namespace {

struct Entry {
  const MetricInfo* info = nullptr;
  prometheus::Family<prometheus::Counter>* counters = nullptr;
  prometheus::Family<prometheus::Gauge>* gauges = nullptr;
  prometheus::Family<prometheus::Histogram>* histograms = nullptr;
};

void check_labels(const MetricInfo& info, const Labels& labels) {
  const bool same = labels.size() == info.labels.size() &&
                    std::all_of(info.labels.begin(), info.labels.end(),
                                [&](auto name) { return labels.contains(std::string(name)); });
  if (!same)
    throw Error(ErrorKind::kInternal,
                "metric " + std::string(info.name) + " was given other labels than the catalog has");
}

// Answers a scrape. Any thread of the server.
class Scrape : public CivetHandler {
 public:
  Scrape(const prometheus::Registry& registry, const std::string& token)
      : registry_(registry), expected_(token.empty() ? "" : "Bearer " + token) {}

  bool handleGet(CivetServer*, mg_connection* connection) override {
    if (!admitted(mg_get_header(connection, "Authorization"))) {
      answer(connection, "401 Unauthorized\r\nWWW-Authenticate: Bearer", "a bearer token is needed\n");
      return true;
    }
    answer(connection, "200 OK", prometheus::TextSerializer().Serialize(registry_.Collect()));
    return true;
  }

 private:
  // Takes the same time wherever the two differ.
  bool admitted(const char* header) const {
    if (expected_.empty()) return true;
    const std::string_view given = header == nullptr ? "" : header;
    unsigned different = given.size() != expected_.size();
    for (std::size_t i = 0; i < expected_.size(); ++i)
      different |= static_cast<unsigned char>(expected_[i]) ^
                   static_cast<unsigned char>(i < given.size() ? given[i] : 0);
    return different == 0;
  }

  static void answer(mg_connection* connection, const char* status, const std::string& body) {
    mg_printf(connection,
              "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: "
              "%zu\r\nConnection: close\r\n\r\n",
              status, body.size());
    mg_write(connection, body.data(), body.size());
  }

  const prometheus::Registry& registry_;
  const std::string expected_;
};

}  // namespace

struct Metrics::State {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::unordered_map<std::string_view, Entry> entries;
  std::unique_ptr<Scrape> scrape;
  std::unique_ptr<CivetServer> server;  // ends before what it serves
  int port = 0;

  Entry& find(std::string_view name, MetricType type) {
    const auto found = entries.find(name);
    if (found == entries.end() || found->second.info->type != type)
      throw Error(ErrorKind::kInternal,
                  "metric " + std::string(name) + " is not in the catalog with that type");
    return found->second;
  }
};

Metrics::Metrics(const std::string& host, int port, const Labels& constant_labels, const std::string& token)
    : state_(std::make_unique<State>()) {
  for (const auto& info : catalog()) {
    Entry entry{&info};
    const std::string name(info.name), help(info.help);
    switch (info.type) {
      case MetricType::kCounter:
        entry.counters = &prometheus::BuildCounter()
                              .Name(name)
                              .Help(help)
                              .Labels(constant_labels)
                              .Register(*state_->registry);
        if (info.labels.empty()) entry.counters->Add({});
        break;
      case MetricType::kGauge:
        entry.gauges = &prometheus::BuildGauge()
                            .Name(name)
                            .Help(help)
                            .Labels(constant_labels)
                            .Register(*state_->registry);
        break;
      case MetricType::kHistogram:
        entry.histograms = &prometheus::BuildHistogram()
                                .Name(name)
                                .Help(help)
                                .Labels(constant_labels)
                                .Register(*state_->registry);
        break;
    }
    state_->entries.emplace(info.name, entry);
  }
  if (host.empty()) return;
  try {
    state_->scrape = std::make_unique<Scrape>(*state_->registry, token);
    state_->server = std::make_unique<CivetServer>(
        std::vector<std::string>{"listening_ports", host + ":" + std::to_string(port), "num_threads", "2",
                                 "request_timeout_ms", "5000"});
    state_->server->addHandler("/metrics", *state_->scrape);
    state_->port = state_->server->getListeningPorts().front();
  } catch (const std::exception& failure) {
    throw Error(ErrorKind::kConflict,
                "cannot serve metrics on " + host + ":" + std::to_string(port) + ": " + failure.what(),
                "choose another port, or 0 for a free one");
  }
}

Metrics::~Metrics() = default;
int Metrics::port() const {
  return state_->port;
}

void Metrics::count(std::string_view name, double by, const Labels& labels) {
  Entry& entry = state_->find(name, MetricType::kCounter);
  check_labels(*entry.info, labels);
  entry.counters->Add(labels).Increment(by);
}

void Metrics::set(std::string_view name, double value, const Labels& labels) {
  Entry& entry = state_->find(name, MetricType::kGauge);
  check_labels(*entry.info, labels);
  entry.gauges->Add(labels).Set(value);
}

void Metrics::observe(std::string_view name, double value, const Labels& labels) {
  Entry& entry = state_->find(name, MetricType::kHistogram);
  check_labels(*entry.info, labels);
  entry.histograms->Add(labels, prometheus::Histogram::BucketBoundaries(entry.info->buckets)).Observe(value);
}

void Metrics::drop(std::string_view name, const Labels& labels) {
  Entry& entry = state_->find(name, MetricType::kGauge);
  check_labels(*entry.info, labels);
  entry.gauges->Remove(&entry.gauges->Add(labels));
}

std::string Metrics::exposition() const {
  return prometheus::TextSerializer().Serialize(state_->registry->Collect());
}

}  // namespace trireme::telemetry
