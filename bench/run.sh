#!/usr/bin/env bash
# The side-by-side benchmarks. Each prints a table and writes it to
# bench/results/. ROUNDS and ONLY narrow them.
set -euo pipefail
cd "$(dirname "$0")/.."
go build -o bin/bench-ingest ./bench/ingest
bin/bench-ingest -rounds "${ROUNDS:-5}" -only "${ONLY:-}"
echo
echo "window: folding events into live cells, one core"
go test -run '^$' -bench . -benchtime 2s -count "${ROUNDS:-5}" ./aggregate/window | tee bench/results/window.txt
