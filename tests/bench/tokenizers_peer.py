"""The peer of tokenizers_bench, in the same run: captions per CPU second of Hugging Face's tokenizers and of open_clip,
and CPU seconds of training a vocabulary, on one core.

usage: tokenizers_peer.py BENCH_PROGRAM WEIGHTS_FOLDER CAPTIONS.gz   (WEIGHTS_FOLDER: clip-merges.txt.gz, minilm-vocab.txt)
needs: open_clip_torch tokenizers transformers
"""
import gzip, json, os, statistics, subprocess, sys, tempfile, time
os.environ['RAYON_NUM_THREADS'], os.environ['TOKENIZERS_PARALLELISM'] = '1', 'false'
import open_clip
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizerFast

program, weights, path = sys.argv[1:]
lines = gzip.open(path, 'rt', encoding='utf-8', newline='\n').read().splitlines()
slow = open_clip.get_tokenizer('ViT-B-32')
folder = tempfile.mkdtemp()
json.dump(slow.encoder, open(folder + '/vocab.json', 'w'))
open(folder + '/merges.txt', 'w').write('#version: 0.2\n' + '\n'.join(' '.join(k) for k in sorted(slow.bpe_ranks, key=slow.bpe_ranks.get)))
clip = CLIPTokenizerFast(vocab=folder + '/vocab.json', merges=folder + '/merges.txt')._tokenizer


def wordpiece(model):
    made = Tokenizer(model)
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    return made


def seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start


vocabulary = {p: i for i, p in enumerate(open(weights + '/minilm-vocab.txt', encoding='utf-8').read().split('\n')) if p}
bert = wordpiece(models.WordPiece(vocabulary, unk_token='[UNK]'))
rounds = []
for _ in range(3):  # in turns
    ours = [json.loads(subprocess.run([program, kind, argument, path], capture_output=True, check=True).stdout)
            for kind, argument in (('wordpiece', weights + '/minilm-vocab.txt'), ('clip_bpe', weights + '/clip-merges.txt.gz'), ('train', '8000'))]
    trained = wordpiece(models.WordPiece(unk_token='[UNK]'))
    rounds.append({
        'wordpiece': (ours[0]['captions_per_cpu_s'], len(lines) / seconds(lambda: bert.encode_batch(lines))),
        'clip_bpe': (ours[1]['captions_per_cpu_s'], len(lines) / seconds(lambda: clip.encode_batch(lines))),
        'train': (1 / ours[2]['cpu_s'], 1 / seconds(lambda: trained.train_from_iterator(
            lines, trainers.WordPieceTrainer(vocab_size=8000, show_progress=False, special_tokens=['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']))))})
for name in rounds[0]:
    ours, theirs = (statistics.median(r[name][side] for r in rounds) for side in (0, 1))
    print(json.dumps({'what': name, 'ours': round(ours, 2), 'peer': round(theirs, 2), 'ratio': round(ours / theirs, 2)}))
