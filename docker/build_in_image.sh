#!/usr/bin/env bash
# Inside of an image, or on any machine:  build_in_image.sh DEPENDENCIES PREFIX [more targets of ninja]
# Builds the programs (in build/release, as it is where there is one; TRIREME_JOBS compilers at a time), installs them under PREFIX, and writes PREFIX/share/trireme/debian-packages: what must be installed where
# that tree is to run, which is kind run of dependencies.txt and whatever the programs are linked with.
set -euo pipefail
dependencies=$1 prefix=$2
shift 2
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LANG=${LANG:-C.UTF-8}  # the compiler cache tells locales apart
[[ -e .trireme ]] || ln -s "$dependencies" .trireme
[[ -e build/release/build.ninja ]] || cmake --preset release -DTRIREME_TESTS=OFF
ninja ${TRIREME_JOBS:+-j "$TRIREME_JOBS"} -C build/release trireme trireme-coordinator trireme-worker "$@"
cmake --install build/release --prefix "$prefix" >/dev/null
{
  awk '$1 == "run" {print $2}' docker/dependencies.txt
  # The CUDA plug-in is left out: what it needs comes with torch's wheels, or with the driver.
  ldd "$prefix"/bin/trireme* | awk '$2 == "=>" && $3 ~ "^/" {print $3}' | sort -u | while read -r library; do
    real=$(readlink -f "$library")
    [[ $real == "$(readlink -f "$prefix")"/* ]] && continue
    # A package may own the path with or without /usr.
    dpkg -S "$real" 2>/dev/null || dpkg -S "${real#/usr}" 2>/dev/null || { echo "no package has $real" >&2; exit 1; }
  done | cut -d: -f1
} | sort -u >"$prefix/share/trireme/debian-packages"
