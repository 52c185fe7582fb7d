#include "coordinator/report/html.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "common/base/html_escape.h"
#include "common/base/log.h"

namespace trireme::coordinator::report {
namespace {

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--ink:#1d2330;--quiet:#687084;--line:#d8dce5;--paper:#fff;--bar:#2f6fde;--drop:#d9622b}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ee;--quiet:#98a0b3;--line:#343b4a;--paper:#151922}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}h3{font-size:1rem}
table{border-collapse:collapse;margin:.6rem 0}th,td{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid var(--line)}
td+td,th+th{text-align:right;padding-left:.4rem;font-variant-numeric:tabular-nums}td.words,th.words{text-align:left}
.quiet{color:var(--quiet)}.chart{width:100%;max-width:44rem;font-size:11px}.chart text{fill:currentColor}.chart g text{fill:inherit}.chart .grid{stroke:var(--line)}
div.grid{display:flex;flex-wrap:wrap;gap:.6rem}figure{margin:0;width:8rem}figure img{width:8rem;height:8rem;object-fit:contain;background:var(--line)}
figcaption{font-size:.75rem;color:var(--quiet);overflow:hidden;text-overflow:ellipsis;display:-webkit-box;-webkit-line-clamp:3;-webkit-box-orient:vertical}
.funnel div{display:flex;align-items:center;gap:.6rem;margin:.15rem 0}.funnel b{width:16rem;font-weight:400}.funnel i{background:var(--bar);height:.9rem;display:block;min-width:1px}
.funnel .drop i{background:var(--drop)}pre{overflow:auto;background:color-mix(in srgb,var(--line) 35%,transparent);padding:.8rem;font-size:.8rem}
)";

}  // namespace

std::string escape(std::string_view text) {
  return escape_html(printable(text, 4096));
}

std::string table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows) {
  std::vector<bool> words(head.size(), false);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size() && i < words.size(); ++i)
      words[i] = words[i] || (!row[i].empty() &&
                              std::string_view("0123456789+-.").find(row[i][0]) == std::string_view::npos &&
                              !row[i].starts_with("–"));
  const auto cell = [&](const char* tag, std::size_t i, const std::string& text) {
    const bool left = i < words.size() && words[i];
    return std::string("<") + tag + (left ? " class='words'>" : ">") + escape(text) + "</" + tag + ">";
  };
  std::string out = "<table><thead><tr>";
  for (std::size_t i = 0; i < head.size(); ++i) out += cell("th", i, head[i]);
  out += "</tr></thead><tbody>";
  for (const auto& row : rows) {
    out += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) out += cell("td", i, row[i]);
    out += "</tr>";
  }
  return out + "</tbody></table>";
}

std::string page_head(const std::string& title, const std::string& more_style) {
  return "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
         "content='width=device-width'><title>" +
         escape(title) + "</title><style>" + kStyle + more_style + "</style></head><body>";
}

// Line by line: escape() cuts what is too long for a cell.
std::string preformatted(std::string_view text) {
  std::string out = "<pre>";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    out += escape(text.substr(at, end - at)) + "\n";
    at = end + 1;
  }
  return out + "</pre>";
}

std::string with_commas(std::int64_t value) {
  std::string digits = std::to_string(value < 0 ? -value : value);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return (value < 0 ? "-" : "") + digits;
}

std::string rounded(double value, int digits) {
  if (!std::isfinite(value)) return "–";
  char text[64];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

}  // namespace trireme::coordinator::report
