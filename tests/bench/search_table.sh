#!/usr/bin/env bash
# The table of docs/search.md: approximate search beside faiss-cpu, usearch and hnswlib, one thread, at recall@10 of 0.95 and 0.90. Wants a quiet
# machine; 150,000 rows take some 20 minutes, a million several hours (hnswlib and usearch build their graphs on one thread).
# ONLY: expression that the names of the peers to measure match.
# usage: [ONLY=IVF] search_table.sh PYTHON_WITH_PEERS [RUN_WHOSE_EMBEDDINGS_ARE_LIKE] [ROWS]   (RUN "": two drawn towers)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${1:?usage: search_table.sh PYTHON [RUN] [ROWS]}
run=${2:-}
rows=${3:-150000}
build=${TRIREME_BENCH_BUILD:-build/release}
cmake -G Ninja -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DTRIREME_BENCH=ON >/dev/null
ninja -C "$build" search_bench >/dev/null
"$python" tests/bench/search_peer.py --rows "$rows" ${run:+--like "$run"} --bench "$build/bin/search_bench" ${ONLY:+--only "$ONLY"}
