#include "worker/text/tokenizers/caption_words.h"

#include <unicode/regex.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>
#include <utility>

#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

// What a rule's word becomes.
enum class Make {
  kItself,
  kDropped,
  kSymbol,   // as ASCII writes it
  kQuoted,   // with plain apostrophes
  kQuotes,   // the same, and dropped when it is a mark of ASCII
  kBracket,  // [ ] { } by name
  kJoined    // ( ) by name, blanks that do not break
};

struct Rule {
  const char* pattern;  // group 1 is the word, what follows it must follow in the text
  Make make = Make::kItself;
};

// <name> stands for the macro of that name.
constexpr std::array<std::pair<const char*, const char*>, 22> kMacros = {{
    {"<title>",
     "(?i:Mrs?|Ms|Miss|Drs?|Profs?|Sens?|Reps?|Attys?|Lt|Col|Gen|Messrs|Govs?|Adm|Rev|Maj|Sgt|Cpl|Pvt|Mt|"
     "Capt|Ste?|Ave|Pres|Lieut|Hon|Brig|Co?mdr|Pfc|Spc|Supts?|Det|Ft|Adj|Adv|Asst|Assoc|Ens|Insp|Mlle|Mme|"
     "Msgr|Sfc|Invt|Elec|Natl|M[ft]g|Dept|Blvd|Rd|Wm|Jos|Cie|a\\.k\\.a|cf)"},
    {"<abbreviation>",
     "(?i:(?:Ed|Ph)\\.D|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|Mon|Tues?|Wed|Thu(rs)?|Fri|Ala|Ariz|"
     "Calif|Colo|Conn|"
     "Ct|Dak|Fla|Ga|Ind|Kans?|Ky|Md|Mich|Minn|Mo|Mont|Neb|Nev|Okla|Penn|Tenn|Va|Vt|Wisc?|Wyo|Inc|Cos?|Corp|"
     "Pp?t[ye]s?|Ltd|Plc|Bancorp|Dept|Bhd|Assn|Univ|Intl|Sys|Ph|tel|est|ext|sq|ft|Jr|Sr|Bros|(Ed|Ph)\\.D|"
     "Blvd|"
     "Rd|Esq|etc|al|seq|vs)|[A]z|[A]rk|[D]el|[I]ll|[M]ass|[M]iss|[O]re|[P]a|[T]ex|[W]ash"},
    {"<before number>", "(?i:ca|figs?|prop|nos?|arts?|bldg|pp|op)"},
    {"<initials>", "[A-Za-z](?:\\.[A-Za-z])*"},
    {"<file>",
     "(?:<L>|<D>)+(?:[-.](?:<L>|<D>)+)*\\.(?i:bat|bmp|c|class|cgi|cpp|dll|docx?|exe|gif|gz|html?|h|jar|java|"
     "jpe?g|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt|wav|xml|x|zip)"},
    {"<word>", "<L>(?:<L>|<D>)*(?:[.!?]<L>(?:<L>|<D>)*)*"},
    {"<aux>", "<A>(?:[msdMSD]|(?i:re|ve|ll))"},
    {"<not>", "[nN]<E>[tT]"},
    {"<vowel word>", "\\p{L}+[aeiouyAEIOUY]<E>[aeiouA-Z]\\p{L}*"},
    {"<number>", "(?:<D>+(?:[.:,\\u00AD\\u066B\\u066C]<D>+)*|(?:[.:,\\u00AD\\u066B\\u066C]<D>+)+)"},
    {"<part>", "[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"},
    {"<thing>", "(?:[dDoOlL]<E>\\w)?(?:\\w+|[-+]?<number>)"},
    {"<things>", "(?:[dDoOlL]<E>\\w)?(?:\\w+|<number>)"},
    {"<hyphened>", "\\w[\\w.,\\u00AD]*(?:-(?:[\\w\\u00AD]+|<initials>\\.))+"},
    {"<label>", "[^\\s\"`'<>|.!?(){},-_$]+\\."},
    {"<path>", "(?:/[^\\s\"<>|()]+[^\\s\"<>|.!?(){},-])?"},
    {"\\w", "[\\p{L}\\p{Nd}]"},
    {"<L>", "(?:[\\p{L}\\p{Mn}\\p{Mc}\\u00AD\\u200C\\u200D]|&[aeiouAEIOU](?:acute|grave|uml);)"},
    {"<D>", "\\p{Nd}"},
    {"<A>", "(?:['\\u2019]|&apos;)"},
    {"<E>", "(?:['\\u2019`\\u2018\\u201B]|&apos;)"},
    {"<space>", "[ \\u00A0\\n]"},
}};

