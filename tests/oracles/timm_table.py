"""Writes docs/timm-models.md: every architecture of timm as a folder of its hub, against ours.

usage: timm_table.py BUILD/bin/open_clip_agreement MINUTES [NAME ...]   (from the repository root; names: these alone, printed)
needs: torch timm safetensors

First every architecture's config.json alone: most are refused there. Of the others, the smallest first, until the minutes are over, vision
transformers are cut to 2 blocks; weights are random and lively. Compared are the pooled features that timm's classifier would read, made a unit
row, of the same pixels: equal up to 1e-5.
"""
import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import timm
import torch
from safetensors.torch import save_file

torch.set_num_threads(1)
TOLERANCE, PIXELS = 1e-5, 97
SMALLEST_FIRST = ('lite', '_b0', '_b1', 'tiny', 'small', '_b2', '_b3', 'medium', 'base', '_b4', '_b5', 'large', 'so', '_b6', '_b7', 'huge', 'giant', 'gigantic', '_l2')


def config_of(name, pool=None):
    told = timm.get_pretrained_cfg(name)
    cfg = {key: value for key, value in (told.to_dict() if told else {}).items() if value is not None and key not in ('architecture', 'url')}
    config = {'architecture': name, 'num_classes': cfg.get('num_classes', 1000), 'pretrained_cfg': json.loads(json.dumps(cfg, default=list))}
    return config | ({'global_pool': pool} if pool else {})


def ask(tool, *arguments):
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def create(name):
    for kwargs in ({'depth': 2}, {}):
        try:
            return timm.create_model(name, pretrained=False, **kwargs).eval()
        except TypeError:
            pass
    raise RuntimeError(f'{name} cannot be made')


def lively(model, name):
    # Less, and another padding hardly shows; more, and the deep ones are chaotic: timm's float32 is 3e-2 away from its float64 (of l2 4e-2 at 1.25, 3e-8 at 1.1).
    gain = 1.4 if hasattr(model, 'patch_embed') else 1.1 if '_l2' in name else 1.25
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not value.is_floating_point():
                continue
            if value.dim() >= 2:
                value.copy_(torch.randn(value.shape, generator=generator) * gain / value[0].numel() ** .5)
            elif name.endswith('running_var') or name.endswith(('weight', 'gamma')):
                value.copy_(1 + .2 * torch.rand(value.shape, generator=generator))
            else:
                value.copy_(.2 * torch.randn(value.shape, generator=generator))


@torch.no_grad()
def verdict(tool, name):
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        model = create(name)
        lively(model, name)
        pool = getattr(model, 'global_pool', None)  # a name, or an EfficientNet's module
        (folder / 'config.json').write_text(json.dumps(config_of(name, pool if isinstance(pool, str) else None)))
        save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, folder / 'model.safetensors', {'format': 'pt'})
        px = model.patch_embed.img_size[0] if hasattr(model, 'patch_embed') else PIXELS
        image = torch.randn(1, 3, px, px, generator=torch.Generator().manual_seed(2))
        pooled = model.forward_head(model.forward_features(image), pre_logits=True)
        save_file({'input.image': image, 'output.image': torch.nn.functional.normalize(pooled, dim=-1).contiguous()}, folder / 'inputs.safetensors')
        found, = ask(tool, folder)
    if found.get('refused'):
        return 'refused', found['refused'][0].split('config.json: ')[-1].replace('\n', ' ').replace(place, '')[:160]
    return ('equal' if found['image'] <= TOLERANCE else 'DIFFERENT'), f'{found["image"]:.1e}'


def rank(name):
    return next((place for place, word in enumerate(SMALLEST_FIRST) if word in name), len(SMALLEST_FIRST))


def main():
    tool, end, names = sys.argv[1], time.monotonic() + 60 * float(sys.argv[2]), sys.argv[3:] or timm.list_models()
    rows = {}
    with tempfile.TemporaryDirectory() as place:
        for name in names:
            (pathlib.Path(place) / name).mkdir()
            (pathlib.Path(place) / name / 'config.json').write_text(json.dumps(config_of(name)))
        for name, found in zip(names, ask(tool, '--config', *(f'{place}/{name}' for name in names))):
            if found.get('refused'):
                rows[name] = ('refused', found['refused'][0].split('config.json: ')[-1][:160])
    by_config = set(rows)
    print(len(by_config), 'refused by their config', flush=True)
    for name in sorted((name for name in names if name not in rows), key=rank):
        rows[name] = verdict(tool, name) if time.monotonic() < end else ('not run', 'there was no time')
        print(name, *rows[name], sep=' | ', flush=True)
    counts = collections.Counter(row[0] for row in rows.values())
    print(dict(counts))
    if not sys.argv[3:]:
        shown = {name: rows[name] for name in names if name not in by_config}
        head = (f'# Architectures of timm {timm.__version__}\n\n{len(rows)} architectures: {counts["equal"]} equal, {counts["refused"]} refused by the name of a field, {counts["DIFFERENT"]} loaded and different, {counts["not run"]} not run.\n'
                'Made by `tests/oracles/timm_table.py`: each as a folder of the hub (`config.json`, `model.safetensors`), vision transformers cut to 2 blocks, random weights, given\n'
                'pixels; the largest difference of a component of the pooled features, made a unit row (equal: up to 1e-5; the padding of `tf_efficientnet_b0` in the place of\n'
                f"`efficientnet_b0`'s is 1.5e-4 away). {len(by_config)} are refused by their `config.json`, nearly all by `architecture`; the others:\n\n"
                '| architecture | verdict | difference, or why |\n|---|---|---|\n')
        pathlib.Path('docs/timm-models.md').write_text(head + ''.join(f'| {name} | {row[0]} | {row[1]} |\n' for name, row in shown.items()))
    sys.exit(counts['DIFFERENT'] > 0)


if __name__ == '__main__':
    main()
