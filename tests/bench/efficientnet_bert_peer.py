"""Peer of `towers_bench step b0_mini`: the same step with transformers' classes (AlignModel: EfficientNet-B0 and BERT-mini).

usage: efficientnet_bert_peer.py BATCH fp32|bf16 [threads 2]   (run from the repository root)
"""
import contextlib
import gzip
import json
import sys
import time
import torch
from transformers import AlignConfig, AlignModel, BertTokenizerFast

batch, precision = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(int(sys.argv[3]) if len(sys.argv) > 3 else 2)
captions = gzip.open('../shared/data/multi30k/train.en.gz', 'rt', encoding='utf-8').read().split('\n')
tokenizer = BertTokenizerFast('.trireme/weights/minilm-vocab.txt')
config = AlignConfig(projection_dim=320, text_config=dict(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024,
                     hidden_dropout_prob=0., attention_probs_dropout_prob=0.),
                     vision_config=dict(width_coefficient=1., depth_coefficient=1., image_size=224, hidden_dim=320, drop_connect_rate=0.))
model = AlignModel(config).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
images = torch.randn(batch, 3, 224, 224)
times, work = [], []
for step in range(6):
    begin, cpu = time.perf_counter(), time.process_time()
    optimizer.zero_grad()
    tokens = tokenizer(captions[step * batch:(step + 1) * batch], padding=True, return_tensors='pt')
    with torch.autocast('cpu', dtype=torch.bfloat16) if precision == 'bf16' else contextlib.nullcontext():
        loss = model(pixel_values=images, **tokens, return_loss=True).loss
    loss.backward()
    optimizer.step()
    times.append(time.perf_counter() - begin)
    work.append(time.process_time() - cpu)
times = sorted(times[2:])
print(json.dumps(dict(model='AlignModel B0 + mini', batch=batch, precision=precision, seconds=round(times[len(times) // 2], 3), cpu_seconds=round(min(work), 3))))
