"""Records tests/golden/caption_scores.txt: captions with references, and what pycocoevalcap's scorers give.

usage: record_caption_scores.py ../shared/data/multi30k/val.en.gz > tests/golden/caption_scores.txt
Needs pycocoevalcap (the scorers only; its tokenizer, which needs Java, is left out: the text is tokenised already).

Cases: lines "C candidate", each followed by its references "R …"; then "BLEU a b c d", "ROUGE_L mean each…", "CIDEr mean each…".
"""
import contextlib
import gzip
import os
import random
import re
import sys

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge


def tokens(line):
    return ' '.join(re.findall(r'[a-z0-9]+', line.lower()))


def cases():
    lines = [tokens(line) for line in gzip.open(sys.argv[1], 'rt', encoding='utf-8')]
    draw = random.Random(7)
    made = []
    for i in range(60):
        reference = lines[i].split()
        candidate = list(reference)
        for _ in range(draw.randrange(6)):  # words replaced, doubled, left out, swapped
            at = draw.randrange(len(candidate))
            what = draw.randrange(4)
            if what == 0:
                candidate[at] = draw.choice(lines[draw.randrange(500)].split())
            elif what == 1:
                candidate.insert(at, candidate[at])
            elif what == 2 and len(candidate) > 1:
                del candidate[at]
            else:
                other = draw.randrange(len(candidate))
                candidate[at], candidate[other] = candidate[other], candidate[at]
        if i % 7 == 3:
            candidate = lines[200 + i].split()  # of another picture
        references = [lines[i]] + [lines[draw.randrange(60)] for _ in range(draw.randrange(5))]
        made.append((' '.join(candidate), references))
    made.append(('a', ['a dog runs through the snow', 'dog']))
    made.append(('a a a a a a a', ['a cat', 'the cat sat on a mat a']))
    made.append(('nothing alike here', ['zebra crossing', 'two']))
    return made


def scores(some):
    references = {i: refs for i, (_, refs) in enumerate(some)}
    candidates = {i: [one] for i, (one, _) in enumerate(some)}
    with open(os.devnull, 'w') as nowhere, contextlib.redirect_stdout(nowhere):
        bleu, _ = Bleu(4).compute_score(references, candidates, verbose=0)
        rouge = Rouge().compute_score(references, candidates)
        cider = Cider().compute_score(references, candidates)
    return bleu, rouge, cider


def write(some):
    for candidate, references in some:
        print('C', candidate)
        for reference in references:
            print('R', reference)
    bleu, rouge, cider = scores(some)
    print('BLEU', *map(repr, map(float, bleu)))
    for name, (mean, each) in (('ROUGE_L', rouge), ('CIDEr', cider)):
        print(name, repr(float(mean)), *map(repr, map(float, each)))


everything = cases()
write(everything)
write(everything[:1])  # one picture alone: every idf is 0
write(everything[-3:])
