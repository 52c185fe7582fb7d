"""Peer of caption_bench: transformers' BlipForConditionalGeneration of BLIP base's shape, random weights, generate().

usage: caption_peer.py [BATCH 16] [ROUNDS 2] [THREADS 2] [METHODS beam,greedy]
"""
import json
import sys
import time
import torch
from transformers import BlipConfig, BlipForConditionalGeneration

batch, rounds, threads = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 16), (2, 2), (3, 2)))
methods = sys.argv[4] if len(sys.argv) > 4 else 'beam,greedy'
torch.set_num_threads(threads)
torch.manual_seed(1)
config = BlipConfig(vision_config=dict(image_size=384, patch_size=16, initializer_range=.02),
                    text_config=dict(vocab_size=30524, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, bos_token_id=30522, sep_token_id=102,
                                     eos_token_id=102, pad_token_id=0))
model = BlipForConditionalGeneration(config).eval()
images = torch.randn(batch, 3, 384, 384)
prompt = torch.tensor([[30522, 1037, 3861, 1997]]).repeat(batch, 1)
with torch.no_grad():
    for method, beams in (('beam', 3), ('greedy', 1)):
        if method not in methods.split(','):
            continue
        encode = decode = encode_cpu = decode_cpu = 1e9
        for _ in range(rounds):
            begin, work = time.perf_counter(), time.process_time()
            embeds = model.vision_model(pixel_values=images)[0]
            encode, encode_cpu = min(encode, time.perf_counter() - begin), min(encode_cpu, time.process_time() - work)
            begin, work = time.perf_counter(), time.process_time()
            ids = model.text_decoder.generate(input_ids=prompt, eos_token_id=102, pad_token_id=0, encoder_hidden_states=embeds, num_beams=beams,
                                              encoder_attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long), max_length=24, min_length=24)
            decode, decode_cpu = min(decode, time.perf_counter() - begin), min(decode_cpu, time.process_time() - work)
        print(json.dumps(dict(method=method, batch=batch, tokens=ids.shape[1] - 4, encode_seconds=round(encode, 3), decode_seconds=round(decode, 3),
                              pass_seconds=round(encode + decode, 3), encode_cpu_seconds=round(encode_cpu, 3), decode_cpu_seconds=round(decode_cpu, 3))), flush=True)
