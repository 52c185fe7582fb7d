"""Folders as people hold them, read by what wrote them and by us: the embeddings of real pictures and captions are equal, or we refuse by name.

usage: check_folders.py BIN SCRATCH [NAME ...]   (the folder with trireme; an empty folder; names: these alone)
needs: torch open_clip_torch transformers sentencepiece timm safetensors pillow

A folder is written by transformers, open_clip or timm, its JSON is edited as others leave it, and both sides read the edited folder: they by their own
loader, tokenizer and processor (transformers 5 takes torchvision's), we by the model that `trireme weights inspect` prints, pasted into a job. Compared are the
cosines of every picture with every caption, or the rows of a tower alone: equal up to 1e-5. Where their own program fails, nothing can be compared, and the line says so.
"""
import gzip
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile

os.environ |= {'HF_HUB_OFFLINE': '1', 'CUDA_VISIBLE_DEVICES': '', 'TOKENIZERS_PARALLELISM': 'false', 'TRIREME_DEVICE': 'cpu', 'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1'}
import feature_file
import numpy as np
import torch
from PIL import Image

torch.set_num_threads(1)
BIN, SCRATCH = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
TOLERANCE = 1e-5
GOLDEN = pathlib.Path(__file__).resolve().parents[1] / 'golden'
CAPTIONS = ['a photo of a dog', "It's Two Dogs & a cat, don't you see?", 'R\u00e9sum\u00e9 Na\u00efve Caf\u00e9', 're\u0301sume\u0301 \u201ccurly\u201d \u2014 \u2026', '&lt;b&gt; &amp;amp; caf&eacute;', '\u6771\u4eac\u30bf\u30ef\u30fc \u732b',
            'tabs\tand   spaces\nand lines ', 'word ' * 90, 'A RED Square_on a #grey wall!!! 12345', '\u0130stanbul \u1e9e \ufb01 \u2167']


def picture(width, height, seed):
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 40, (height, width, 3))
    waves = np.stack([110 + 100 * np.sin(x / (4. + seed)), 255. * x / width, 200. * ((x + y) % 37 < 12)], -1)
    return Image.fromarray(np.clip(waves + noise, 0, 255).astype(np.uint8))


PICTURES = [picture(151, 70, 1), picture(61, 133, 2), picture(64, 64, 3), picture(40, 47, 4)]


def data():
    path = SCRATCH / 'data/00000.tar'
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, 'w') as tar:
        def add(name, content):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for i, image in enumerate(PICTURES):
            buffer = io.BytesIO()
            image.save(buffer, 'PNG')
            for j, caption in enumerate(CAPTIONS):
                add(f'{i}-{j}.png', buffer.getvalue())
                add(f'{i}-{j}.txt', caption.encode())
    return path


def lively(model):
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0, 1.5 / parameter[0].numel() ** .5)
            elif parameter.dim() == 1:
                parameter.normal_(1. if name.endswith('weight') else 0., .1)
            if 'embed' in name and parameter.dim() >= 2:
                parameter.normal_(0, .5)
    return model.eval()


def edit(path, change):
    """`change`: keys of the JSON object with new values; a value of Ellipsis takes the key away, a key "a.b" goes down."""
    root = json.loads(path.read_text()) if path.exists() else {}
    for key, value in change.items():
        *way, last = key.split('.')
        at = root
        for one in way:
            at = at.setdefault(one, {})
        if value is ...:
            at.pop(last, None)
        else:
            at[last] = value
    path.write_text(json.dumps(root))


# transformers

def clip_vocabulary(folder):
    import open_clip
    lines = gzip.open(pathlib.Path(open_clip.__file__).parent / 'bpe_simple_vocab_16e6.txt.gz').read().decode().split('\n')[1:49152 - 256 - 2 + 1]
    letters = list(open_clip.tokenizer.bytes_to_unicode().values())
    tokens = letters + [x + '</w>' for x in letters] + [line.replace(' ', '') for line in lines] + ['<|startoftext|>', '<|endoftext|>']
    (folder / 'vocab.json').write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / 'merges.txt').write_text('#version: 0.2\n' + '\n'.join(lines) + '\n')


