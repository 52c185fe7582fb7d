#!/usr/bin/env bash
# Builds the fuzz targets (clang with libFuzzer; asan and ubsan; no torch) and runs each: tests/fuzz/run.sh [SECONDS [TARGET…]]
# A finding ends it with the input's name. Seeds are small files of this checkout; what is learnt stays in $BUILD/corpus (build/fuzz).
# $KEEP: a file that gets a line per target: commit, date, seconds, inputs. What CI has of it, without sanitizers: fuzz_replay (replay.cpp).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
seconds=${1:-15}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(protocol job sweep tar table safetensors ledger image http query config vocabulary caption)
clang=$(command -v clang++-16 || command -v clang++) || { echo "clang++ with libFuzzer is needed: apt-get install clang-16 libclang-rt-16-dev"; exit 2; }
build=${BUILD:-build/fuzz}
cmake -S . -B "$build" -G Ninja -DCMAKE_CXX_COMPILER="$clang" -DCMAKE_BUILD_TYPE=Debug -DTRIREME_TORCH=OFF -DTRIREME_TESTS=OFF -DTRIREME_FUZZ=ON \
  -DTRIREME_SANITIZE=address,undefined,fuzzer-no-link >/dev/null
ninja -C "$build" "${targets[@]/%/_fuzz}"
seed() {  # FOLDER FILE…
  mkdir -p "$1"
  cp -n "${@:2}" "$1"
}
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1  # a finding of theirs is an end, too
for target in "${targets[@]}"; do
  corpus=$build/corpus/$target
  mkdir -p "$corpus"
  case $target in
    job) seed "$corpus" jobs/examples/*.json ;;
    sweep) seed "$corpus" jobs/examples/sweep-*.json ;;
    tar) seed "$corpus" tests/golden/*images.tar ;;
    image) for tar in tests/golden/*images.tar; do tar -xf "$tar" -C "$corpus"; done ;;
    table) printf 'filepath,title\na.png,"b, ""c"""\n' >"$corpus/seed" ;;
    safetensors) printf '\66\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}xxxxxxxx' >"$corpus/seed" ;;
    http) printf 'GET /api/v1/jobs?limit=3 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n' >"$corpus/get"
      printf 'POST /api/v1/jobs HTTP/1.1\r\nHost: localhost:80\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n' >"$corpus/post" ;;
    query) printf '{"query": [{"text": "a dog", "weight": 2}], "k": 40, "filter": [{"column": "width", "least": 200}]}' >"$corpus/seed" ;;
    config) python3 -c 'import json, sys
for kind, folder in json.load(open("tests/golden/peer_folders.json")).items():
    for name, text in folder["files"].items():
        json.dump(text, open(f"{sys.argv[1]}/{kind}-{name}", "w"))' "$corpus" ;;
    vocabulary) seed "$corpus" tests/golden/sentencepiece/*.model
      printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nphoto\n##s\ndog\n' >"$corpus/wordpiece"
      printf '#version: 0.2\na b\nab c</w>\n' >"$corpus/merges" ;;
    caption) printf "Two men's dogs, chasing a red ball in the park on 3 May." >"$corpus/seed" ;;
    ledger) printf '\1\0\0\0abcd' >"$corpus/seed" ;;
  esac
  echo "== $target, $seconds s"
  log=$build/$target.log
  "$build/bin/${target}_fuzz" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$build/finding-$target-" "$corpus" >"$log" 2>&1 || { tail -60 "$log"; exit 1; }
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  echo "$inputs inputs, no finding"
  [[ -z ${KEEP-} ]] || printf '{"commit": "%s", "date": "%s", "target": "%s", "seconds": %s, "inputs": %s, "findings": 0}\n' "$(git rev-parse --short HEAD)" "$(date -I)" "$target" "$seconds" "$inputs" >>"$KEEP"
done
