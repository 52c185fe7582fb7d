"""Records tests/golden/open_clip/*.safetensors: tiny random models of open_clip, one per way of computing that its configurations can ask for.

usage: record_open_clip.py   (from the repository root)
needs: torch open_clip_torch timm safetensors

Each file holds the weights under open_clip's names ("weight.…"), inputs, the unit embeddings that open_clip computes, and the configuration as metadata.
"""
import json
import os
import pathlib
import sys
import tempfile

import timm
from safetensors.torch import load_file, save_file

sys.path.insert(0, os.path.dirname(__file__))
import open_clip_table as table

FOLDER = pathlib.Path('tests/golden/open_clip')
table.VOCABULARY, table.LAYERS = 24, 1
VISION = {'image_size': 8, 'layers': 1, 'width': 16, 'head_width': 8, 'patch_size': 4}
TEXT = {'context_length': 9, 'vocab_size': 24, 'width': 16, 'heads': 2, 'layers': 1}


def config(vision=None, text=None, **more):
    return {'embed_dim': 12, 'vision_cfg': {**VISION, **(vision or {})}, 'text_cfg': {**TEXT, **(text or {})}, **more}


def timm_config(name, pool, proj=None, text=None, **more):
    tower = {'timm_model_name': name, 'timm_model_pretrained': False, 'timm_pool': pool, 'timm_proj': proj, 'image_size': 8}
    return {'embed_dim': 12, 'vision_cfg': tower, 'text_cfg': {**TEXT, **(text or {})}, 'custom_text': True, **more}


SIGLIP_TEXT = {'no_causal_mask': True, 'proj_bias': True, 'pool_type': 'last', 'norm_kwargs': {'eps': 1e-6}, 'mlp_ratio': 3.7362}
CASES = {
    'average': config({'pool_type': 'avg'}, {'pool_type': 'first'}),
    'clipa': config({'pool_type': 'avg', 'final_ln_after_pool': True, 'no_ln_pre': True, 'mlp_ratio': 3.5}, {'no_causal_mask': True, 'pool_type': 'last'}),
    'epsilon': config({'norm_kwargs': {'eps': 1e-2}, 'act_kwargs': {'approximate': 'tanh'}}, {'norm_kwargs': {'eps': 1e-2}, 'act_kwargs': {'approximate': 'tanh'}, 'pool_type': 'eos', 'eos_id': 7}),
    'scaled': config({'ls_init_value': 1e-4, 'scale_attn_inner': True, 'scale_fc': True}, {'ls_init_value': 1e-4, 'proj_type': 'none', 'width': 12}, quick_gelu=True),
    'coca': config({'attentional_pool': True, 'attn_pooler_heads': 2, 'attn_pooler_queries': 3, 'output_tokens': True}, {'embed_cls': True, 'output_tokens': True},
                   custom_text=True, multimodal_cfg={'width': 16, 'context_length': 9, 'vocab_size': 24, 'heads': 2, 'layers': 1, 'mlp_ratio': 1}),
    'siglip': {**timm_config('vit_base_patch16_siglip_224', 'map', 'none', SIGLIP_TEXT, init_logit_bias=-10), 'embed_dim': 12},
    'timm_clip': timm_config('vit_large_patch14_clip_224', 'token'),
    'timm_gap': {**timm_config('vit_medium_patch16_gap_256', '', 'linear'), 'custom_text': False},
    'eva_g': timm_config('eva_giant_patch14_224', 'token'),
    'eva02': timm_config('eva02_base_patch16_clip_224', 'token'),
    'eva02_e': timm_config('eva02_enormous_patch14_clip_224', 'token'),
    'perception': timm_config('vit_pe_core_tiny_patch16_384', 'map')}
WIDTHS = {'siglip': 12, 'timm_clip': 16, 'timm_gap': 16, 'eva_g': 16, 'eva02': 48, 'eva02_e': 16, 'perception': 24}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    total = 0
    for name, case in CASES.items():
        kwargs = {'embed_dim': WIDTHS.get(name), 'img_size': 8, 'patch_size': 4, 'mlp_ratio': 1.}
        if name == 'perception':
            kwargs |= {'ref_feat_shape': (24, 24), 'attn_pool_mlp_ratio': 1.}
        table.shallow = lambda model, _kwargs=kwargs, **given: table.CREATE(model, **{**given, **_kwargs, 'depth': 1})
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place)
            table.write_case(folder, case, table.build(case))
            out = {f'weight.{k}': v for k, v in load_file(folder / 'open_clip_model.safetensors').items() if not k.startswith('text_decoder.')}
            out |= load_file(folder / 'inputs.safetensors')
        save_file(out, FOLDER / f'{name}.safetensors', {'open_clip_config': json.dumps({'model_cfg': case})})
        size = os.path.getsize(FOLDER / f'{name}.safetensors')
        total += size
        print(name, size // 1024, 'KiB')
    print('in all', total // 1024, 'KiB')


if __name__ == '__main__':
    main()
