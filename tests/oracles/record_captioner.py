"""Records tests/golden/captioner.safetensors: a small random BLIP of transformers, its logits, loss, gradients and captions.

usage: record_captioner.py   (run from the repository root)
needs: torch transformers safetensors

Inputs ("input.…"), weights under transformers' names ("weight.…"), teacher-forced logits and the label-smoothed loss of
pretraining ("output.…"), gradients of that loss for some tensors ("gradient.…"), and what generate() writes with each
set of options ("captions.<name>", padded with 0; "scores.<name>" where beams give a score).
"""
import os
import torch
from safetensors.torch import save_file
from transformers import BlipConfig, BlipForConditionalGeneration

PATH = 'tests/golden/captioner.safetensors'
VOCABULARY, BOS, EOS = 90, 88, 3
END = 1.7  # how much likelier than others the end mark is
OPTIONS = {
    'greedy': dict(num_beams=1),
    'beam3': dict(num_beams=3),
    'beam5_short': dict(num_beams=5, max_length=9),
    'beam3_rules': dict(num_beams=3, repetition_penalty=1.4, no_repeat_ngram_size=2, min_length=9, length_penalty=1.6),
    'greedy_rules': dict(num_beams=1, repetition_penalty=1.3, no_repeat_ngram_size=3, min_length=10),
    'beam3_brief': dict(num_beams=3, length_penalty=-0.5),
}

torch.set_num_threads(1)
torch.manual_seed(7)
config = BlipConfig(
    vision_config=dict(hidden_size=24, intermediate_size=96, num_hidden_layers=2, num_attention_heads=3, image_size=32, patch_size=16,
                       hidden_act='gelu', layer_norm_eps=1e-5, initializer_range=.02),
    text_config=dict(vocab_size=VOCABULARY, hidden_size=20, encoder_hidden_size=24, intermediate_size=80, num_hidden_layers=3, num_attention_heads=5,
                     max_position_embeddings=24, bos_token_id=BOS, sep_token_id=EOS, eos_token_id=EOS, pad_token_id=0, hidden_dropout_prob=0.,
                     attention_probs_dropout_prob=0., label_smoothing=.1))
model = BlipForConditionalGeneration(config).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if parameter.dim() <= 1:
            parameter.add_(torch.randn_like(parameter) * .1)
        else:
            parameter.mul_(20 if 'crossattention' in name else 12)  # else all images get the same word again and again
    # Some captions end early, some late, some never.
    model.text_decoder.cls.predictions.bias[EOS] += END
image = torch.randn(7, 3, 32, 32)
prompt = torch.tensor([[BOS, 11, 12, EOS]]).repeat(7, 1)
tokens = torch.tensor([[BOS, 11, 12, 40, 41, 42, EOS], [BOS, 11, 12, 60, EOS, 0, 0], [BOS, 11, 12, 50, 51, EOS, 0]])
labels = tokens.masked_fill(tokens == 0, -100)
labels[:, :3] = -100  # start mark and prompt

embeds = model.vision_model(pixel_values=image[:3]).last_hidden_state
out = model.text_decoder(input_ids=tokens, attention_mask=(tokens != 0).long(), encoder_hidden_states=embeds, labels=labels)
out.loss.backward()
record = {'input.image': image, 'input.tokens': tokens, 'output.image_tokens': embeds, 'output.logits': out.logits, 'output.loss': out.loss.reshape(1)}
for key, value in model.state_dict().items():
    record['weight.' + key] = value
for key, parameter in model.named_parameters():
    if parameter.grad is not None and ('layer.1.' in key or 'embeddings' in key or 'patch' in key or 'cls.' in key):
        record['gradient.' + key] = parameter.grad
for name, options in OPTIONS.items():
    ids = model.generate(image, input_ids=prompt.clone(), **{'max_length': 20, 'return_dict_in_generate': True, 'output_scores': True, **options})
    record['captions.' + name] = ids.sequences[:, 3:] if ids.sequences.shape[1] > 3 else ids.sequences
    if getattr(ids, 'sequences_scores', None) is not None:
        record['scores.' + name] = ids.sequences_scores
    print(name, ids.sequences.tolist())
shared = set()
kept = {}
for key, value in record.items():
    if key.endswith('cls.predictions.decoder.weight') or key.endswith('cls.predictions.decoder.bias'):
        continue  # tied
    kept[key] = value.detach().clone().contiguous()
save_file(kept, PATH)
print(os.path.getsize(PATH) // 1024, 'KiB')
