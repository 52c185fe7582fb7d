"""Records tests/golden/peer_folders.json: folders of transformers and open_clip and the cosines that these compute of pictures and captions, and one of timm
with its unit rows of the pictures.

usage: record_peer_folders.py   (from the repository root)
needs: torch open_clip_torch transformers sentencepiece timm safetensors pillow

The tests write the same folders (tests/support/peer_folders.py) and read them by what `trireme weights inspect` prints.
"""
import json
import pathlib
import shutil
import sys
import tempfile

sys.argv[1:] = ['.', '.']
sys.path.insert(0, 'tests/support')
sys.path.insert(0, 'tests/oracles')
import check_folders as peers
import peer_folders as ours
import torch
from PIL import Image


def shapes(folder, name):
    from safetensors import safe_open
    with safe_open(folder / name, 'pt') as file:
        return {key: list(file.get_slice(key).get_shape()) for key in file.keys()}


def clip(folder):
    peers.hf_clip(folder)
    return {}


def siglip(folder):
    peers.hf_siglip(folder)
    from transformers import SiglipConfig, SiglipModel, SiglipTokenizer
    shutil.copy(ours.GOLDEN / 'sentencepiece/t5.model', folder / 'spiece.model')
    tokenizer = SiglipTokenizer(str(folder / 'spiece.model'))
    tokenizer.save_pretrained(folder)
    config = SiglipConfig.from_pretrained(folder)
    config.text_config.vocab_size = len(tokenizer)
    SiglipModel(config).save_pretrained(folder)
    return {'text_config': {'vocab_size': len(tokenizer)}}


@torch.no_grad()
def timm_case():
    import timm
    from safetensors.torch import load_file
    name, settings = 'vit_tiny_patch16_224', {'input_size': [3, 32, 32], 'interpolation': 'bicubic', 'crop_pct': .9, 'mean': [.5] * 3, 'std': [.25] * 3, 'num_classes': 0}
    model = timm.create_model(name, depth=2, img_size=32, num_classes=0).eval()
    case = {'weights': 'model.safetensors', 'tensors': {k: list(v.shape) for k, v in model.state_dict().items()}, 'files': {'config.json': {'architecture': name, 'num_classes': 0, 'global_pool': 'token', 'pretrained_cfg': settings}}}
    with tempfile.TemporaryDirectory() as place:
        ours.write_safetensors(pathlib.Path(place) / case['weights'], case['tensors'])
        model.load_state_dict(load_file(pathlib.Path(place) / case['weights']))
    transform = timm.data.create_transform(**timm.data.resolve_data_config(settings))
    rows = model(torch.stack([transform(Image.frombytes('RGB', size, ours.pixels(*size, i))) for i, size in enumerate(ours.SIZES)]))
    case['rows'] = [[round(x, 7) for x in row] for row in torch.nn.functional.normalize(rows.double(), dim=-1).tolist()]
    return case


def main():
    out = {'timm': timm_case()}
    for name, write, read, weights, captions in (('clip', clip, peers.hf_cosines, 'model.safetensors', ours.CAPTIONS), ('siglip', siglip, peers.hf_cosines, 'model.safetensors', ours.CAPTIONS),
                                                 ('open_clip', peers.oc, peers.oc_cosines, 'open_clip_model.safetensors', ours.CAPTIONS + ours.REPAIRED)):
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place)
            write(folder)
            case = {'weights': weights, 'tensors': {k: v for k, v in shapes(folder, weights).items() if not k.endswith('position_ids')}}
            case['files'] = {file.name: json.loads(file.read_text()) for file in sorted(folder.glob('*config.json'))}
            ours.write_safetensors(folder / weights, case['tensors'])
            peers.CAPTIONS[:] = captions
            peers.PICTURES[:] = [Image.frombytes('RGB', size, ours.pixels(*size, i)) for i, size in enumerate(ours.SIZES)]
            case['captions'] = captions
            case['cosines'] = [[round(x, 7) for x in row] for row in read(folder).tolist()]
            out[name] = case
    (ours.GOLDEN / 'peer_folders.json').write_text(json.dumps(out, indent=0) + '\n')


if __name__ == '__main__':
    main()
