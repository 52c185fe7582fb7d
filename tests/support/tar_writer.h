// Tars in memory for tests: ustar members with any type flag, GNU long names and PAX headers. Header only.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace trireme::testing {

class TarWriter {
 public:
  // One member; a name over 100 bytes gets a GNU long-name entry before it.
  TarWriter& add(const std::string& name, std::string_view data, char type = '0') {
    if (name.size() > 100) entry("././@LongLink", name + '\0', 'L');
    return entry(name.substr(0, 100), data, type);
  }

  // One member named by a PAX header.
  TarWriter& add_pax(const std::string& name, std::string_view data) {
    entry("PaxHeaders/x", pax_record("path", name), 'x');
    return entry("pax-named", data, '0');
  }

  // A hard ('1') or symbolic ('2') link.
  TarWriter& link(const std::string& name, const std::string& target, char type = '1') {
    bytes_ += header(name, 0, type, target);
    return *this;
  }

  // Any entry as it is: header block, data, padding.
  TarWriter& entry(const std::string& name, std::string_view data, char type) {
    bytes_ += header(name, data.size(), type);
    bytes_ += data;
    bytes_.append((512 - data.size() % 512) % 512, '\0');
    return *this;
  }

  // The archive so far, with the two zero blocks of its end unless `end_marker` is false.
  std::string bytes(bool end_marker = true) const {
    return end_marker ? bytes_ + std::string(1024, '\0') : bytes_;
  }

  static std::string header(const std::string& name, std::uint64_t size, char type,
                            const std::string& target = "") {
    std::string block(512, '\0');
    const auto put = [&](std::size_t at, const std::string& text) { block.replace(at, text.size(), text); };
    char size_octal[24];
    std::snprintf(size_octal, sizeof size_octal, "%011llo", static_cast<unsigned long long>(size));
    put(0, name.substr(0, 100));
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, size_octal);
    put(136, "00000000000");
    put(148, "        ");
    block[156] = type;
    put(157, target);
    put(257, std::string("ustar\0"
                         "00",
                         8));
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    char sum_octal[16];
    std::snprintf(sum_octal, sizeof sum_octal, "%06o", sum);
    put(148, std::string(sum_octal, 6) + '\0' + ' ');
    return block;
  }

  static std::string pax_record(const std::string& key, const std::string& value) {
    std::size_t length = key.size() + value.size() + 3;
    while (std::to_string(length).size() + key.size() + value.size() + 3 != length) ++length;
    return std::to_string(length) + " " + key + "=" + value + "\n";
  }

 private:
  std::string bytes_;
};

}  // namespace trireme::testing
