"""Writes worker/text/{character_ranges,html_names}.cpp: how the reference tokenizers see each character, asked of them.

usage: record_text_tables.py   (run from the repository root; then clang-format-14 -i worker/text/character_ranges.cpp)
needs: tokenizers regex
"""
import html.entities, textwrap
import regex, tokenizers
from tokenizers import normalizers, pre_tokenizers


def bert(**on):
    rules = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**rules, **on}).normalize_str


def classes():
    clean, ideographs, accents = bert(clean_text=True), bert(handle_chinese_chars=True), bert(strip_accents=True)
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    letter, number = (regex.compile(p, regex.IGNORECASE) for p in (r'\p{L}', r'\p{N}'))
    rest, space = regex.compile(r'[^\s\p{L}\p{N}]', regex.IGNORECASE), regex.compile(r'\s')
    found = {name: [] for name in ('control', 'mark', 'punctuation', 'ideograph', 'space', 'letter', 'number', 'nothing')}
    for code in range(0x110000):
        if 0xd800 <= code < 0xe000:
            continue
        c = chr(code)
        around = 'a' + c + 'b'
        pieces = len(split(around))
        member = {'control': clean(around) == 'ab', 'mark': accents(around) == 'ab', 'punctuation': pieces == 3,
                  'ideograph': ideographs(around) != around, 'space': pieces == 2, 'letter': letter.fullmatch(c),
                  'number': number.fullmatch(c),
                  'nothing': not (letter.fullmatch(c) or number.fullmatch(c) or rest.fullmatch(c) or space.fullmatch(c))}
        assert bool(space.fullmatch(c)) == (pieces == 2), hex(code)
        for name, is_member in member.items():
            if is_member:
                found[name].append(code)
    return found


def ranges(codes):
    out = []
    for code in codes:
        if out and out[-1][1] == code - 1:
            out[-1][1] = code
        else:
            out.append([code, code])
    return out


def write_ranges():
    text = ['// Made by tests/oracles/record_text_tables.py with tokenizers ' + tokenizers.__version__ + ' and regex ' +
            regex.__version__ + '; not edited by hand.', '#include "worker/text/character_table.h"', '',
            'namespace trireme::worker::text {', 'namespace {', '']
    meaning = {'control': 'BERT drops it', 'mark': 'BERT drops it with accents', 'punctuation': 'BERT: a word of its own',
               'ideograph': 'BERT: set apart', 'space': 'White_Space', 'letter': "CLIP's [\\p{L}], case ignored",
               'number': "CLIP's [\\p{N}]", 'nothing': "matched by no alternative of CLIP's pattern"}
    found = classes()
    for name, codes in found.items():
        listed = ', '.join('{0x%x, 0x%x}' % tuple(r) for r in ranges(codes))
        text += [f'// {meaning[name]}.', f'constexpr CharacterRange k{name.capitalize()}Ranges[] = {{{listed}}};', '']
    listed = ', '.join('{k%s, %s}' % ('Bert' + n.capitalize() if n in ('control', 'mark', 'punctuation', 'ideograph') else
                                     n.capitalize() if n == 'space' else 'Clip' + n.capitalize(), 'k' + n.capitalize() + 'Ranges')
                       for n in found)
    text += ['}  // namespace', '', 'std::span<const CharacterClass> character_classes() {',
             f'  static constexpr CharacterClass kClasses[] = {{{listed}}};', '  return kClasses;', '}', '',
             '}  // namespace trireme::worker::text']
    open('worker/text/character_ranges.cpp', 'w').write('\n'.join(text) + '\n')


def write_names():
    names = {}
    for name, value in html.entities.html5.items():
        bare = name.rstrip(';')
        points = '+'.join('%x' % ord(c) for c in value)
        names[bare] = (points, names.get(bare, ('', False))[1] or not name.endswith(';'))
    words = [f"{name}{'!' if bare else '='}{points}" for name, (points, bare) in sorted(names.items())]
    body = '\n'.join(textwrap.wrap(' '.join(words), 108, break_long_words=False, break_on_hyphens=False))
    cut = body.rfind('\n', 0, len(body) // 2)  # compilers bound the length of one literal
    open('worker/text/html_names.cpp', 'w').write(
        "// HTML's named character references, made by tests/oracles/record_text_tables.py; not edited by hand.\n"
        '#include "worker/text/html_names.h"\n\nnamespace trireme::worker::text {\n\n// clang-format off\n'
        'std::string_view html_names() {\n  return R"(' + body[:cut] + ')"\nR"(' + body[cut:] + ')";\n}\n// clang-format on\n\n'
        '}  // namespace trireme::worker::text\n')


write_ranges(), write_names()
