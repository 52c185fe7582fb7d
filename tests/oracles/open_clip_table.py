"""Writes docs/open-clip-models.md: every model configuration of open_clip against ours, both towers.

usage: open_clip_table.py BUILD/bin/open_clip_agreement [NAME ...]   (from the repository root; names: these alone, printed)
needs: torch open_clip_torch timm safetensors

Depth is cut to 2 layers and the vocabulary to 1,000 ids; weights are random and lively, the same pixels and token ids go to both.
A configuration is equal when no component of an embedding of norm 1 differs by more than 3e-6 (GELU's tanh form instead of the
exact one moves these two layers by 1e-5), or refused with the field's name.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import timm
import open_clip
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP
from safetensors.torch import save_file

torch.set_num_threads(1)
VOCABULARY, LAYERS, TOLERANCE = 1000, 2, 3e-6
CREATE = timm.create_model
SLOW = ('trunc_normal_', 'normal_', 'kaiming_uniform_', 'xavier_uniform_', 'uniform_')


def shallow(name, **kwargs):
    return CREATE(name, **{**kwargs, 'depth': LAYERS})


def cut(config):
    config = json.loads(json.dumps(config))
    if isinstance(config['vision_cfg'].get('layers', 12), int):
        config['vision_cfg']['layers'] = LAYERS
    if 'hf_model_name' not in config['text_cfg']:
        config['text_cfg'] |= {'layers': LAYERS, 'vocab_size': VOCABULARY}
    if 'multimodal_cfg' in config:
        config['multimodal_cfg'] |= {'layers': 1, 'vocab_size': VOCABULARY}
    return config


def build(config):
    torch.manual_seed(0)
    arguments = {key: value for key, value in config.items() if key != 'custom_text'}
    arguments['text_cfg'] = {k: v for k, v in config['text_cfg'].items() if k not in ('hf_tokenizer_name', 'tokenizer_kwargs')}
    timm.create_model = shallow
    kept = {name: getattr(torch.nn.init, name) for name in SLOW}
    for name in SLOW:  # the values come below
        setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
    try:
        kind = CoCa if 'multimodal_cfg' in config else CustomTextCLIP if config.get('custom_text') else CLIP
        model = kind(**arguments).eval()
    finally:
        timm.create_model = CREATE
        for name, function in kept.items():
            setattr(torch.nn.init, name, function)
    with torch.no_grad():  # what a pooling, a mask or a bias changes must show
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                parameter.uniform_(-1, 1).mul_(2 * (3 / parameter[0].numel()) ** .5)
            elif parameter.dim() == 1:
                parameter.uniform_(-.2, .2).add_(1. if name.endswith(('weight', 'gamma')) else 0.)
            parameter.copy_(parameter.half())  # the file holds them so
    return model


def token_ids(config):
    text = config['text_cfg']
    length = text.get('context_length', 77)
    ids = torch.randint(3, VOCABULARY - 2, (3, length))
    end = text.get('eos_id', 2) if text.get('pool_type') == 'eos' else VOCABULARY - 1
    for row, at in enumerate((length // 3, length // 2, length - 1)):
        ids[row, at], ids[row, at + 1:] = end, 0
    return ids


def write_case(folder, config, model):
    save_file({k: (v.half() if v.is_floating_point() else v).contiguous().clone() for k, v in model.state_dict().items()}, folder / 'open_clip_model.safetensors', {'format': 'pt'})
    size = config['vision_cfg'].get('image_size', 224)
    image, tokens = torch.randn(1, 3, size, size), token_ids(config)
    with torch.no_grad():
        rows = [torch.nn.functional.normalize(x, dim=-1) for x in (model.encode_image(image), model.encode_text(tokens))]
    save_file({'input.image': image, 'input.tokens': tokens, 'output.image': rows[0].contiguous(), 'output.text': rows[1].contiguous()}, folder / 'inputs.safetensors')


def ask(tool, *arguments):
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def short(refusal):
    return refusal.split('_config.json: ')[-1] if '_config.json: ' in refusal else refusal.replace('\n', ' ')[:200]


def verdict(tool, name):
    config = cut(open_clip.get_model_config(name))
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        (folder / 'open_clip_config.json').write_text(json.dumps({'model_cfg': config}))
        found = ask(tool, '--config', place)
        if not found.get('refused'):
            write_case(folder, config, build(config))
            found = ask(tool, place)
    if found.get('refused'):
        return 'refused', short(found['refused'][0])
    return ('equal' if max(found['image'], found['text']) <= TOLERANCE else 'DIFFERENT'), f'{found["image"]:.1e}, {found["text"]:.1e}'


def main():
    tool, names = sys.argv[1], sys.argv[2:] or open_clip.list_models()
    rows = []
    for name in names:
        rows.append((name, *verdict(tool, name)))
        print(*rows[-1], sep=' | ', flush=True)
    counts = {kind: sum(row[1] == kind for row in rows) for kind in ('equal', 'refused', 'DIFFERENT')}
    print(counts)
    if not sys.argv[2:]:
        head = (f'# Model configurations of open_clip {open_clip.__version__}\n\n'
                f'{len(rows)} configurations: {counts["equal"]} equal, {counts["refused"]} refused by the name of a field, {counts["DIFFERENT"]} loaded and different.\n'
                'Made by `tests/oracles/open_clip_table.py`: depth cut to 2 layers, 1,000 token ids, random weights, given pixels and ids; the largest difference of a\n'
                'component of the image and the text embedding, both of norm 1, read by the model that `trireme weights inspect` prints (equal: up to 3e-6).\n\n'
                '| configuration | verdict | image, text difference, or field |\n|---|---|---|\n')
        pathlib.Path('docs').mkdir(exist_ok=True)
        pathlib.Path('docs/open-clip-models.md').write_text(head + ''.join(f'| {n} | {v} | {d} |\n' for n, v, d in rows))
    sys.exit(counts['DIFFERENT'] > 0)


if __name__ == '__main__':
    main()