def hf_clip(folder, config=None, pixels=None, words=None, more=()):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer
    model = lively(CLIPModel(CLIPConfig(
        text_config={'hidden_size': 32, 'intermediate_size': 96, 'num_hidden_layers': 2, 'num_attention_heads': 4, 'eos_token_id': 49407, 'bos_token_id': 49406},
        vision_config={'hidden_size': 48, 'intermediate_size': 96, 'num_hidden_layers': 2, 'num_attention_heads': 3, 'image_size': 32, 'patch_size': 8}, projection_dim=24)))
    model.save_pretrained(folder)
    clip_vocabulary(folder)
    CLIPTokenizer.from_pretrained(folder, model_max_length=77).save_pretrained(folder)
    CLIPImageProcessor(size={'shortest_edge': 37}, crop_size={'height': 32, 'width': 32}).save_pretrained(folder)
    edit(folder / 'config.json', config or {})
    edit(folder / 'preprocessor_config.json', pixels or {})
    edit(folder / 'tokenizer_config.json', words or {})
    for name, change in more:
        change(folder / name) if callable(change) else edit(folder / name, change)


def hf_siglip(folder, config=None, pixels=None, words=None, more=()):
    import shutil
    import sentencepiece
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipTokenizer
    root = GOLDEN.parents[1]
    sentencepiece.SentencePieceTrainer.train(input=f'{root}/README.md,{root}/worker/models/README.md', model_prefix=str(folder / 'spiece'), vocab_size=300, hard_vocab_limit=False, minloglevel=2,
                                             normalization_rule_name='identity', pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    (folder / 'spiece.vocab').unlink()
    tokenizer = SiglipTokenizer(str(folder / 'spiece.model'))
    tokenizer.save_pretrained(folder)
    model = lively(SiglipModel(SiglipConfig(
        text_config={'hidden_size': 32, 'intermediate_size': 96, 'num_hidden_layers': 2, 'num_attention_heads': 4, 'vocab_size': len(tokenizer), 'max_position_embeddings': 24, 'projection_size': 32},
        vision_config={'hidden_size': 32, 'intermediate_size': 96, 'num_hidden_layers': 2, 'num_attention_heads': 4, 'image_size': 32, 'patch_size': 8})))
    model.save_pretrained(folder)
    SiglipImageProcessor(size={'height': 32, 'width': 32}).save_pretrained(folder)
    edit(folder / 'config.json', config or {})
    edit(folder / 'preprocessor_config.json', pixels or {})
    edit(folder / 'tokenizer_config.json', words or {})
    for name, change in more:
        change(folder / name) if callable(change) else edit(folder / name, change)


@torch.no_grad()
def hf_cosines(folder):
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
    model = AutoModel.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    siglip = model.config.model_type == 'siglip'
    batch = tokenizer(CAPTIONS, padding='max_length' if siglip else True, max_length=model.config.text_config.max_position_embeddings if siglip else None, truncation=True, return_tensors='pt')
    if siglip:
        batch = {'input_ids': batch['input_ids']}
    pixels = torch.cat([torch.as_tensor(np.asarray(processor(x, return_tensors='np')['pixel_values'])) for x in PICTURES])
    out = model(pixel_values=pixels, **batch)
    return (out.image_embeds @ out.text_embeds.T).double()


WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', 'A', 'red', 'RED', 'dog', 'dogs', 'cat', 'word', 'photo', 'of', 'caf', 'Caf', '\u732b', '\u6771', "'", '"', '&', ';', '.', ',', '!', '#', '_', '-', '<', '>']


def word_list(folder):
    letters = [chr(c) for c in range(ord('a'), ord('z') + 1)] + [chr(c) for c in range(ord('A'), ord('Z') + 1)] + list('0123456789\u00e9\u00ef\u0130\u1e9e')
    (folder / 'vocab.txt').write_text('\n'.join(dict.fromkeys(WORDS + letters + ['##' + x for x in letters] + ['##s', '##ed', '##og'])) + '\n')
    return len((folder / 'vocab.txt').read_text().splitlines())


def edit_all(folder, config, pixels, words, more):
    for name, change in (('config.json', config or {}), ('preprocessor_config.json', pixels or {}), ('tokenizer_config.json', words or {}), *more):
        if change:
            change(folder / name) if callable(change) else edit(folder / name, change)


def hf_align(folder, config=None, pixels=None, words=None, more=()):
    from transformers import AlignConfig, AlignModel, BertTokenizer, EfficientNetImageProcessor
    size = word_list(folder)
    model = AlignModel(AlignConfig(projection_dim=320, text_config={'hidden_size': 32, 'intermediate_size': 128, 'num_hidden_layers': 2, 'num_attention_heads': 4, 'vocab_size': size, 'max_position_embeddings': 96},
                                   vision_config={'width_coefficient': 1., 'depth_coefficient': 1., 'image_size': 33, 'hidden_dim': 320}))
    lively(model)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.startswith('vision_model.') and value.dim() >= 2:
                value.mul_(.8)  # 1.2: deeper than the others
            elif name.endswith('running_mean'):
                value.normal_(0, .1)
            elif name.endswith('running_var'):
                value.uniform_(.8, 1.2)
    model.save_pretrained(folder)
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    word_list(folder)
    EfficientNetImageProcessor(size={'height': 40, 'width': 40}, crop_size={'height': 33, 'width': 33}, do_center_crop=True, resample=2, image_mean=[.5] * 3, image_std=[.5] * 3, rescale_offset=False, include_top=False).save_pretrained(folder)
    edit_all(folder, config, pixels, words, more)


@torch.no_grad()
def align_cosines(folder):
    from transformers import AlignModel, AlignProcessor
    model, processor = AlignModel.from_pretrained(folder).eval(), AlignProcessor.from_pretrained(folder)
    texts = processor(text=CAPTIONS, truncation=True, return_tensors='pt')
    pixels = torch.cat([torch.as_tensor(np.asarray(processor(images=x, return_tensors='np')['pixel_values'])) for x in PICTURES])
    out = model(pixel_values=pixels, **texts)
    return (out.image_embeds @ out.text_embeds.T).double()


def hf_bert(folder, config=None, words=None, more=(), pool='mean'):
    from transformers import BertConfig, BertModel, BertTokenizer
    size = word_list(folder)
    lively(BertModel(BertConfig(hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, vocab_size=size, max_position_embeddings=96))).save_pretrained(folder)
    BertTokenizer.from_pretrained(folder, model_max_length=96).save_pretrained(folder)
    word_list(folder)
    (folder / '1_Pooling').mkdir()
    (folder / '1_Pooling/config.json').write_text(json.dumps({'word_embedding_dimension': 32, 'pooling_mode_cls_token': pool == 'cls', 'pooling_mode_mean_tokens': pool == 'mean', 'pooling_mode_max_tokens': False, 'pooling_mode_mean_sqrt_len_tokens': False}))
    edit_all(folder, config, None, words, more)


@torch.no_grad()
def bert_rows(folder):
    """As sentence-transformers pools them, a unit row each."""
    from transformers import AutoModel, AutoTokenizer
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    length = json.loads((folder / 'sentence_bert_config.json').read_text())['max_seq_length'] if (folder / 'sentence_bert_config.json').exists() else min(tokenizer.model_max_length, model.config.max_position_embeddings)
    batch = tokenizer(CAPTIONS, padding=True, truncation=True, max_length=length, return_tensors='pt')
    rows, there = model(**batch).last_hidden_state, batch['attention_mask'].unsqueeze(-1)
    first = json.loads((folder / '1_Pooling/config.json').read_text())['pooling_mode_cls_token']
    return torch.nn.functional.normalize(rows[:, 0] if first else (rows * there).sum(1) / there.sum(1), dim=-1).double()


def timm_folder(folder, name='vit_tiny_patch16_224', cfg=None, config=None):
    import timm
    from safetensors.torch import save_file
    model = lively(timm.create_model(name, pretrained=False, **({'depth': 2, 'img_size': 64} if name.startswith('vit') else {})))
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith('running_var'):
                value.uniform_(.8, 1.2)
            elif value.dim() == 4 and not name.startswith('vit'):
                value.mul_(.8)
    save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, folder / 'model.safetensors', {'format': 'pt'})
    settings = {'input_size': [3, 64, 64], 'interpolation': 'bicubic', 'crop_pct': .9, 'mean': [.5] * 3, 'std': [.25] * 3, 'num_classes': 1000, **(cfg or {})}
    (folder / 'config.json').write_text(json.dumps({'architecture': name, 'num_classes': 1000, 'pretrained_cfg': {k: v for k, v in settings.items() if v is not ...}, **(config or {})}))