// The first of the longest wins; what must follow a word counts.
constexpr std::array kRules = {
    Rule{"([cC][aA][nN])(?i:not)"},
    Rule{"('[tT])(?i:was)"},
    Rule{"([cC]\\+\\+|[cCfF]#)"},
    Rule{"((?i:gon(?=na)|wan(?=na)|got(?=ta)|lem(?=me)|gim(?=me)|<A>t(?=is)))\\p{L}{2}"},
    Rule{"(<[!?][A-Za-z-][^>\\n]*>|</?[A-Za-z][A-Za-z0-9_:.-]*(?: +[A-Za-z][A-Za-z0-9_:.-]*(?: *= "
         "*['\"][^\\n'\"]*['\"])?)* */?>)",
         Make::kJoined},
    Rule{"(&(?:MD|mdash|ndash);|[\\u2013-\\u2015])", Make::kDropped},
    Rule{"(&(?i:amp);|&(?i:lt);|&(?i:gt);)", Make::kSymbol},
    Rule{"(&#[0-9]+;)"},
    Rule{"(&nbsp;)", Make::kDropped},
    Rule{"(<word>)<aux>"},
    Rule{"([\\p{L}\\u00AD]*[A-MO-Za-mo-z])<not>"},
    Rule{"(<word>)"},
    Rule{"(<A>[nN]<A>?|[lLdDjJ]<A>|(?i:Dunkin|somethin|ol)<A>|<A>(?i:em|till?|cause)|[A-HJ-XZn]<E>\\p{L}{2,}|"
         "<E>[2-9]0[sS])"},
    Rule{"(<vowel word>|(?i:cont<A>d\\.?|nor<A>easter|c<A>mon|e<A>er|s<A>mores|ev<A>ry|li<A>l|nat<A>l))"},
    Rule{"([yY]<A>)\\p{L}"},
    Rule{"((?i:https?)://[^\\s\"<>|()]+[^\\s\"<>|.!?(){},-])"},
    Rule{"(www\\.(?:[^\\s\"<>|.!?(){},]+\\.)+[a-zA-Z]{2,4}<path>)"},
    Rule{"((?:<label>)+(?i:com|net|org|edu)<path>)"},
    Rule{"(<?[a-zA-Z0-9][^\\s\"<>|()\\u00A0{}]*@(?:[^\\s\"<>|(){}.\\u00A0]+\\.)*[^\\s\"<>|(){}.\\u00A0]+>?)"},
    Rule{"(@[a-zA-Z_][a-zA-Z_0-9]*|#<L>+)"},
    Rule{"(<aux>)[^A-Za-z]", Make::kQuoted},
    Rule{"(<not>)[^A-Za-z]", Make::kQuoted},
    Rule{"(<D>{1,2}[-/]<D>{1,2}[-/]<D>{2,4})"},
    Rule{"([-+]?<number>)"},
    Rule{"([\\u207A\\u207B\\u208A\\u208B]?(?:[\\u2070\\u00B9\\u00B2\\u00B3\\u2074-\\u2079]+|[\\u2080-\\u2089]"
         "+))"},
    Rule{"((?:<D>{1,4}[- \\u00A0])?<D>{1,4}(?:\\\\?/|\\u2044)<D>{1,4})", Make::kJoined},
    Rule{"([\\u00BC-\\u00BE\\u2153-\\u215E])", Make::kSymbol},
    Rule{"((?i:-[LR][RCS]B-|C\\.D\\.s|pro-|anti-|S&P-500|S&Ls|Cap<A>n|c<A>est))"},
    Rule{"(<part>(?:\\\\?/<part>){1,2})"},
    Rule{"([A-Z]*\\$|#)"},
    Rule{"([\\u00A2-\\u00A5\\u20A0-\\u20BF])", Make::kSymbol},
    Rule{"((?:<abbreviation>)\\.)[\\s\\S]{1,2}"},
    Rule{"((?:<title>|<initials>)\\.)"},
    Rule{"([A-Za-z])\\. "
         "+(?:A|About|According|Additionally|After|All|Also|Although|An|Another|As|At|Before|Both|But|"
         "By|Did|During|Each|Earlier|Following|From|He|Her|Here|His|However|If|In|It|Its|Last|Later|"
         "Many|"
         "More|Most|Mrs?\\.|Ms\\.|Now|On|Once|One|Other|Our|She|Since|So|Some|Such|That|The|Their|Then|There|"
         "These|"
         "They|This|Two|Under|Upon|We|When|While|What|Who|Why|Yet|You)<space>"},
    Rule{"(<before number>\\.)<space>?<D>"},
    Rule{"(<A>[0-9][0-9])<space>"},
    Rule{"(<file>)(?:<space>|[.?!,\"'<(])"},
    Rule{"(<word>\\.)[,;:]"},
    Rule{"((?:\\([0-9]{2,3}\\)[ \\u00A0]?|(?:\\+\\+?)?(?:[0-9]{2,4}[- \\u00A0])?[0-9]{2,4}[- "
         "\\u00A0])[0-9]{3,4}[- "
         "\\u00A0]?[0-9]{3,5}|(?:(?:\\+\\+?)?[0-9]{2,4}\\.)?[0-9]{2,4}\\.[0-9]{3,4}\\.[0-9]{3,5})",
         Make::kJoined},
    Rule{"(\"|&quot;|[`'\\u2018\\u2019]')", Make::kDropped},
    Rule{"([<>]?[:;=][-o*']?[()DPdpO\\\\{@|\\[\\]])[^A-Za-z0-9]", Make::kJoined},
    Rule{"([-^x=~<>']_[-^x=~<>']|\\([-^x=~<>'][_.]?[-^x=~<>']\\)|\\([\\^x=~<>']-[\\^x=~<>'`]\\))",
         Make::kJoined},
    Rule{"([()])", Make::kJoined},
    Rule{"([{}\\[\\]])", Make::kBracket},
    Rule{"(-{1,4})", Make::kDropped},
    Rule{"(-{5,})"},
    Rule{"(\\.{3,5}|(?:\\.[ \\u00A0]){2,4}\\.|[.\\u2026])", Make::kDropped},
    Rule{"(@+|#+|_+|\\*+|(?:\\\\\\*){1,3})"},
    Rule{"([,;:]|[?!](?![?!]))", Make::kDropped},
    Rule{"([?!]{2,})"},
    Rule{"([=/<>\\u00A1\\u00BF\\u037E\\u0589\\u061F\\u06D4\\u3001\\u3002])"},
    Rule{"(<hyphened>)[^A-Za-z0-9.+]"},
    Rule{"(<hyphened>\\.)[,;:]"},
    Rule{"(<thing>(?:[-_\\u058A\\u2010\\u2011]<things>)*)"},
    Rule{"([A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+)", Make::kSymbol},
    Rule{"(')[A-Za-z]\\S", Make::kDropped},
    Rule{"(<A>|[`\\u2018-\\u201F\\u2039\\u203A\\u00AB\\u00BB]{1,2})", Make::kQuotes},
    Rule{"(<aux>)", Make::kQuoted},
    Rule{"([+%&~^|\\\\\\u00A6-\\u00A9\\u00AC\\u00AE-\\u00B4\\u00B6-"
         "\\u00B8\\u00BA\\u00D7\\u00F7\\u0387\\u05BE\\u05C0\\u05C3"
         "\\u05C6\\u05F3\\u05F4\\u0600-\\u0603\\u0606-"
         "\\u060A\\u060C\\u0614\\u061B\\u061E\\u066A\\u066D\\u0703-\\u070D"
         "\\u07F6-\\u07F8\\u0964\\u0965\\u0E4F\\u1FBD\\u2016\\u2017\\u2020-\\u2023\\u2030-"
         "\\u2038\\u203B\\u203E-\\u2042"
         "\\u2044\\u207A-\\u207F\\u208A-\\u208E\\u2100-\\u214F\\u2190-\\u21FF\\u2200-"
         "\\u2BFF\\u3012\\u30FB\\uFF01-\\uFF0F"
         "\\uFF1A-\\uFF20\\uFF3B-\\uFF40\\uFF5B-\\uFF65])"},
};

