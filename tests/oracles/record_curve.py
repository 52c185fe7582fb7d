"""Records tests/golden/towers/curve.safetensors: 100 training steps of a small CLIP by open_clip's code.

usage: record_curve.py   (run from the repository root)
needs: torch open_clip_torch safetensors

open_clip's model, ClipLoss and parameter groups (open_clip_train.main), torch's AdamW, float32, constant learning rate. The batches
are made by a formula that both sides know (tests/worker/stages/train/objectives/contrastive/curve_test.cpp).
"""
import math
import torch
from open_clip import ClipLoss
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file

STEPS, BATCH, PX, CONTEXT = 100, 8, 32, 12
torch.set_num_threads(1)
torch.manual_seed(11)
model = CLIP(16, CLIPVisionCfg(layers=2, width=32, head_width=16, patch_size=8, image_size=PX),
             CLIPTextCfg(context_length=CONTEXT, vocab_size=64, width=32, heads=2, layers=2, pool_type='eos', eos_id=2))
out = {'weight.' + name: value.clone() for name, value in model.state_dict().items()}


def images(step):
    b, c, y, x = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in (BATCH, 3, PX, PX)], indexing='ij')
    return torch.sin(.05 * y * (b + 1) + .11 * x * (c + 1) + .3 * step * (b + 1) + c).float()


def tokens(step):
    rows = torch.zeros(BATCH, CONTEXT, dtype=torch.long)
    for b in range(BATCH):
        length = 3 + (step + b) % 6
        rows[b, 0] = 1
        for i in range(length):
            rows[b, 1 + i] = 3 + (7 * step + 13 * b + 5 * i) % 60
        rows[b, 1 + length] = 2
    return rows


exempt = lambda name, p: p.ndim < 2 or 'bn' in name or 'ln' in name or 'bias' in name or 'logit_scale' in name
named = list(model.named_parameters())
optimizer = torch.optim.AdamW([{'params': [p for n, p in named if exempt(n, p)], 'weight_decay': 0.},
                               {'params': [p for n, p in named if not exempt(n, p)], 'weight_decay': .2}], lr=1e-3, betas=(.9, .98), eps=1e-6)
loss_of, losses = ClipLoss(), []
for step in range(STEPS):
    optimizer.zero_grad()
    image, text, scale = model(images(step), tokens(step))
    loss = loss_of(image, text, scale)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, math.log(100))
    losses.append(loss.detach())
out['losses'] = torch.stack(losses)
save_file({k: v.contiguous() for k, v in out.items()}, 'tests/golden/towers/curve.safetensors')
print('loss', losses[0].item(), '->', losses[-1].item())
