// How far our decoders are from another's pixels (compare_pictures.py).
//   picture_agreement TAR…
// A tar holds <name>.<suffix> and what it becomes: <name>.rgb, <name>.turned (by EXIF) or <name>.srgb (by its
// profile). One line of JSON per pair: the largest and the mean difference, or our reason for a refusal.
#include <iostream>
#include <map>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "jobs/store/tar_scan.h"
#include "tests/support/pixel_distance.h"
#include "worker/data/images/image.h"

namespace {

using trireme::worker::data::DecodeRequest;
using trireme::worker::data::Image;

nlohmann::json compared(std::string_view bytes, std::string_view expected, const std::string& kind) {
  DecodeRequest request;
  request.options = {.exif_orientation = kind == "turned", .icc_to_srgb = kind == "srgb"};
  Image image;
  if (const std::string fault = decode_image(bytes, request, image); !fault.empty())
    return {{"fault", fault}};
  if (image.rgb.size() != expected.size()) return {{"size", {image.width, image.height}}};
  const auto apart = trireme::testing::pixel_distance(
      {reinterpret_cast<const char*>(image.rgb.data()), image.rgb.size()}, expected);
  return {{"most", apart.most}, {"mean", apart.mean}};
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string tar = trireme::io::read_file(argv[i]);
    std::map<std::string, std::string_view> members;
    trireme::store::scan_tar(tar, [&](const trireme::store::TarMember& member) {
      members[member.name] = std::string_view(tar).substr(member.offset, member.size);
    });
    for (const auto& [name, bytes] : members)
      for (const std::string kind : {"rgb", "turned", "srgb"}) {
        const auto expected = members.find(name.substr(0, name.rfind('.') + 1) + kind);
        if (expected == members.end() || expected->first == name || name.ends_with(".rgb") ||
            name.ends_with(".turned") || name.ends_with(".srgb"))
          continue;
        nlohmann::json row = compared(bytes, expected->second, kind);
        row["name"] = name;
        row["kind"] = kind;
        std::cout << row.dump() << "\n";
      }
  }
}