@torch.no_grad()
def timm_rows(folder):
    import timm
    from safetensors.torch import load_file
    config = json.loads((folder / 'config.json').read_text())
    name, pool = config['architecture'], config.get('global_pool')
    model = timm.create_model(name, pretrained=False, **({'depth': 2, 'img_size': 64} if name.startswith('vit') else {}), **({'global_pool': pool} if pool else {})).eval()
    model.load_state_dict(load_file(folder / 'model.safetensors'))
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, pretrained_cfg=config['pretrained_cfg']))
    return torch.nn.functional.normalize(model.forward_head(model.forward_features(torch.stack([transform(x) for x in PICTURES])), pre_logits=True), dim=-1).double()


ALONE = {bert_rows: 'text', timm_rows: 'image'}


# open_clip

def oc(folder, vision=None, text=None, pre=None, model=None, name=None):
    import open_clip
    from open_clip.model import CLIP, CustomTextCLIP
    from safetensors.torch import save_file
    config = {'embed_dim': 24, 'vision_cfg': {'image_size': 32, 'layers': 2, 'width': 48, 'head_width': 16, 'patch_size': 8, **(vision or {})},
              'text_cfg': {'context_length': 40, 'vocab_size': 49408, 'width': 32, 'heads': 4, 'layers': 2, **(text or {})}, **(model or {})}
    kwargs = json.loads(json.dumps({k: v for k, v in config.items() if k != 'custom_text'}))
    for key in ('tokenizer_kwargs', 'hf_tokenizer_name'):
        kwargs['text_cfg'].pop(key, None)
    built = lively((CustomTextCLIP if config.get('custom_text') else CLIP)(**kwargs))
    save_file({k: v.contiguous().clone() for k, v in built.state_dict().items()}, folder / (name or 'open_clip_model.safetensors'), {'format': 'pt'})
    usual = {'size': 32, 'mode': 'RGB', 'mean': list(open_clip.OPENAI_DATASET_MEAN), 'std': list(open_clip.OPENAI_DATASET_STD), 'interpolation': 'bicubic', 'resize_mode': 'shortest', 'fill_color': 0}
    usual.update(pre or {})
    (folder / 'open_clip_config.json').write_text(json.dumps({'model_cfg': config, 'preprocess_cfg': {k: v for k, v in usual.items() if v is not ...}}))


