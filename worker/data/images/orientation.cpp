#include "worker/data/images/orientation.h"

#include <cstring>
#include <utility>

namespace trireme::worker::data {
namespace {

// An EXIF orientation is a mirrored transposition: first transposed, then mirrored across and down.
struct Turn {
  bool transpose, across, down;
};
constexpr Turn kTurns[] = {{false, false, false}, {false, true, false}, {false, true, true},
                           {false, false, true},  {true, false, false}, {true, true, false},
                           {true, true, true},    {true, false, true}};

std::uint32_t number(std::string_view bytes, std::size_t at, std::size_t size, bool big) {
  if (at > bytes.size() || size > bytes.size() - at) return 0;
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < size; ++i)
    value |= std::uint32_t{static_cast<unsigned char>(bytes[at + i])} << (8 * (big ? size - 1 - i : i));
  return value;
}

}  // namespace

int exif_orientation(std::string_view exif) {
  using namespace std::string_view_literals;
  if (exif.substr(0, 6) == "Exif\0\0"sv) exif.remove_prefix(6);
  const bool big = exif.substr(0, 4) == "MM\0\x2A"sv;
  if (!big && exif.substr(0, 4) != "II\x2A\0"sv) return 0;
  const std::size_t directory = number(exif, 4, 4, big);
  const std::uint32_t entries = number(exif, directory, 2, big);
  for (std::uint32_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + 12 * std::size_t{i};
    if (entry + 12 > exif.size()) return 0;
    if (number(exif, entry, 2, big) != 0x0112) continue;
    const std::uint32_t value = number(exif, entry + 8, number(exif, entry + 2, 2, big) == 4 ? 4 : 2, big);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 0;
}

int xmp_orientation(std::string_view packet) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (std::size_t at = packet.find(kName); at != std::string_view::npos; at = packet.find(kName, at)) {
    at += kName.size();
    std::string_view rest = packet.substr(at);
    if (!rest.starts_with("=\"") && !rest.starts_with(">")) continue;
    rest.remove_prefix(rest[0] == '>' ? 1 : 2);
    if (rest.empty() || rest[0] < '0' || rest[0] > '9') continue;
    return rest[0] >= '1' && rest[0] <= '8' ? rest[0] - '0' : 1;
  }
  return 0;
}

DecodeRequest stored_region(const DecodeRequest& turned, int orientation, std::int64_t width,
                            std::int64_t height) {
  const Turn turn = kTurns[orientation - 1];
  DecodeRequest stored = turned;
  if (turn.across) stored.x = (turns(orientation) ? height : width) - turned.x - turned.width;
  if (turn.down) stored.y = (turns(orientation) ? width : height) - turned.y - turned.height;
  if (turn.transpose) {
    std::swap(stored.x, stored.y);
    std::swap(stored.width, stored.height);
  }
  return stored;
}

void orient(Image& image, int orientation) {
  if (orientation <= 1) return;
  const Turn turn = kTurns[orientation - 1];
  Image out{turn.transpose ? image.height : image.width, turn.transpose ? image.width : image.height,
            std::vector<std::uint8_t>(image.rgb.size())};
  // Where the first pixel of a row comes from, and the steps to the next pixel and row, in bytes.
  const std::int64_t stride = image.width * 3;
  std::int64_t step_x = turn.transpose ? stride : 3, step_y = turn.transpose ? 3 : stride, first = 0;
  if (turn.across) {
    first += step_x * (out.width - 1);
    step_x = -step_x;
  }
  if (turn.down) {
    first += step_y * (out.height - 1);
    step_y = -step_y;
  }
  std::uint8_t* to = out.rgb.data();
  for (std::int64_t y = 0; y < out.height; ++y)
    for (std::int64_t x = 0; x < out.width; ++x, to += 3)
      std::memcpy(to, image.rgb.data() + first + y * step_y + x * step_x, 3);
  image = std::move(out);
}

}  // namespace trireme::worker::data
