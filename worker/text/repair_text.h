// What ftfy.fix_text() does to captions before OpenAI's tokenizer sees them, as far as it matters to web
// text; own code, stated and switchable, off by default. In this order, again until nothing changes:
//  1. UTF-8 that was read as Windows-1252 or Latin-1: Ã or Â and one more, â and two more, ð and three more
//     characters whose bytes are one well-formed sequence ("â€™" -> "’"). ftfy weighs the whole text and also
//     knows other encodings; such text stays as it is here.
//  2. C1 controls as Windows-1252 has them; ligatures of Latin letters apart ("ﬁ" -> "fi", "ŉ" -> "ʼn").
//  3. Fullwidth and halfwidth forms, and the ideographic space, to their usual width.
//  4. Curly quotes straight; \r\n, \r, U+0085, U+2028, U+2029 to \n.
//  5. Terminal escapes, control characters but tab, line feed and form feed, U+FEFF, U+206A-206F,
//     U+FFF9-FFFC gone; NFC.
// With `references`, and where the text has no "<", HTML references that end in a semicolon are undone before
// step 1 of every round, also names in capitals ("&EACUTE;" -> "É"); else they are left to the tokenizer.
#pragma once

#include <string>
#include <string_view>

namespace trireme::worker::text {

std::string repair_text(std::string_view utf8, bool references = false);

}  // namespace trireme::worker::text
