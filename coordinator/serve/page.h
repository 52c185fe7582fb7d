// The page of the search service and the description of its routes, as they lie in page/.
#pragma once

#include <string_view>

namespace trireme::coordinator::serve {

std::string_view page_html();
std::string_view page_script();
std::string_view page_style();
std::string_view open_api();

}  // namespace trireme::coordinator::serve
