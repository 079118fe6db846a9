#!/usr/bin/env bash
# The side-by-side benchmarks. Each prints a table and writes it to
# bench/results/. ROUNDS narrows them, and ONLY=PART/NAME: the parts are ingest
# (NAME is part of the name of a case), aggregate and query
# (of a section) and window.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-5}
only=${ONLY:-}
name=""
[[ $only == */* ]] && name=${only#*/}

wanted() { [[ -z $only || ${only%%/*} == "$1" ]]; }

if wanted ingest; then
	go build -o bin/bench-ingest ./bench/ingest
	(cd bench/ingest/benthos && go build -o ../../../bin/bench-benthos .) || rm -f bin/bench-benthos # the table says so
	bin/bench-ingest -rounds "$rounds" -only "$name"
fi
if wanted aggregate; then
	go build -o bin/bench-aggregate ./bench/aggregate
	bin/bench-aggregate -rounds "$rounds" -only "$name"
fi
if wanted query; then
	go build -o bin/bench-query ./bench/query
	bin/bench-query -rounds "$rounds" -only "$name"
fi
if wanted window; then
	echo
	echo "window: folding events into live cells, one core"
	go test -run '^$' -bench . -benchtime 2s -count "$rounds" ./aggregate/window | tee bench/results/window.txt
fi
if wanted export; then
	go build -o bin/bench-export ./bench/export
	go build -trimpath -o bin/adtally .
	bin/bench-export -rounds "$rounds" -only "$name"
fi
