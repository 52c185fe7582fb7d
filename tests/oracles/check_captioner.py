"""A captioner that `trireme export --to hf` wrote, loaded by transformers, writes our greedy captions.

usage: check_captioner.py FOLDER MAX_LENGTH TAR CAPTIONS...   (the exported folder; the caption stage's; a shard and its sidecars)
needs: torch transformers pillow

Prints one line of JSON: pictures, captions that are the same words, and the largest difference of log-probabilities.
"""
import io
import json
import sys
import tarfile
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, BlipForConditionalGeneration

folder, max_length, tar, sidecars = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
torch.set_num_threads(1)
model, report = BlipForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
assert not report['missing_keys'] and not report['unexpected_keys'] and not report['mismatched_keys'], report
model.eval()
tokenizer, processor = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
assert 'Blip' in type(processor).__name__, type(processor)
ours = {}
for path in sidecars:
    for line in open(path, encoding='utf-8').read().splitlines()[1:]:
        row = json.loads(line)
        ours[row['key']] = row
seen = {'pictures': 0, 'same': 0, 'log_probability': 0.0}
with tarfile.open(tar) as file, torch.no_grad():
    for member in file:
        key, _, kind = member.name.partition('.')
        if kind not in ('jpg', 'png') or key not in ours:
            continue
        pixels = processor(Image.open(io.BytesIO(file.extractfile(member).read())).convert('RGB'), return_tensors='pt')['pixel_values']
        out = model.generate(pixel_values=pixels, max_length=max_length, num_beams=1, do_sample=False, return_dict_in_generate=True, output_scores=True)
        words = tokenizer.decode(out.sequences[0], skip_special_tokens=True)
        steps = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
        seen['pictures'] += 1
        seen['same'] += words == ours[key]['caption']
        if words == ours[key]['caption']:
            seen['log_probability'] = max(seen['log_probability'], abs(steps.sum().item() - ours[key]['log_probability']))
        else:
            print(key, repr(words), repr(ours[key]['caption']), file=sys.stderr)
print(json.dumps(seen))
