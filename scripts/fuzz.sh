#!/usr/bin/env bash
# Runs every fuzz target of the tree for the given time, one after the other.
# A finding leaves its input in testdata/fuzz and fails at once; a worker that
# ended for want of time or memory leaves none, and is tried once more.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-60s}

findings() { find . -path '*/testdata/fuzz/*' -type f | sort; }
known=$(findings)

fuzz() { # DIR TARGET
	go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" "$1" | tail -n 3
}
while read -r dir target; do
	echo "fuzz: $dir $target for $time"
	if fuzz "$dir" "$target"; then
		continue
	fi
	if [ "$(findings)" != "$known" ]; then
		echo "fuzz: $target has a finding:" >&2
		diff <(echo "$known") <(findings) >&2 || true
		exit 1
	fi
	echo "fuzz: $target ended without a finding; once more"
	fuzz "$dir" "$target"
done < <(grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's#/[^/]*:func # #' | sort -u)
