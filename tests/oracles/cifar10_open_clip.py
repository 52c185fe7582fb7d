"""Peer of jobs/examples/cifar10.json: the same model, steps, batch and schedule, trained with open_clip's code.

usage: cifar10_open_clip.py JOB.json [seed …]       prints one JSON line per seed and the mean zero-shot accuracy
needs: torch open_clip_torch torchvision Pillow. JOB.json is the effective job (trireme plan -o json, or the run folder's spec.json).
"""
import io, json, math, os, pathlib, sys, tarfile, time
import numpy, torch, open_clip
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from PIL import Image
from torchvision import transforms as T

job = json.load(open(sys.argv[1]))["spec"]
seeds = [int(x) for x in sys.argv[2:]] or [0, 1, 2]
train = next(s for s in job["stages"] if s["kind"] == "train")
evaluate = next(s for s in job["stages"] if s["kind"] == "evaluate")
model_spec = job["models"][train["model"]]
image_spec, text_spec, optimizer_spec, augment = model_spec["image"], model_spec["text"], train["optimizer"], train["augment"]
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))


def folder(name):
    data = job["data"][name]
    return data if isinstance(data, str) else data["sources"][0]["path"]


def read(path):
    root = pathlib.Path(path)
    tars = [root] if root.is_file() else [root / f"{i}.tar" for i in range(int((root / "nshards.txt").read_text()))]
    images, labels = [], []
    for tar in tars:
        with tarfile.open(tar) as opened:
            for member in opened:
                data = opened.extractfile(member).read()
                if member.name.endswith(".cls"):
                    labels.append(int(data))
                else:
                    images.append(Image.open(io.BytesIO(data)).convert("RGB"))
                    images[-1].load()
    for beside in (root, root.parent):
        if (beside / "classnames.txt").exists():
            names = (beside / "classnames.txt").read_text().split("\n")
            break
    return images, torch.tensor(labels), [n.strip() for n in names if n.strip()]


def tokenize(texts, words={}):
    """Lower-cased words to ids in order of first use; start and end marks as open_clip lays them out (end = largest id)."""
    vocabulary = text_spec["tokenizer"]["buckets"]
    out = torch.zeros(len(texts), text_spec["context"], dtype=torch.long)
    for row, text in enumerate(texts):
        ids = [words.setdefault(w, len(words) + 1) for w in text.lower().replace(".", " .").split()]
        ids = [vocabulary - 2, *ids, vocabulary - 1][: text_spec["context"]]
        out[row, : len(ids)] = torch.tensor(ids)
    return out


side = image_spec["image_px"]
mean, std = image_spec["mean"] or (0.48145466, 0.4578275, 0.40821073), image_spec["std"] or (0.26862954, 0.26130258, 0.27577711)
finish = [T.ToTensor(), T.Normalize(mean, std)]
random_crop = T.RandomResizedCrop(side, scale=(augment["scale_min"], augment["scale_max"]), ratio=(augment["aspect_min"], augment["aspect_max"]),
                                  interpolation=T.InterpolationMode.BICUBIC)
train_transform = T.Compose([random_crop, *([T.RandomHorizontalFlip()] if augment["flip"] else []), *finish])
test_transform = T.Compose([T.Resize(side, T.InterpolationMode.BICUBIC), T.CenterCrop(side), *finish])
images, labels, classes = read(folder(train["data"]))
test_images, test_labels, _ = read(folder(evaluate["data"]))
test_tensor = torch.stack([test_transform(i) for i in test_images])
templates = job["data"][train["data"]]["caption_templates"]
prompts = evaluate["templates"] or ["a photo of a {c}."]
caption_tokens = tokenize([t.replace("{c}", c) for c in classes for t in templates]).view(len(classes), len(templates), -1)
caption_tokens = caption_tokens[..., : int((caption_tokens != 0).sum(-1).max())]
autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=train["precision"] == "bf16")


def run(seed):
    torch.manual_seed(seed)
    model = CLIP(model_spec["embed_dim"],
                 CLIPVisionCfg(layers=image_spec["layers"], width=image_spec["width"], head_width=image_spec["width"] // image_spec["heads"],
                               patch_size=image_spec["patch_px"], image_size=side),
                 CLIPTextCfg(context_length=caption_tokens.shape[-1], vocab_size=text_spec["tokenizer"]["buckets"], width=text_spec["width"],
                             heads=text_spec["heads"], layers=text_spec["layers"]))
    loss_function = open_clip.ClipLoss()
    plain = [p for n, p in model.named_parameters() if p.ndim < 2 or "bn" in n or "ln" in n or "bias" in n or "logit_scale" in n]
    ids = {id(p) for p in plain}
    decayed = [p for p in model.parameters() if id(p) not in ids]
    optimizer = torch.optim.AdamW([dict(params=plain, weight_decay=0.0), dict(params=decayed, weight_decay=optimizer_spec["weight_decay"])],
                                  lr=optimizer_spec["learning_rate"], betas=(optimizer_spec["beta1"], optimizer_spec["beta2"]), eps=optimizer_spec["epsilon"])
    batch = train["global_batch"]
    per_epoch = math.ceil(len(images) / batch)
    steps = train["steps"] or per_epoch * train["epochs"]
    schedule = open_clip_cosine(optimizer, optimizer_spec["learning_rate"], optimizer_spec["warmup_steps"], steps)
    step, started = 0, time.time()
    while step < steps:
        for rows in torch.randperm(len(images)).split(batch):
            if step >= steps:
                break
            schedule(step)
            pixels = torch.stack([train_transform(images[i]) for i in rows.tolist()])
            tokens = caption_tokens[labels[rows], torch.randint(0, len(templates), (len(rows),))]
            optimizer.zero_grad()
            with autocast:
                loss = loss_function(*model(pixels, tokens))
            loss.backward()
            if optimizer_spec["gradient_clip_norm"]:
                torch.nn.utils.clip_grad_norm_(model.parameters(), optimizer_spec["gradient_clip_norm"])
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, model_spec["logit_scale_max"])
            step += 1
    model.eval()
    unit = torch.nn.functional.normalize
    with torch.no_grad(), autocast:
        weights = []
        for c in classes:
            tokens = tokenize([p.replace("{c}", c) for p in prompts])[:, : caption_tokens.shape[-1]]
            weights.append(unit(unit(model.encode_text(tokens).float(), dim=-1).mean(0), dim=-1))
        image = torch.cat([unit(model.encode_image(x).float(), dim=-1) for x in test_tensor.split(500)])
        accuracy = (image @ torch.stack(weights).T).argmax(1).eq(test_labels).float().mean().item()
    print(json.dumps(dict(seed=seed, steps=steps, loss=round(loss.item(), 4), zero_shot_acc1=round(accuracy, 4), seconds=round(time.time() - started, 1))), flush=True)
    return accuracy


def open_clip_cosine(optimizer, base, warmup, steps):
    def adjust(step):
        rate = base * (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) * base
        for group in optimizer.param_groups:
            group["lr"] = rate
    return adjust


results = [run(seed) for seed in seeds]
print(json.dumps(dict(mean_zero_shot_acc1=round(float(numpy.mean(results)), 4), spread=round(float(numpy.std(results)), 4))))
