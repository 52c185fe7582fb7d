#include "common/telemetry/place.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "common/base/error.h"

namespace trireme::telemetry {
namespace {

TEST(MetricsPlace, LoopbackIsTheDefaultAndNamesNoOtherHost) {
  const auto place = metrics_place("", "eth7", 3);
  EXPECT_EQ(place.address, "127.0.0.1");
  EXPECT_EQ(place.port, 0);
  EXPECT_EQ(place.advertised, "127.0.0.1");
}

TEST(MetricsPlace, APortIsSharedOutByPosition) {
  EXPECT_EQ(metrics_place("0.0.0.0:9500", "", 0).port, 9500);
  EXPECT_EQ(metrics_place("0.0.0.0:9500", "", 3).port, 9503);
  EXPECT_EQ(metrics_place("0.0.0.0:0", "", 3).port, 0);
}

TEST(MetricsPlace, AdvertisesANameANetworkOrAnInterface) {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  EXPECT_EQ(metrics_place("0.0.0.0", "", 0).advertised, host);
  EXPECT_EQ(metrics_place("0.0.0.0", "node-7.example", 0).advertised, "node-7.example");
  EXPECT_EQ(metrics_place("0.0.0.0", "127.0.0.0/8", 0).advertised, "127.0.0.1");
  EXPECT_EQ(metrics_place("0.0.0.0", "lo", 0).advertised, "127.0.0.1");
}

TEST(MetricsPlace, WhatCannotBeMeantIsNamed) {
  for (const auto& [listen, advertise] : {std::pair{"elsewhere", ""},
                                          {"0.0.0.0:x", ""},
                                          {"0.0.0.0:70000", ""},
                                          {"0.0.0.0", "203.0.113.0/24"},
                                          {"0.0.0.0", "10.0.0.0/40"}})
    EXPECT_THROW(metrics_place(listen, advertise, 0), Error) << listen << " " << advertise;
}

}  // namespace
}  // namespace trireme::telemetry