using Patterns = std::vector<std::unique_ptr<icu::RegexPattern>>;

const Patterns& patterns() {
  static const Patterns all = [] {
    Patterns made;
    for (const Rule& rule : kRules) {
      icu::UnicodeString text(rule.pattern, -1, US_INV);
      for (const auto& [name, meaning] : kMacros)
        text.findAndReplace(icu::UnicodeString(name, -1, US_INV), icu::UnicodeString(meaning, -1, US_INV));
      UErrorCode error = U_ZERO_ERROR;
      UParseError place{};
      made.emplace_back(icu::RegexPattern::compile(text, place, error));
      if (U_FAILURE(error))
        throw std::logic_error(std::string("caption rule ") + rule.pattern + ": " + u_errorName(error));
    }
    return made;
  }();
  return all;
}

std::string utf8(const icu::UnicodeString& text) {
  std::string out;
  text.toUTF8String(out);
  return out;
}

using Pairs = std::initializer_list<std::pair<std::string_view, std::string_view>>;

std::string replaced(std::string word, const Pairs& pairs) {
  for (const auto& [from, to] : pairs)
    for (auto at = word.find(from); at != std::string::npos; at = word.find(from, at + to.size()))
      word.replace(at, from.size(), to);
  return word;
}

std::string made(std::string word, Make make) {
  word = replaced(std::move(word), {{"\u00AD", ""}});
  switch (make) {
    case Make::kBracket:
      return replaced(std::move(word), {{"[", "-lsb-"}, {"]", "-rsb-"}, {"{", "-lcb-"}, {"}", "-rcb-"}});
    case Make::kJoined:
      return replaced(std::move(word), {{"(", "-lrb-"}, {")", "-rrb-"}, {" ", "\u00A0"}});
    case Make::kSymbol:
      return replaced(std::move(word), {{"&amp;", "&"},
                                        {"&lt;", "<"},
                                        {"&gt;", ">"},
                                        {"\u00BC", "1/4"},
                                        {"\u00BD", "1/2"},
                                        {"\u00BE", "3/4"},
                                        {"\u2153", "1/3"},
                                        {"\u2154", "2/3"},
                                        {"\u00A2", "cents"},
                                        {"\u00A3", "#"},
                                        {"\u20AC", "$"}});
    case Make::kQuoted:
    case Make::kQuotes:
      return replaced(std::move(word), {{"&apos;", "'"},
                                        {"\u2019", "'"},
                                        {"\u2018", "`"},
                                        {"\u201B", "`"},
                                        {"\u201C", "``"},
                                        {"\u201D", "''"},
                                        {"\u00AB", "``"},
                                        {"\u00BB", "''"},
                                        {"\u2039", "`"},
                                        {"\u203A", "'"}});
    default:
      return word;
  }
}

