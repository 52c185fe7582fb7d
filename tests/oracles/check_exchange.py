"""Models that `trireme export` writes, loaded by those they are written for, and checkpoints of theirs read back.

usage: check_exchange.py WORKER SCRATCH VOCABULARY...   (the trireme-worker program; an empty folder; CLIP's merges file and a vocab.txt)
needs: torch open_clip_torch transformers safetensors pillow

Prints one line of JSON: the largest relative difference of every comparison.
"""
import json
import os
import shutil
import subprocess
import sys
import numpy
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

worker, scratch, merges, wordpieces = sys.argv[1:5]
os.makedirs(scratch, exist_ok=True)
torch.set_num_threads(1)
CAPTIONS = ["a photo of a cat.", "it's 2023: naïve café", "Hello World!", "two dogs & a bird, running"]
seen = {}


def tool(*words):
    done = subprocess.run([worker, 'tool', *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def path(*names):
    return os.path.join(scratch, *names)


def relative(a, b):
    return (torch.linalg.norm((a - b).double()) / torch.linalg.norm(b.double())).item()


def model_folder(name, model, tensors, vocabulary):
    """A folder as a train stage writes it."""
    os.makedirs(path(name), exist_ok=True)
    kept = 'vocabulary.txt.gz' if vocabulary.endswith('.gz') else 'vocabulary.txt'
    shutil.copy(vocabulary, path(name, kept))
    save_file({k: v.contiguous() for k, v in tensors.items()}, path(name, 'model.safetensors'))
    with open(path(name, 'config.json'), 'w') as file:
        json.dump({'format': 1, 'model': model, 'vocabulary': kept, 'provenance': {}}, file)


def picture():
    rows = numpy.arange(90)[:, None, None] * 2 + numpy.arange(70)[None, :, None] + numpy.array([0, 60, 120])
    return Image.fromarray((rows % 256).astype('uint8'))


def clip(quick_gelu):
    global scratch
    scratch = os.path.join(sys.argv[2], f'quick={quick_gelu}')  # nothing is written over
    import open_clip
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    from transformers import CLIPModel, CLIPProcessor
    torch.manual_seed(1)
    source = CLIP(24, CLIPVisionCfg(layers=2, width=32, head_width=8, patch_size=16, image_size=48),
                  CLIPTextCfg(context_length=20, vocab_size=49408, width=24, heads=3, layers=2), quick_gelu=quick_gelu).eval()
    spec = {'image': {'kind': 'vit', 'image_px': 48, 'resize_px': 48, 'patch_px': 16, 'width': 32, 'layers': 2, 'heads': 4, 'quick_gelu': quick_gelu},
            'text': {'kind': 'transformer', 'width': 24, 'layers': 2, 'heads': 3, 'context': 20, 'quick_gelu': quick_gelu,
                     'tokenizer': {'kind': 'clip_bpe', 'vocabulary': merges}}, 'embed_dim': 24}
    model_folder('clip', spec, source.state_dict(), merges)
    tool('export', '--to', 'open_clip', path('clip'), path('clip.open_clip'))
    tool('export', '--to', 'hf', path('clip'), path('clip.hf'))
    name = 'local-dir:' + path('clip.open_clip')
    theirs, _, transform = open_clip.create_model_and_transforms(name)
    theirs.eval()
    tokens = open_clip.get_tokenizer(name)(CAPTIONS)
    image = transform(picture())[None]
    with torch.no_grad():
        expected = source.encode_image(image, normalize=True), source.encode_text(tokens, normalize=True)
        seen[f'open_clip image quick={quick_gelu}'] = relative(theirs.encode_image(image, normalize=True), expected[0])
        seen[f'open_clip text quick={quick_gelu}'] = relative(theirs.encode_text(tokens, normalize=True), expected[1])
        hf = CLIPModel.from_pretrained(path('clip.hf')).eval()
        processor = CLIPProcessor.from_pretrained(path('clip.hf'))
        batch = processor(text=CAPTIONS, images=picture(), padding=True, return_tensors='pt')
        for row, mask, other in zip(batch['input_ids'], batch['attention_mask'], tokens):
            ids = row[mask.bool()].tolist()
            assert ids == other[:len(ids)].tolist() and not other[len(ids):].any(), (ids, other)
        seen[f'hf preprocessing quick={quick_gelu}'] = (batch['pixel_values'] - image).abs().max().item()
        out = hf(input_ids=batch['input_ids'], attention_mask=batch['attention_mask'], pixel_values=image)
        seen[f'hf image quick={quick_gelu}'] = relative(out.image_embeds, expected[0])
        seen[f'hf text quick={quick_gelu}'] = relative(out.text_embeds, expected[1])
        seen[f'hf scale quick={quick_gelu}'] = abs(hf.logit_scale.item() - source.logit_scale.item())
    # And back: a transformers checkpoint is the same model to us.
    tool('weights', 'compare', path('clip.hf'), path('clip.open_clip'))
    tool('weights', 'convert', path('clip.hf'), path('back.safetensors'), '--to', 'open_clip')
    back = load_file(path('back.safetensors'))
    for key, value in source.state_dict().items():
        assert torch.equal(back[key].reshape(value.shape), value), key


def align():
    from transformers import AlignConfig, AlignModel, AlignProcessor
    torch.manual_seed(2)
    vocabulary = sum(1 for _ in open(wordpieces, encoding='utf-8'))
    config = AlignConfig(projection_dim=80, text_config=dict(vocab_size=vocabulary, hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
                         max_position_embeddings=32), vision_config=dict(width_coefficient=.25, depth_coefficient=.5, image_size=57, hidden_dim=80))
    source = AlignModel(config).eval()
    with torch.no_grad():
        for module in source.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, .1)
                module.running_var.uniform_(.5, 1.5)
    source.save_pretrained(path('align.source'), safe_serialization=True)
    spec = {'image': {'kind': 'efficientnet_b0', 'width_factor': .25, 'depth_factor': .5, 'image_px': 57, 'resize_px': 68, 'projection': 'none'},
            'text': {'kind': 'bert', 'width': 32, 'layers': 2, 'heads': 2, 'context': 32, 'positions': 32, 'pooling': 'cls',
                     'tokenizer': {'kind': 'wordpiece', 'vocabulary': wordpieces}}, 'embed_dim': 80}
    ours = {}
    for key, value in source.state_dict().items():
        if key.endswith('num_batches_tracked') or 'pooler' in key or key.endswith(('position_ids', 'token_type_ids')):
            continue
        for theirs, name in (('vision_model.embeddings.convolution', 'visual._conv_stem'), ('vision_model.embeddings.batchnorm', 'visual._bn0'),
                             ('vision_model.encoder.blocks.', 'visual._blocks.'), ('expansion.expand_conv', '_expand_conv'), ('expansion.expand_bn', '_bn0'),
                             ('depthwise_conv.depthwise_conv', '_depthwise_conv'), ('depthwise_conv.depthwise_norm', '_bn1'), ('squeeze_excite.reduce', '_se_reduce'),
                             ('squeeze_excite.expand', '_se_expand'), ('projection.project_conv', '_project_conv'), ('projection.project_bn', '_bn2'),
                             ('text_model.', 'text.'), ('text_projection.', 'text.projection.')):
            key = key.replace(theirs, name)
        ours['logit_scale' if key == 'temperature' else key] = -value.log() if key == 'temperature' else value
    model_folder('align', spec, ours, wordpieces)
    tool('export', '--to', 'hf', path('align'), path('align.hf'))
    hf = AlignModel.from_pretrained(path('align.hf')).eval()
    processor = AlignProcessor.from_pretrained(path('align.hf'))
    batch = processor(text=CAPTIONS, images=picture(), padding=True, return_tensors='pt')
    with torch.no_grad():
        expected, found = source(**batch), hf(**batch)
    seen['align image'] = relative(found.image_embeds, expected.image_embeds)
    seen['align text'] = relative(found.text_embeds, expected.text_embeds)
    seen['align temperature'] = abs(hf.temperature.item() - source.temperature.item())
    # 68 x 68 bilinear, 57 cut out of the middle (offset 5.5, half to even: 6 here, 5 there is the processor's), byte / 127.5 - 1
    resized = picture().resize((68, 68), Image.BILINEAR).crop((5, 5, 62, 62))
    seen['align preprocessing'] = (batch['pixel_values'][0] - (torch.from_numpy(numpy.array(resized)).permute(2, 0, 1) / 127.5 - 1)).abs().max().item()


for quick in (False, True):
    clip(quick)
align()
print(json.dumps(seen))
