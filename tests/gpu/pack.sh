#!/usr/bin/env bash
# tests/gpu/pack.sh FOLDER [BUILD]: one folder of at most 60 MiB to carry to a machine with a GPU, for tests/gpu/run.sh.
# In it, stripped: the programs, the CUDA plug-in, tests, every library they load down to the loader and libc, and
# Open MPI with its plug-ins (OPAL_PREFIX). Nothing of torch or CUDA: those are the machine's (python's torch 2.11, cu130).
# Programs look for the loader, the libraries and torch under /tmp/trireme-pack, where run.sh unpacks them.
set -euo pipefail
folder=${1:?usage: tests/gpu/pack.sh FOLDER [BUILD_FOLDER]}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${2:-$root/build/release}
place=/tmp/trireme-pack  # where it will lie; the same for every pack, because a program names its loader by a fixed path
limit_mib=60
for tool in patchelf strip xz ldd; do
  command -v $tool >/dev/null || { echo "pack.sh needs $tool" >&2; exit 1; }
done

programs=(trireme trireme-coordinator trireme-worker gpu_check collective_mpi_ranks worker_kernels_test worker_models_test)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/lib" "$work/jobs" "$work/weights"
for program in "${programs[@]}"; do
  [[ -x $build/bin/$program ]] || { echo "$build/bin/$program is not built" >&2; exit 1; }
  strip -o "$work/bin/$program" "$build/bin/$program"
done
if [[ -e $build/bin/libtrireme_cuda.so ]]; then
  strip -o "$work/bin/libtrireme_cuda.so" "$build/bin/libtrireme_cuda.so"
else
  echo "note: the CUDA plug-in is not built here; the pack judges torch's own operations" >&2
fi

# Open MPI and PMIx in the shape that OPAL_PREFIX and PMIX_INSTALL_PREFIX expect; without plug-ins for hardware and
# batch systems, which need libraries of those.
mpirun=$(readlink -f "$(command -v mpirun)")
libdir=$(ompi_info --path libdir --parsable 2>/dev/null | sed 's/.*://')
plugins=$(ompi_info --path pkglibdir --parsable 2>/dev/null | sed -n '1s/.*://p')
prefix=$(ompi_info --path prefix --parsable 2>/dev/null | sed 's/.*://')
mpi=$work/openmpi
mkdir -p "$mpi/bin" "$mpi/${plugins#"$prefix"/}" "$mpi/share"
cp "$mpirun" "$mpi/bin/mpirun"
cp -r "$prefix/share/openmpi" "$mpi/share/"
foreign='fabric|libucp|libuct|psm|ibverbs|rdmacm|libcuda|infinipath|libpbs|libslurm'
copy_plugins() {
  local plugin
  for plugin in "$1"/*.so; do
    # Not by a pipe into grep -q: it closes at its first match, and ldd, when it still writes, makes of that a failure.
    [[ $(ldd "$plugin" 2>/dev/null) =~ $foreign ]] || strip -o "$2/$(basename "$plugin")" "$plugin"
  done
}
copy_plugins "$plugins" "$mpi/${plugins#"$prefix"/}"
pmix=$(dirname "$libdir")/../pmix2/lib/pmix
if [[ -d $pmix ]]; then
  pmix=$(cd "$pmix" && pwd)
  mkdir -p "$work/pmix/${pmix#/usr/}"
  copy_plugins "$pmix" "$work/pmix/${pmix#/usr/}"
fi

# Libraries: what the loader finds for all of that, without torch's and CUDA's.
elves() { find "$work/bin" "$mpi/bin" "$mpi/lib" "$work/pmix" -type f \( -name '*.so' -o -perm -u+x \) 2>/dev/null; }
{
  for program in "${programs[@]}"; do ldd "$build/bin/$program"; done
  elves | grep -v "^$work/bin/" | while read -r elf; do ldd "$elf"; done
} 2>/dev/null | awk '/=> \//{print $3}' | sort -u | grep -vE 'site-packages|/torch/|libtorch|libc10|libcudart|libcupti|libnccl|libcuda' |
  while read -r library; do cp -L "$library" "$work/lib/$(basename "$library")"; done
cp -L /lib64/ld-linux-x86-64.so.2 "$work/lib/"
# Torch's CUDA libraries ask for these parts of glibc by name, also where ours no longer do; those of another glibc do not fit.
glibc=$(dirname "$(ldd "$build/bin/trireme" | awk '$1 == "libc.so.6" {print $3}')")
for part in libdl.so.2 libpthread.so.0 librt.so.1 libutil.so.1; do cp -L "$glibc/$part" "$work/lib/"; done
chmod -R u+w "$work"
find "$work/lib" -name '*.so*' ! -name 'ld-linux*' -exec strip --strip-unneeded {} + 2>/dev/null || true

torch=$place/torch
elves | while read -r elf; do
  patchelf --force-rpath --set-rpath "$place/lib:$torch:$torch/../../nvidia/nccl/lib:$torch/../../nvidia/cu13/lib" "$elf" 2>/dev/null || true
  [[ $elf == *.so ]] || patchelf --set-interpreter "$place/lib/ld-linux-x86-64.so.2" "$elf"
done
find "$work/lib" -name '*.so*' ! -name 'ld-linux*' ! -name 'libc.so*' -exec patchelf --force-rpath --set-rpath "$place/lib" {} \;

cp "$root/jobs/examples/tiny.json" "$work/jobs/"
cp "$root"/.trireme/weights/minilm-vocab.txt "$work/weights/" 2>/dev/null || true
git -C "$root" rev-parse HEAD >"$work/commit" 2>/dev/null || echo unknown >"$work/commit"

mkdir -p "$folder"
rm -f "$folder"/{run.sh,run.py,peer.py,pack.tar.xz}
tar -C "$work" -c . | xz -T0 "-${TRIREME_PACK_LEVEL:-3}" >"$folder/pack.tar.xz"
cp "$root"/tests/gpu/{run.sh,run.py,peer.py} "$folder/"
mib=$(du -sm "$folder" | cut -f1)
echo "$folder: $mib MiB"
((mib <= limit_mib)) || { echo "the pack may have $limit_mib MiB" >&2; exit 1; }
