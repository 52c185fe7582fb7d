#!/usr/bin/env bash
# Builds an image and runs the tiny job in it:  docker/build_image.sh [cpu|cuda|kubernetes] [--base registry|debootstrap] [--prefix TREE] [--stage NAME]     (root; buildah)
# Where no registry can be reached the base is made by debootstrap from Debian's packages (--base debootstrap; --base registry takes
# debian:12). Steps run in chroot isolation, so that no container runtime is needed.
#   --prefix TREE    compiles nothing: the tree is what docker/build_in_image.sh .trireme TREE installed on a Debian 12
#   --stage NAME     builds that stage of docker/Dockerfile and stops: cpu-dependencies, cuda-dependencies, cuda-build …
#   TRIREME_CA       certificates for pip behind a proxy that has its own: a file like /etc/ssl/certs/ca-certificates.crt
#   TRIREME_CCACHE   a folder for the compiler cache
#   TRIREME_JOBS     compilers at a time (as many as there are cores)
#   TRIREME_SOURCE   where the sources lie while they are built (/src); the compiler cache knows them by it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=cpu base=debootstrap prefix='' stage=''
while (($#)); do
  case $1 in
    cpu | cuda | kubernetes) target=$1 ;;
    --base) base=$2; shift ;;
    --prefix) prefix=$(realpath "$2"); shift ;;
    --stage) stage=$2; shift ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift
done
for program in buildah $([[ $base == debootstrap ]] && echo debootstrap); do
  command -v "$program" >/dev/null || { echo "$program is missing: apt-get install $program" >&2; exit 2; }
done
((EUID == 0)) || { echo "root is needed, or 'buildah unshare $0'" >&2; exit 2; }
export BUILDAH_ISOLATION=chroot
say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

debian=docker.io/library/debian:12
if [[ $base == debootstrap ]]; then
  debian=localhost/trireme-debian:12
  if ! buildah inspect --type image "$debian" >/dev/null 2>&1; then
    say "debootstrap: a Debian 12 of its packages"
    root=$(mktemp -d /var/tmp/trireme-debian-XXXXXX)
    trap 'rm -rf "$root"' EXIT
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root/root" >"$root/log" 2>&1 || { tail -20 "$root/log"; exit 1; }
    rm -rf "$root"/root/var/cache/apt/archives/*.deb "$root"/root/var/lib/apt/lists/*
    echo force-unsafe-io >"$root/root/etc/dpkg/dpkg.cfg.d/image"  # an image that was cut short is built anew
    container=$(buildah from scratch)
    tar -C "$root/root" -cf "$root/root.tar" --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* .
    buildah add -q "$container" "$root/root.tar" / >/dev/null
    buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd bash "$container"
    buildah commit -q --rm "$container" "$debian" >/dev/null
  fi
fi

arguments=(--build-arg "DEBIAN=$debian" --build-arg "SOURCE=${TRIREME_SOURCE:-/src}")
[[ -z ${TRIREME_CA:-} ]] || arguments+=(--volume "$TRIREME_CA:$TRIREME_CA:ro" --build-arg "PIP_CERT=$TRIREME_CA")
[[ -z ${TRIREME_CCACHE:-} ]] || arguments+=(--volume "$TRIREME_CCACHE:/ccache" --build-arg CCACHE_DIR=/ccache)
[[ -z ${TRIREME_JOBS:-} ]] || arguments+=(--build-arg "TRIREME_JOBS=$TRIREME_JOBS")
build() {  # TAG DOCKERFILE CONTEXT more arguments
  say "buildah: localhost/trireme:$1"
  buildah build -q --layers "${@:4}" -f "$2" -t "localhost/trireme:$1" "$3" >/dev/null
  say "built: $(buildah images --format '{{.Size}}' "localhost/trireme:$1")"
}
if [[ -n $stage ]]; then
  build "$stage" docker/Dockerfile . --target "$stage" "${arguments[@]}"
  exit
fi
flavour=$target
[[ $target != kubernetes ]] || flavour=cpu
if [[ -n $prefix ]]; then  # the stage that runs, by the Dockerfile's own lines
  only=$(mktemp)
  { echo "ARG DEBIAN"; sed -n "/^FROM .* AS $flavour\$/,/^ENTRYPOINT/p" docker/Dockerfile | sed "s|^COPY --from=$flavour-build /opt/run|COPY .|"; } >"$only"
  build "$flavour" "$only" "$prefix" --build-arg "DEBIAN=$debian"
  rm "$only"
else
  build "$flavour" docker/Dockerfile . --target "$flavour" "${arguments[@]}"
fi
[[ $target != kubernetes ]] || build kubernetes docker/kubernetes/Dockerfile . --build-arg BASE=localhost/trireme:cpu

say "tiny.json in it"
container=$(buildah from "localhost/trireme:$target")
trap 'buildah rm "$container" >/dev/null; [[ -z ${root:-} ]] || rm -rf "$root"' EXIT
buildah copy -q "$container" jobs/examples/tiny.json /tmp/tiny.json >/dev/null
buildah run "$container" -- sh -c 'cd "$(mktemp -d)" && trireme doctor && trireme launch -n 2 /tmp/tiny.json && ls -l runs/*/final'
say "done: localhost/trireme:$target ran the job"