@torch.no_grad()
def oc_cosines(folder):
    import open_clip
    model, _, transform = open_clip.create_model_and_transforms(f'local-dir:{folder}')
    model.eval()
    tokens = open_clip.get_tokenizer(f'local-dir:{folder}')(CAPTIONS)
    images = model.encode_image(torch.stack([transform(x) for x in PICTURES]), normalize=True)
    return (images @ model.encode_text(tokens, normalize=True).T).double()


def cases():
    P = lambda **change: (hf_clip, hf_cosines, {'pixels': change})
    C = lambda **change: (hf_clip, hf_cosines, {'config': {k.replace('__', '.'): v for k, v in change.items()}})
    W = lambda **change: (hf_clip, hf_cosines, {'words': change})
    S = lambda **change: (hf_siglip, hf_cosines, change)
    O = lambda **change: (oc, oc_cosines, change)
    A = lambda **change: (hf_align, align_cosines, change)
    B = lambda **change: (hf_bert, bert_rows, change)
    T = lambda name='vit_tiny_patch16_224', config=None, **cfg: (timm_folder, timm_rows, {'name': name, 'cfg': cfg, 'config': config})
    return {
        'clip': C(), 'clip shortest 32': P(size={'shortest_edge': 32}), 'clip size int': P(size=36), 'clip size square': P(size={'height': 40, 'width': 40}), 'clip size 24 below crop': P(size={'shortest_edge': 24}),
        'clip size oblong': P(size={'height': 40, 'width': 36}), 'clip crop int': P(crop_size=32), 'clip crop other': P(crop_size={'height': 40, 'width': 40}, size={'shortest_edge': 44}),
        'clip no crop, square': P(do_center_crop=False, size={'height': 32, 'width': 32}), 'clip no crop, shortest': P(do_center_crop=False), 'clip no resize': P(do_resize=False), 'clip no rescale': P(do_rescale=False),
        'clip rescale 1/256': P(rescale_factor=1 / 256), 'clip rescale 1/127.5': P(rescale_factor=1 / 127.5), 'clip rescale rounded': P(rescale_factor=0.00392156862745098), 'clip no normalize': P(do_normalize=False),
        'clip mean half': P(image_mean=[.5] * 3, image_std=[.5] * 3), 'clip mean scalar': P(image_mean=.5, image_std=.25), 'clip mean two': P(image_mean=[.5, .4]), 'clip mean null': P(image_mean=None),
        'clip bilinear': P(resample=2), 'clip nearest': P(resample=0), 'clip lanczos': P(resample=1), 'clip box': P(resample=4), 'clip resample name': P(resample='bicubic'), 'clip pad': P(do_pad=True), 'clip unknown field': P(gamma=2.2),
        'clip minimal': (hf_clip, hf_cosines, {'more': [('preprocessor_config.json', lambda p: p.write_text(json.dumps({'image_processor_type': 'CLIPImageProcessor', 'size': 32, 'crop_size': 32})))]}),
        'clip old extractor': (hf_clip, hf_cosines, {'more': [('preprocessor_config.json', lambda p: p.write_text(json.dumps({'feature_extractor_type': 'CLIPFeatureExtractor', 'size': 37, 'crop_size': 32, 'do_center_crop': True, 'resample': 3})))]}),
        'clip vit processor': P(image_processor_type='ViTImageProcessor', size={'height': 32, 'width': 32}, do_center_crop=...), 'clip siglip processor': P(image_processor_type='SiglipImageProcessor', size={'height': 32, 'width': 32}, do_center_crop=...),
        'clip longest': P(size={'longest_edge': 32}), 'clip BOM': (hf_clip, hf_cosines, {'more': [('preprocessor_config.json', lambda p: p.write_bytes(b'\xef\xbb\xbf' + p.read_bytes()))]}),
        'clip processor 5 differs': (hf_clip, hf_cosines, {'more': [('processor_config.json', {'image_processor': {'image_processor_type': 'CLIPImageProcessor', 'size': {'shortest_edge': 32}, 'crop_size': {'height': 32, 'width': 32}, 'resample': 2}, 'processor_class': 'CLIPProcessor'})]}),
        'clip no processor': (hf_clip, hf_cosines, {'more': [('preprocessor_config.json', lambda p: p.unlink())]}),
        'clip gelu': C(text_config__hidden_act='gelu', vision_config__hidden_act='gelu'), 'clip gelu_new': C(vision_config__hidden_act='gelu_new'), 'clip relu': C(text_config__hidden_act='relu'), 'clip silu': C(vision_config__hidden_act='silu'),
        'clip eps': C(text_config__layer_norm_eps=1e-2), 'clip eps image': C(vision_config__layer_norm_eps=1e-2), 'clip heads': C(text_config__num_attention_heads=2, vision_config__num_attention_heads=6), 'clip heads absent': C(vision_config__num_attention_heads=...),
        'clip eos 2': C(text_config__eos_token_id=2), 'clip eos other': C(text_config__eos_token_id=320), 'clip eos absent': C(text_config__eos_token_id=...), 'clip older dict': C(text_config_dict={'num_attention_heads': 2, 'hidden_size': 32, 'intermediate_size': 96, 'num_hidden_layers': 2}),
        'clip unknown': C(vision_config__rope_theta=1e4), 'clip type': C(model_type='chinese_clip'), 'clip no type': C(model_type=...), 'clip whole dropped': C(text_config__attention_dropout=.1, vision_config__dropout=.2),
        'clip positions': C(text_config__position_embedding_type='relative'),
        'words cased': W(do_lower_case=False), 'words short': W(model_max_length=16), 'words long': W(model_max_length=10 ** 30), 'words left': W(truncation_side='left'), 'words pad left': W(padding_side='left'), 'words prefix': W(add_prefix_space=True),
        'words fast class': W(tokenizer_class='CLIPTokenizerFast'), 'words backend class': W(tokenizer_class='PreTrainedTokenizerFast'), 'words gpt2': W(tokenizer_class='GPT2Tokenizer'), 'words pad !': W(pad_token='!'), 'words unknown': W(split_special_tokens=True),
        'words errors': W(errors='strict'),
        'words json cased': (hf_clip, hf_cosines, {'more': [('tokenizer.json', cased)]}), 'words json merges': (hf_clip, hf_cosines, {'more': [('tokenizer.json', other_merges)]}), 'words json absent': (hf_clip, hf_cosines, {'more': [('tokenizer.json', lambda p: p.unlink() if p.exists() else None), ('vocab.json', lambda p: clip_vocabulary(p.parent))]}),
        'words own merges': (hf_clip, hf_cosines, {'more': [('tokenizer.json', lambda p: p.unlink() if p.exists() else None), ('vocab.json', lambda p: clip_vocabulary(p.parent)), ('merges.txt', lambda p: p.write_text(p.read_text().replace('d o\n', '').replace('c a\n', '')))]}),
        'words own ids': (hf_clip, hf_cosines, {'more': [('tokenizer.json', lambda p: p.unlink() if p.exists() else None), ('vocab.json', swapped_ids)]}),
        'siglip': S(), 'siglip gelu': S(config={'text_config.hidden_act': 'gelu', 'vision_config.hidden_act': 'gelu'}), 'siglip eps': S(config={'text_config.layer_norm_eps': 1e-3}), 'siglip headless': S(config={'vision_config.vision_use_head': False}),
        'siglip bilinear': S(pixels={'resample': 2}), 'siglip mean': S(pixels={'image_mean': [.4, .5, .6]}), 'siglip crop': S(pixels={'do_center_crop': True, 'crop_size': 32, 'size': {'height': 37, 'width': 37}}), 'siglip shortest': S(pixels={'size': {'shortest_edge': 32}}),
        'siglip rescale': S(pixels={'rescale_factor': 1 / 128}), 'siglip cased': S(words={'do_lower_case': False}), 'siglip context': S(words={'model_max_length': 12}), 'siglip gemma': S(words={'tokenizer_class': 'GemmaTokenizer'}), 'siglip t5': S(words={'tokenizer_class': 'T5Tokenizer'}),
        'siglip type': S(config={'model_type': 'siglip2'}), 'siglip minimal': S(more=[('preprocessor_config.json', lambda p: p.write_text(json.dumps({'image_processor_type': 'SiglipImageProcessor', 'size': {'height': 32, 'width': 32}})))]),
        'align': A(), 'align model_max_length': A(words={'model_max_length': 32}), 'align max_length': A(words={'max_length': 24}), 'align cased': A(words={'do_lower_case': False}), 'align accents': A(words={'strip_accents': False}),
        'align cjk': A(words={'tokenize_chinese_chars': False}), 'align no crop': A(pixels={'do_center_crop': False, 'size': {'height': 33, 'width': 33}}), 'align include_top': A(pixels={'include_top': True}), 'align offset': A(pixels={'rescale_offset': True}),
        'align nearest': A(pixels={'resample': 0}), 'align bicubic': A(pixels={'resample': 3}), 'align rescale': A(pixels={'rescale_factor': 1 / 127.5}), 'align eps': A(config={'vision_config.batch_norm_eps': 1e-2}), 'align text eps': A(config={'text_config.layer_norm_eps': 1e-3}),
        'align act': A(config={'vision_config.hidden_act': 'gelu'}), 'align pooling': A(config={'vision_config.pooling_type': 'max'}), 'align relative': A(config={'text_config.position_embedding_type': 'relative_key'}), 'align decoder': A(config={'text_config.is_decoder': True}),
        'align processor 5': A(more=[('processor_config.json', {'image_processor': {'image_processor_type': 'EfficientNetImageProcessor', 'size': {'height': 36, 'width': 36}, 'crop_size': {'height': 33, 'width': 33}, 'do_center_crop': True, 'resample': 3, 'include_top': False, 'image_mean': [.4] * 3, 'image_std': [.6] * 3, 'rescale_factor': 1 / 255}})]),
        'bert mean': B(), 'bert cls': B(pool='cls'), 'bert seq': B(more=[('sentence_bert_config.json', {'max_seq_length': 12, 'do_lower_case': False})]), 'bert max_length': B(words={'model_max_length': 20}), 'bert max_length 1e30': B(words={'model_max_length': int(1e30)}),
        'bert cased': B(words={'do_lower_case': False}), 'bert lower by sentence': B(words={'do_lower_case': False}, more=[('sentence_bert_config.json', {'max_seq_length': 96, 'do_lower_case': True})]), 'bert eps': B(config={'layer_norm_eps': 1e-3}), 'bert act': B(config={'hidden_act': 'relu'}),
        'bert roberta': B(config={'model_type': 'roberta'}), 'bert types': B(config={'type_vocab_size': 1}), 'bert sqrt': B(more=[('1_Pooling/config.json', {'pooling_mode_mean_tokens': False, 'pooling_mode_mean_sqrt_len_tokens': True})]), 'bert left': B(words={'truncation_side': 'left'}),
        'bert never split': B(words={'never_split': ['[DOG]']}), 'bert tokenizer.json': B(more=[('vocab.txt', lambda p: p.unlink())]),
        'bert json cased': B(more=[('tokenizer.json', lambda p: p.exists() and edit(p, {'normalizer.lowercase': False}))]), 'bert distil': B(config={'model_type': 'distilbert'}), 'bert mpnet words': B(words={'tokenizer_class': 'MPNetTokenizer'}),
        'timm': T(), 'timm crop 1': T(crop_pct=1.0), 'timm crop absent': T(crop_pct=...), 'timm squash': T(crop_mode='squash'), 'timm border': T(crop_mode='border'), 'timm bilinear': T(interpolation='bilinear'), 'timm lanczos': T(interpolation='lanczos'), 'timm no interpolation': T(interpolation=...),
        'timm no mean': T(mean=..., std=...), 'timm mean scalar': T(mean=.5, std=.5), 'timm avg': T(config={'global_pool': 'avg'}), 'timm max': T(config={'global_pool': 'max'}), 'timm quick': T(name='vit_tiny_patch16_224', config={'model_args': {'act_layer': 'quick_gelu'}}), 'timm grey': T(input_size=[1, 64, 64]),
        'timm test size': T(test_input_size=[3, 96, 96], test_crop_pct=1.), 'timm size 2': T(input_size=[3, 64, 96]), 'timm unknown': T(gamma=2.), 'timm efficientnet': T(name='efficientnet_b0'), 'timm tf': T(name='tf_efficientnet_b0'), 'timm lite': T(name='efficientnet_lite0'),
        'timm tag': T(tag='augreg_in21k'), 'timm reg': T(name='vit_small_patch16_dinov3', crop_pct=1.), 'timm norm in': T(config={'model_args': {'pre_norm': True}}),
        'open_clip': O(), 'open_clip squash': O(pre={'resize_mode': 'squash'}), 'open_clip longest': O(pre={'resize_mode': 'longest', 'fill_color': 0}), 'open_clip longest grey': O(pre={'resize_mode': 'longest', 'fill_color': 127}), 'open_clip bilinear': O(pre={'interpolation': 'bilinear'}),
        'open_clip random': O(pre={'interpolation': 'random'}), 'open_clip mean': O(pre={'mean': [.5] * 3, 'std': [.5] * 3}), 'open_clip mean one': O(pre={'mean': .5, 'std': .5}), 'open_clip no pre': O(pre={k: ... for k in ('size', 'mode', 'mean', 'std', 'interpolation', 'resize_mode', 'fill_color')}),
        'open_clip size list': O(pre={'size': [32, 32]}), 'open_clip size oblong': O(pre={'size': [32, 40]}), 'open_clip size other': O(pre={'size': 40}), 'open_clip mode L': O(pre={'mode': 'L'}), 'open_clip image list': O(vision={'image_size': [32, 32]}),
        'open_clip clean': O(text={'tokenizer_kwargs': {'clean': 'canonicalize'}}), 'open_clip whitespace': O(text={'tokenizer_kwargs': {'clean': 'whitespace'}}), 'open_clip mask': O(text={'tokenizer_kwargs': {'reduction_mask': 'simple'}}), 'open_clip custom': O(model={'custom_text': True}),
        'open_clip short': O(text={'context_length': 12}), 'open_clip quick': O(model={'quick_gelu': True}), 'open_clip avg': O(vision={'pool_type': 'avg', 'final_ln_after_pool': True}), 'open_clip last': O(text={'pool_type': 'last', 'no_causal_mask': True}), 'open_clip first': O(text={'pool_type': 'first'}),
        'open_clip eos': O(text={'pool_type': 'eos', 'eos_id': 49407}), 'open_clip cls': O(text={'embed_cls': True, 'pad_id': 0}, model={'custom_text': True}), 'open_clip act': O(vision={'act_kwargs': {'approximate': 'tanh'}}), 'open_clip eps': O(text={'norm_kwargs': {'eps': 1e-3}}),
        'open_clip scaled': O(vision={'ls_init_value': .1, 'scale_fc': True}), 'open_clip qk': O(vision={'qk_norm': True, 'block_type': 'custom'}), 'open_clip no ln': O(vision={'no_ln_pre': True}), 'open_clip bias': O(text={'proj_bias': True}, model={'custom_text': True}), 'open_clip none': O(text={'proj_type': 'none', 'width': 24}),
    }