class Lexer {
 public:
  explicit Lexer(icu::UnicodeString text) : text_(std::move(text)) {
    for (const auto& pattern : patterns()) {
      UErrorCode error = U_ZERO_ERROR;
      matchers_.emplace_back(pattern->matcher(text_, error));
    }
  }

  std::vector<std::string> words() {
    std::vector<std::string> out;
    for (std::int32_t at = 0; at < text_.length();) {
      if (const std::int32_t end = plain_word(at); end > at) {
        out.push_back(lower_case(utf8(text_.tempSubStringBetween(at, end))));
        at = end;
      } else {
        at = next(at, out);
      }
    }
    return out;
  }

 private:
  // Behind a word of ASCII letters before a blank, where no rule but that of words can apply; else `at`.
  std::int32_t plain_word(std::int32_t at) const {
    static const std::array<icu::UnicodeString, 6> kAssimilated = {"cannot", "gonna", "gotta",
                                                                   "lemme",  "gimme", "wanna"};
    std::int32_t end = at;
    while ((text_.charAt(end) | 32) >= 'a' && (text_.charAt(end) | 32) <= 'z') ++end;
    if (text_.charAt(end) != ' ') return at;
    const auto is = [&](const icu::UnicodeString& word) {
      return text_.caseCompareBetween(at, end, word, 0, word.length(), 0) == 0;
    };
    return std::any_of(kAssimilated.begin(), kAssimilated.end(), is) ? at : end;
  }

  // Appends the word at `at`, where there is one, and returns the place behind it.
  std::int32_t next(std::int32_t at, std::vector<std::string>& out) {
    std::int32_t longest = 0, length = 0;
    Make make = Make::kDropped;
    for (std::size_t i = 0; i < matchers_.size(); ++i) {
      UErrorCode error = U_ZERO_ERROR;
      if (matchers_[i]->lookingAt(at, error) == 0 || U_FAILURE(error)) continue;
      const std::int32_t end = matchers_[i]->end(error) - at;
      if (end <= longest) continue;
      longest = end;
      length = matchers_[i]->end(1, error) - at;
      make = kRules[i].make;
    }
    if (longest == 0) return text_.moveIndex32(at, 1);
    if (make != Make::kDropped) {
      std::string word = lower_case(utf8(text_.tempSubString(at, length)));
      word = made(std::move(word), make);
      const bool mark = word == "'" || word == "''" || word == "`" || word == "``";
      if (make != Make::kQuotes || !mark) out.push_back(std::move(word));
    }
    return at + length;
  }

  icu::UnicodeString text_;
  std::vector<std::unique_ptr<icu::RegexMatcher>> matchers_;
};

}  // namespace

std::vector<std::string> caption_words(std::string_view caption) {
  icu::UnicodeString text;
  for (std::size_t at = 0; at < caption.size();)
    if (const std::int32_t c = next_code_point(caption, at); c != 0xFFFD)
      text.append(c == '\n' || c == '\r' || c == '\t' ? UChar32{' '} : c);
  return Lexer(text.append(UChar32{'\n'})).words();
}

}  // namespace trireme::worker::text
