"""Records tests/golden/vocabularies.txt: vocabularies that Hugging Face's WordPieceTrainer makes of Multi30k.

usage: record_vocabularies.py DATA_FOLDER   (a folder that holds multi30k/*.gz; run from the repository root)
needs: tokenizers
The trainer numbers the characters that continue a word in the order of a hash table. Here all characters are given to it
as special tokens, in the order of their code points, which leaves it nothing to choose.
"""
import collections, gzip, hashlib, sys
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

MARKS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
ALL = ['train.cs', 'train.de', 'train.en', 'train.fr']
#        files, size, min_frequency, limit_alphabet, rules
CASES = [(['train.en'], 8000, 1, None, {}), (ALL, 30000, 1, None, {}), (ALL, 30000, 40, 45, {}),
         (ALL, 12000, 2, None, dict(strip_accents=False)), (['train.fr'], 5000, 1, None, dict(lowercase=False))]

lines = ['# files size min_count most_characters (0: all) rules pieces sha256']
for files, size, least, limit, rules in CASES:
    captions = [c for f in files for c in gzip.open(f'{sys.argv[1]}/multi30k/{f}.gz', 'rt', encoding='utf-8', newline='\n').read().split('\n')]
    tokenizer = Tokenizer(models.WordPiece(unk_token='[UNK]'))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(**rules), pre_tokenizers.BertPreTokenizer()
    words = collections.Counter(w for c in captions for w, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(c)))
    counts = collections.Counter()
    for word, n in words.items():
        for c in word:
            counts[c] += n
    kept = sorted(counts, key=lambda c: -counts[c])[:limit]
    assert limit is None or counts[kept[-1]] > max(counts[c] for c in counts if c not in kept), 'a tie at the limit'
    inside = {c for w in words for c in w[1:]} & set(kept)
    marks = MARKS + sorted(kept) + ['##' + c for c in sorted(inside)]
    tokenizer.train_from_iterator(captions, trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=least, special_tokens=marks, show_progress=False, **({} if limit is None else dict(limit_alphabet=limit))))
    made = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    digest = hashlib.sha256(''.join(piece + '\n' for piece, _ in made).encode()).hexdigest()
    names = ','.join(f'{k}={int(v)}' for k, v in rules.items()) or '-'
    lines.append(f'{"+".join(files)} {size} {least} {limit or 0} {names} {len(made)} {digest}')
open('tests/golden/vocabularies.txt', 'w').write('\n'.join(lines) + '\n')
