#!/usr/bin/env bash
# Plants one violation of each arrow of the tree and checks that lint finds it:
# a rule that nothing breaks proves nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

module=github.com/adtally/adtally
planted=()
cleanup() { rm -f "${planted[@]}"; }
trap cleanup EXIT

plant() { # FILE PACKAGE IMPORT
	printf 'package %s\n\nimport _ "%s"\n' "$2" "$3" >"$1"
	planted+=("$1")
}
plant aggregate/window/zz_planted.go window net/http
plant ingest/zz_planted.go ingest "$module/internal/clickhouse"
plant ingest/zz_kafka.go ingest github.com/twmb/franz-go/pkg/kgo
plant ingest/spool/zz_planted.go spool github.com/twmb/franz-go/pkg/kgo
plant ingest/produce/zz_planted.go produce github.com/valyala/fasthttp
plant ingest/produce/zz_decided.go produce "$module/ingest/token"
plant query/zz_planted.go query "$module/internal/kafka"
plant query/report/zz_planted.go report "$module/internal/books"
plant query/plan/zz_planted.go plan "$module/query/export"

found=$(go tool -modfile=scripts/tools/go.mod golangci-lint run --enable-only depguard \
	./aggregate/window ./ingest ./ingest/produce ./ingest/spool ./query ./query/report ./query/plan 2>/dev/null || true)
for file in "${planted[@]}"; do
	if ! grep -q "$file.*depguard" <<<"$found"; then
		echo "arrows: lint does not see the violation planted in $file" >&2
		exit 1
	fi
done
echo "arrows: ${#planted[@]} planted violations found"
