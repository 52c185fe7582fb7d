"""Records tests/golden/caption_words.txt: captions, and their words by pycocoevalcap's PTBTokenizer.

usage: record_caption_words.py FILE.txt [more] > tests/golden/caption_words.txt
Needs pycocoevalcap and Java. Each line of the files is a caption; the golden file has "T caption" and "W words".
To add cases: take the T lines out of the golden file, add, record again.
"""
import contextlib
import sys

from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

captions = [line.rstrip('\n').removeprefix('T ') for path in sys.argv[1:] for line in open(path, encoding='utf-8')
            if not line.startswith('W ')]
with contextlib.redirect_stdout(sys.stderr):
    words = PTBTokenizer().tokenize({i: [{'caption': text}] for i, text in enumerate(captions)})
for i, text in enumerate(captions):
    print('T', text)
    print('W', words[i][0])
