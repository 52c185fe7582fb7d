#include "common/telemetry/place.h"

#include <charconv>
#include <cstdint>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/host_name.h"

namespace trireme::telemetry {
namespace {

bool is_loopback(const std::string& address) {
  return address.rfind("127.", 0) == 0 || address == "localhost";
}

std::uint32_t bits_of(const std::string& address) {
  in_addr parsed{};
  if (::inet_pton(AF_INET, address.c_str(), &parsed) != 1)
    throw Error(ErrorKind::kUsage, "'" + address + "' is no IPv4 address", "write 0.0.0.0, or 10.0.0.0/8");
  return ntohl(parsed.s_addr);
}

int number_in(const std::string& text, int most, const std::string& option) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > most)
    throw Error(ErrorKind::kUsage, option + ": '" + text + "' is no number up to " + std::to_string(most));
  return value;
}

// The first IPv4 address of this host on `interface`, or inside network/length; "" without one.
std::string own_address(const std::string& interface, std::uint32_t network, int length) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return "";
  const std::uint32_t mask = length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
  std::string found;
  for (const ifaddrs* entry = list; entry != nullptr && found.empty(); entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    const in_addr& address = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr;
    if (interface.empty() ? (ntohl(address.s_addr) & mask) != (network & mask) : interface != entry->ifa_name)
      continue;
    char text[INET_ADDRSTRLEN] = "";
    found = ::inet_ntop(AF_INET, &address, text, sizeof text);
  }
  ::freeifaddrs(list);
  return found;
}

std::string advertised_name(const std::string& advertise) {
  if (advertise.empty() || advertise == "hostname") return host_name();
  const std::size_t slash = advertise.find('/');
  if (slash == std::string::npos) {
    const std::string address = own_address(advertise, 0, 0);
    return address.empty() ? advertise : address;
  }
  const int length = number_in(advertise.substr(slash + 1), 32, "--advertise");
  const std::string address = own_address("", bits_of(advertise.substr(0, slash)), length);
  if (address.empty())
    throw Error(ErrorKind::kUsage, "--advertise " + advertise + ": this host has no address in that network",
                "name a network that every host of the run is in");
  return address;
}

}  // namespace

MetricsPlace metrics_place(const std::string& listen, const std::string& advertise, int position) {
  MetricsPlace place;
  const std::size_t colon = listen.rfind(':');
  if (!listen.empty()) place.address = listen.substr(0, colon);
  if (colon != std::string::npos) {
    place.port = number_in(listen.substr(colon + 1), 65535, "--metrics-listen");
    if (place.port != 0) place.port += position;
  }
  if (place.address != "localhost") bits_of(place.address);
  place.advertised = is_loopback(place.address) ? "127.0.0.1" : advertised_name(advertise);
  return place;
}

}  // namespace trireme::telemetry
