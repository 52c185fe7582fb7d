// The words by which captions are scored: those of the Penn Treebank as pycocoevalcap's PTBTokenizer has them
// (Stanford's tokenizer of 2014 with its options -preserveLines -lowerCase, then without punctuation), so
// that BLEU, ROUGE-L and CIDEr are the numbers of COCO's evaluation. The rules, each the longest match at a
// place, the first named of equals:
//   clitics are cut off: she 's, do n't, can not, gon na, y' all; but o'clock, rock 'n' roll
//   words keep inner hyphens, dots and slashes: t-shirt, 1,000-foot, and/or, u.s., p.m., file.txt, a.com
//   numbers are whole: 3:30, 1,000.5, 10/12/2010, "3 1/2" (one word, with a no-break space), $ 5, 50 %
//   an abbreviation keeps its dot: mr. etc. st. no. 5
//   ( ) [ ] { } become -lrb- -rrb- -lsb- -rsb- -lcb- -rcb- (and stay: only their capitals count as
//   punctuation) dropped: quotes, . ? ! , : ; - -- ... as words of their own; characters that no rule knows,
//   such as emoji
// Differences that are known: lines are judged one by one, where the original sees the next one after an
// abbreviation at a line's end; entities of accented letters (&eacute;) are taken apart. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme::worker::text {

// UTF-8; what is not is left out. Line breaks are blanks.
std::vector<std::string> caption_words(std::string_view caption);

}  // namespace trireme::worker::text
