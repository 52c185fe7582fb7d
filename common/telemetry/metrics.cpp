#include "common/telemetry/metrics.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "common/base/error.h"
#include "common/telemetry/catalog.h"
#include "common/telemetry/exporter.h"

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

}  // namespace

struct Metrics::State {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::unordered_map<std::string_view, Entry> entries;
  std::unique_ptr<Exporter> exporter;  // ends before what it serves

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
  state_->exporter = std::make_unique<Exporter>(host, port, token, [this] { return exposition(); });
}

Metrics::~Metrics() = default;
int Metrics::port() const {
  return state_->exporter == nullptr ? 0 : state_->exporter->port();
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
