"""The peers' figures beside which run.py puts ours: peer.py QUESTION [warm] prints one line of JSON, {"missing": …} where
this python lacks the peer. Runs in the python that has torch. `warm` compiles and measures nothing: torch keeps it on disk."""
import json
import sys
import time

import torch


WARM = sys.argv[2:] == ["warm"]


def rate(body, batch, rounds):
    best = float("inf")
    for index in range(1 if WARM else rounds):
        torch.cuda.synchronize()
        begun = time.monotonic()
        body()
        torch.cuda.synchronize()
        if index >= 2:
            best = min(best, time.monotonic() - begun)
    return batch / best


def step(batch=1024, name="ViT-B-32"):
    """open_clip's model compiled in bf16; the same shape out of torch's own layers where there is no open_clip."""
    try:
        import open_clip
        model, peer = open_clip.create_model(name, precision="fp32", device="cuda"), "open_clip compiled bf16"
    except ImportError:
        model, peer = PlainClip(*SHAPES[name]).cuda(), "plain torch compiled bf16"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    compiled = torch.compile(model)
    images = torch.randn(batch, 3, 224, 224, device="cuda")
    tokens = torch.randint(5, 49000, (batch, 77), device="cuda")

    def once():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            image, text, scale = compiled(images, tokens)[:3]
            logits = scale * image @ text.T
        target = torch.arange(batch, device="cuda")
        loss = (torch.nn.functional.cross_entropy(logits.float(), target) + torch.nn.functional.cross_entropy(logits.T.float(), target)) / 2
        loss.backward()
        optimizer.step()

    return {"peer": peer, "batch": batch, "rate": rate(once, batch, 8)}


SHAPES = {"ViT-B-32": (32, 768, 12, 12, 512, 8, 512), "ViT-L-14": (14, 1024, 24, 16, 768, 12, 768)}


class PlainClip(torch.nn.Module):
    def __init__(self, patch, width, layers, heads, text_width, text_heads, dim):
        super().__init__()
        layer = lambda width, heads: torch.nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.patch = torch.nn.Conv2d(3, width, patch, patch, bias=False)
        self.place = torch.nn.Parameter(torch.randn((224 // patch) ** 2 + 1, width) * 0.02)
        self.class_token = torch.nn.Parameter(torch.randn(width) * 0.02)
        self.image = torch.nn.TransformerEncoder(layer(width, heads), layers, enable_nested_tensor=False)
        self.words = torch.nn.Embedding(49408, text_width)
        self.text_place = torch.nn.Parameter(torch.randn(77, text_width) * 0.02)
        self.text = torch.nn.TransformerEncoder(layer(text_width, text_heads), 12, enable_nested_tensor=False)
        self.image_out, self.text_out = torch.nn.Linear(width, dim, bias=False), torch.nn.Linear(text_width, dim, bias=False)
        self.scale = torch.nn.Parameter(torch.tensor(2.66))

    def forward(self, images, tokens):
        x = self.patch(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], 1, -1), x], 1) + self.place
        image = torch.nn.functional.normalize(self.image_out(self.image(x)[:, 0]), dim=-1)
        mask = torch.nn.Transformer.generate_square_subsequent_mask(77, device=tokens.device)
        text = self.text(self.words(tokens) + self.text_place, mask=mask, is_causal=True)[:, -1]
        return image, torch.nn.functional.normalize(self.text_out(text), dim=-1), self.scale.exp()


def caption(batch=128):
    try:
        from transformers import BlipConfig, BlipForConditionalGeneration
    except ImportError as missing:
        return {"missing": str(missing)}
    model = BlipForConditionalGeneration(BlipConfig()).cuda().to(torch.bfloat16).eval()
    images = torch.randn(batch, 3, 384, 384, device="cuda", dtype=torch.bfloat16)

    def once():
        with torch.no_grad():
            model.generate(pixel_values=images, max_new_tokens=20, min_new_tokens=20, num_beams=1)

    return {"peer": "transformers' generate (BLIP base, greedy, bf16)", "batch": batch, "rate": rate(once, batch, 4)}


print(json.dumps({"step": step, "step_l14": lambda: step(256, "ViT-L-14"), "caption": caption}[sys.argv[1]]()))
