#!/usr/bin/env bash
# Every test: unit, embedded servers, and end to end on both brokers. Prints
# what was skipped and why; with CI=true a skip is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

status=0
go test -count=1 -timeout 30m -v ./... >"$log" 2>&1 || status=$?

grep -E '^(ok|FAIL|panic:|\?)' "$log" | grep -v 'no test files' || true
if [ "$status" -ne 0 ]; then
	echo "--- output of what failed"
	# The lines of a failed test stand around its FAIL line; print generously.
	grep -nE '^\s*--- FAIL|^panic:|^FAIL|_test\.go:[0-9]+:' "$log" | head -n 200 || true
	echo "--- last lines"
	tail -n 100 "$log"
fi

passed=$(grep -cE '^--- PASS' "$log" || true)
failed=$(grep -cE '^--- FAIL' "$log" || true)
skipped=$(grep -cE '^\s*--- SKIP' "$log" || true)
if [ "$skipped" -gt 0 ]; then
	echo "skipped:"
	grep -E -A 2 '^\s*--- SKIP' "$log" || true
fi
echo "$passed passed, $failed failed, $skipped skipped"
if [ "$status" -ne 0 ]; then
	exit "$status"
fi
if [ "${CI:-}" = true ] && [ "$skipped" -gt 0 ]; then
	echo "CI=true forbids skipped tests" >&2
	exit 1
fi
