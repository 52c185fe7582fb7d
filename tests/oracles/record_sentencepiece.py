"""Records tests/golden/sentencepiece: two tiny SentencePiece models and what transformers' T5 and XLM-R tokenizers make of captions.

usage: record_sentencepiece.py   (from the repository root)
needs: sentencepiece transformers
"""
import json
import pathlib
import shutil
import tempfile

import sentencepiece
from transformers import T5Tokenizer, XLMRobertaTokenizer

FOLDER = pathlib.Path('tests/golden/sentencepiece')
CAPTIONS = ['a photo of a dog', 'A  red   square, on a grey wall!', 'résumé naïve café', '東京タワー 猫', 'emoji 👍🏽 ok', 'trailing space ', 'x' * 60, 'a\tphoto\r\n of\u00a0a \u3000 dog\t',
            'the model that the weights hold, and every field of it is said again and again and again']


def main():
    FOLDER.mkdir(exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, kind, file, marks in (('t5', T5Tokenizer, 'spiece.model', {'pad_id': 0, 'eos_id': 1, 'unk_id': 2, 'bos_id': -1}), ('xlm_roberta', XLMRobertaTokenizer, 'sentencepiece.bpe.model', {})):
            sentencepiece.SentencePieceTrainer.train(input='README.md,worker/models/README.md', model_prefix=f'{place}/{name}', vocab_size=300, hard_vocab_limit=False, minloglevel=2,
                                                     normalization_rule_name='identity', **marks)
            shutil.copy(f'{place}/{name}.model', FOLDER / f'{name}.model')
            shutil.copy(f'{place}/{name}.model', f'{place}/{file}')
            pathlib.Path(f'{place}/tokenizer_config.json').write_text(json.dumps({'tokenizer_class': kind.__name__, 'extra_ids': 0}))
            tokenizer = kind.from_pretrained(place)
            for caption in CAPTIONS:
                rows.append(f'{name}\t{json.dumps(caption)}\t{" ".join(map(str, tokenizer(caption, max_length=24, truncation=True).input_ids))}')
    (FOLDER / 'ids.txt').write_text('\n'.join(rows) + '\n')


if __name__ == '__main__':
    main()
