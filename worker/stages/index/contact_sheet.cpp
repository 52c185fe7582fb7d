#include "worker/stages/index/contact_sheet.h"

#include <cstdio>

#include "common/base/html_escape.h"
#include "common/io/base64.h"

namespace trireme::worker::stages::index {
namespace {

constexpr const char* kHead =
    "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
    "<style>body{font:15px/1.4 system-ui,sans-serif;margin:2rem;color:#222;background:#fff}"
    ".grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(12rem,1fr));gap:1rem}"
    "figure{margin:0;min-width:0}img,.gone{width:100%;height:12rem;object-fit:contain;background:#f2f2f2;"
    "display:block}"
    ".gone{line-height:12rem;text-align:center;color:#777}figcaption{font-size:.85rem;overflow-wrap:anywhere}"
    "b{font-variant-numeric:"
    "tabular-nums}@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}img,.gone{background:#"
    "222}}"
    "</style>";

std::string figure(const SheetPicture& picture) {
  char score[32];
  std::snprintf(score, sizeof score, "%.4f", static_cast<double>(picture.score));
  const std::string image = picture.jpeg.empty()
                                ? "<div class='gone'>picture not found</div>"
                                : "<img alt='" + escape_html(picture.caption) +
                                      "' src='data:image/jpeg;base64," + io::base64(picture.jpeg) + "'>";
  return "<figure>" + image + "<figcaption><b>" + std::to_string(picture.rank) + " &middot; " + score +
         "</b> " + escape_html(picture.key) + "<br>" + escape_html(picture.caption) +
         "</figcaption></figure>";
}

}  // namespace

std::string contact_sheet(const std::string& query, const std::vector<SheetPicture>& pictures) {
  std::string out = kHead;
  out += "<title>" + escape_html(query) + "</title><h1>" + escape_html(query) + "</h1><div class='grid'>";
  for (const auto& picture : pictures) out += figure(picture);
  return out + "</div></html>\n";
}

}  // namespace trireme::worker::stages::index
