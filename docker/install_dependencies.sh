#!/usr/bin/env bash
# Installs what docker/dependencies.txt lists: install_dependencies.sh <destination> [kinds…]
#   destination  folder for Python packages and weights (.trireme of a checkout, /opt/trireme of an image)
#   kinds        any of: build run test python (default: all four), and judge: the peers that tests compare with, 5 GB
# Idempotent: what is there is left alone. Without root, missing Debian packages are listed and nothing is changed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
destination=${1:?usage: install_dependencies.sh DESTINATION [build] [run] [test] [python]}
shift
kinds=("${@:-build run test python}")
kinds=" ${kinds[*]} "
list() { awk -v kind="$1" '$1 == kind {print $2, $3}' "$here/dependencies.txt"; }

wanted=()
for kind in build run test; do
  if [[ $kinds == *" $kind "* ]]; then
    while read -r package _; do wanted+=("$package"); done < <(list "$kind")
  fi
done
missing=()
if ((${#wanted[@]})); then
  installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' 2>/dev/null | sed -n 's/^ii //p')
  for package in "${wanted[@]}"; do
    grep -qxF "$package" <<<"$installed" || missing+=("$package")
  done
fi
if ((${#missing[@]})); then
  if ((EUID != 0)); then
    echo "These Debian packages are missing, and installing them needs root:" >&2
    echo "  sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    echo "Run that line, then this script again." >&2
    exit 2
  fi
  echo "Installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q >/dev/null
  apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

if [[ $kinds == *" test "* ]]; then
  python=$destination/tests/bin/python
  [[ -x $python ]] || python3 -m venv "$destination/tests"
  have=$("$python" -m pip list --format=freeze --disable-pip-version-check 2>/dev/null | tr '[:upper:]_' '[:lower:]-')
  while read -r package _; do
    grep -qixF "$package" <<<"$have" || "$python" -m pip install -q --disable-pip-version-check "$package"
  done < <(list python-test)
fi

if [[ $kinds == *" judge "* ]]; then
  [[ -x $destination/judges/bin/python ]] || python3 -m venv "$destination/judges"
  mapfile -t judges < <(list judge | awk '{print $1}')
  echo "Installing judges into $destination/judges: ${judges[*]}"
  "$destination/judges/bin/python" -m pip install -q --disable-pip-version-check "${judges[@]}"
  [[ -x $destination/search-client/bin/python ]] || python3 -m venv "$destination/search-client"
  mapfile -t client < <(list judge-client | awk '{print $1}')
  "$destination/search-client/bin/python" -m pip install -q --disable-pip-version-check --no-deps "${client[@]}"
fi

if [[ $kinds == *" python "* ]]; then
  python=$destination/python/bin/python
  [[ -x $python ]] || python3 -m venv "$destination/python"
  have=$("$python" -m pip list --format=freeze --disable-pip-version-check 2>/dev/null | tr '[:upper:]_' '[:lower:]-')
  gpu=${TRIREME_GPU:-no}  # images are built where no GPU is: TRIREME_GPU=yes
  [[ -e /dev/nvidia0 ]] && gpu=yes
  if [[ $gpu == yes ]]; then
    # The full wheel: the same binary becomes a GPU binary once libtorch_cuda.so lies beside libtorch_cpu.so.
    if ! "$python" -m pip show -q nvidia-nccl-cu13 2>/dev/null; then
      echo "Installing Python packages with CUDA: $(list python-gpu | tr '\n' ' ')"
      list python-gpu | while read -r package _; do "$python" -m pip install -q --disable-pip-version-check "$package"; done
    fi
    nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc "$destination"/python/lib/python3*/site-packages/nvidia/cu13/bin/nvcc 2>/dev/null | head -1 || true)
    if [[ -z $nvcc ]]; then
      mapfile -t compiler < <(list python-nvcc | awk '{print $1}')
      echo "Installing the CUDA compiler: ${compiler[*]}"
      "$python" -m pip install -q --disable-pip-version-check --no-deps "${compiler[@]}" ||
        echo "It cannot be had: torch's own operations will compute the contrastive loss on the GPU, slower (docs/gpu.md)." >&2
    fi
  fi
  absent=()
  while read -r package only; do
    [[ $only == cpu && $gpu == yes ]] && continue
    grep -qxF "$package" <<<"$have" || absent+=("$package")
  done < <(list python)
  if ((${#absent[@]})); then
    echo "Installing Python packages: ${absent[*]}"
    "$python" -m pip install -q --disable-pip-version-check --no-deps "${absent[@]}"
  fi
  "$here/install_weights.sh" "$python" "$destination/weights"
fi