def cased(path):
    root = json.loads(path.read_text())
    steps = root['normalizer'].get('normalizers', [root['normalizer']])
    root['normalizer'] = {'type': 'Sequence', 'normalizers': [x for x in steps if x['type'] != 'Lowercase']}
    path.write_text(json.dumps(root))


def other_merges(path):
    root = json.loads(path.read_text())
    root['model']['merges'] = root['model']['merges'][:200] + root['model']['merges'][400:]
    path.write_text(json.dumps(root))


def swapped_ids(path):
    clip_vocabulary(path.parent)
    root = json.loads(path.read_text())
    root['dog</w>'], root['cat</w>'] = root['cat</w>'], root['dog</w>']
    path.write_text(json.dumps(root))


def ask(*words):
    return subprocess.run([BIN / 'trireme', *map(str, words)], capture_output=True, text=True)


def our_model(folder, alone=None):
    """The model as inspect prints it, or what it is refused for."""
    done = ask('weights', 'inspect', folder, '--json')
    if done.returncode:
        return None, done.stderr.strip()
    found = json.loads(done.stdout)
    if found.get('refused') or found.get('layout') is None:
        return None, (found.get('refused') or [found.get('why')])[0]
    model = found['model']
    for tower in ('image', 'text'):
        model.setdefault(tower, {})['frozen'] = True
    if alone:
        model.pop('init_from', None)
        model[alone]['weights'] = str(folder)
        other = 'image' if alone == 'text' else 'text'
        model[other] = {'kind': 'vit', 'image_px': 8, 'patch_px': 8, 'width': 8, 'layers': 1, 'heads': 1} if other == 'image' else {
            'kind': 'transformer', 'width': 8, 'layers': 1, 'heads': 1, 'context': 8, 'tokenizer': {'kind': 'hashed_words', 'buckets': 64}}
    return model, ''


def rows_of(files, tower):
    """Unit rows by picture or by caption."""
    found = {}
    for path in files:
        if path.name.endswith('.features.safetensors'):
            got = feature_file.tensors(path)
            samples = got['sample'] if tower == 'image' else got['sample'][got['text_owner']]
            for sample, row in zip(samples.tolist(), got[tower]):
                found[sample] = row
    rows = [found[i * len(CAPTIONS)] for i in range(len(PICTURES))] if tower == 'image' else [found[j] for j in range(len(CAPTIONS))]
    return torch.nn.functional.normalize(torch.tensor(np.array(rows), dtype=torch.float64), dim=-1)


def place_of(model):
    return model.get('init_from') or model['image'].get('weights') or model['text'].get('weights')


def our_cosines(models, tar, alone):
    """By one job; a model that is refused takes itself out. `alone`: the tower of models that have one."""
    refused = {}
    while models:
        job = {'apiVersion': 'trireme/v1', 'kind': 'Pipeline', 'name': 'folders', 'spec': {'output': str(SCRATCH / 'run'), 'data': {'d': {'path': str(tar)}}, 'models': dict(models),
               'stages': [{'name': name, 'kind': 'embed' if name in alone else 'pair_scores', 'data': ['d'], 'model': name} for name in models]}}
        (SCRATCH / 'job.json').write_text(json.dumps(job))
        done = ask('plan', SCRATCH / 'job.json')
        said = done.stdout + done.stderr
        bad = [name for name in models if f'/models/{name}' in said or f'models.{name}' in said or place_of(models[name]) in said] if done.returncode else []
        if not done.returncode:
            break
        for name in bad or list(models):
            refused[name] = ' '.join(line.strip() for line in said.splitlines() if f'/{name}' in line or place_of(models[name]) in line or 'config:' in line)[:300] or said[:300]
            models.pop(name)
    if not models:
        return {}, refused
    done = ask('launch', '-n', 1, SCRATCH / 'job.json')
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = {}
    for name in models:
        rows = {}
        files = [SCRATCH / 'run' / out['path'] for line in (SCRATCH / f'run/stages/{name}/outputs.jsonl').read_text().splitlines() for out in json.loads(line)['outputs']]
        if name in alone:
            found[name] = rows_of(files, alone[name])
            continue
        for path in files:
            if path.name.endswith('.scores.jsonl'):
                for row in map(json.loads, path.read_text().splitlines()):
                    if 'key' in row:
                        rows[row['key']] = next(v for k, v in row.items() if k not in ('key', 'sample'))
        found[name] = torch.tensor([[rows[f'{i}-{j}'] for j in range(len(CAPTIONS))] for i in range(len(PICTURES))], dtype=torch.float64)
    return found, refused


def main():
    tar, wanted = data(), sys.argv[3:]
    verdicts, theirs, models, alone = {}, {}, {}, {}
    for number, (name, (write, read, kwargs)) in enumerate(cases().items()):
        if wanted and name not in wanted:
            continue
        key = f'm{number:03d}'
        folder = SCRATCH / 'folders' / key
        folder.mkdir(parents=True)
        write(folder, **kwargs)
        try:
            theirs[name] = read(folder)
        except Exception as error:
            theirs[name] = f'{type(error).__name__}: {error}'.replace('\n', ' ')[:100]
        model, why = our_model(folder, ALONE.get(read))
        if model is None:
            verdicts[name] = ('refused', why.split(str(folder))[-1][:160])
        else:
            models[key] = model
            if read in ALONE:
                alone[key] = ALONE[read]
            verdicts[name] = key
    found, refused = our_cosines(models, tar, alone)
    counts = {}
    for name, verdict in verdicts.items():
        if isinstance(verdict, str):
            if verdict in refused:
                verdict = ('refused', refused[verdict])
            elif isinstance(theirs[name], str):
                verdict = ('THEIRS FAILS', theirs[name])
            else:
                away = (found[verdict] - theirs[name]).abs()
                where = divmod(int(away.argmax()), away.shape[1])
                verdict = ('equal' if away.max() <= TOLERANCE else 'DIFFERENT', f'{away.max():.1e}' + ('' if away.max() <= TOLERANCE else f' at row {where[0]}, column {where[1]}'))
        counts[verdict[0]] = counts.get(verdict[0], 0) + 1
        print(name, *verdict, sep=' | ', flush=True)
    print(counts)
    sys.exit(counts.get('DIFFERENT', 0) > 0)


if __name__ == '__main__':
    main()
