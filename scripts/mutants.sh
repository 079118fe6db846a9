#!/usr/bin/env bash
# Plants one mistake at a time into a copy of the code and checks that the named
# test notices it: a test that nothing fails proves nothing. The tree is not
# touched.
#
#   scripts/mutants.sh          all of them
#   scripts/mutants.sh WORD     those whose name has the word
set -euo pipefail
cd "$(dirname "$0")/.."

only=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
planted=0 survived=0
export TEST_PATIENCE=20s # the mistakes are there at once or not at all

mutant() { # NAME FILE SED PACKAGE TEST
	local name=$1 file=$2 change=$3 package=$4 test=$5
	[[ $name == *"$only"* ]] || return 0
	sed -E "$change" "$file" >"$work/mutant.go"
	if cmp -s "$file" "$work/mutant.go"; then
		echo "mutants: $name: the line that it changes is not in $file any more" >&2
		exit 1
	fi
	printf '{"Replace":{"%s":"%s"}}' "$PWD/$file" "$work/mutant.go" >"$work/overlay.json"
	if ! go vet -overlay "$work/overlay.json" "$package" >"$work/out" 2>&1; then
		echo "mutants: $name: does not compile" >&2
		cat "$work/out" >&2
		exit 1
	fi
	planted=$((planted + 1))
	if go test -overlay "$work/overlay.json" -count=1 -timeout 5m -run "$test" "$package" >"$work/out" 2>&1; then
		survived=$((survived + 1))
		echo "SURVIVES  $name ($test)"
	else
		echo "killed    $name by $(grep -oE -m1 -- '--- FAIL: [^ ]+' "$work/out" | cut -d' ' -f3 || true)"
	fi
}

# Delivery
mutant "a failed batch grows" aggregate/partition.go \
	's/^\tp\.span, p\.events = nil, 0$/\tp.events = 0/' ./aggregate TestCountsOnceThroughLostAnswersAndRestarts
mutant "a batch in doubt is made anew" aggregate/flusher.go \
	's/^\tif t\.block == nil \|\| t\.absent \{$/\tif t.block = nil; true {/' ./aggregate TestCountsOnceThroughLostAnswersAndRestarts
mutant "commit before insert" aggregate/ledger.go \
	's/^\tsendErr := l\.send\(ctx, b\)$/\tsendErr := error(nil); go func() { _ = l.send(ctx, b) }()/' ./aggregate 'TestLedger/(positions|fenced|lost_answers)'
mutant "an unknown outcome is taken for success" aggregate/flusher.go \
	's/^\tt\.absent = errors\.Is\(err, ErrAbsent\)$/\tif t.absent = errors.Is(err, ErrAbsent); !t.absent { err = nil }/' ./aggregate TestCountsOnceThroughLostAnswersAndRestarts
mutant "the zombie check is dropped" aggregate/ledger.go \
	's/^\tif err := b\.Fence\(\); err != nil \{$/\tif err := b.Fence(); false \&\& err != nil {/' ./aggregate TestLedger/fenced
mutant "a member that is unknown keeps its lease" aggregate/lease.go \
	's/err != nil \&\& !errors\.Is\(err, kerr\.RebalanceInProgress\)/err == kerr.RebalanceInProgress/' ./aggregate TestLease
mutant "open inserts are left to the last owner" aggregate/owners.go \
	's/"KILL QUERY WHERE "\+which\+" ASYNC"/"KILL QUERY WHERE query_id = '"''"' ASYNC"/' ./aggregate TestLedger/open_inserts
mutant "the first block is not read back" aggregate/ledger.go \
	's/^\tif sendErr == nil \&\& !b\.Prove \{$/\tif sendErr == nil {/' ./aggregate TestLedger/proven
mutant "a living owner is taken for a ghost" aggregate/takeover.go \
	's/if before\[id\]\.Next != after\[id\]\.Next \{/if before[id].Next > after[id].Next {/' . 'TestCountingFaults/20'
mutant "what lies beyond a gap is counted again" aggregate/ledger.go \
	's/^\t\tpos\.Counted = append\(pos\.Counted, .*$/\t\t_ = end/' . 'TestCountingFaults/33'
mutant "a log that was written anew is believed" aggregate/assign.go \
	's/end\.EndOffset >= 0 \&\& end\.EndOffset < positionEnd\(pos\)/end.EndOffset < -9 \&\& end.EndOffset < positionEnd(pos)/' . 'TestCountingRefusals/24.*grown'
mutant "a log shorter than the horizon is believed" aggregate/assign.go \
	's/if log\.First > 0 \&\& starts\[id\] == log\.First/if log.First < 0 \&\& starts[id] == log.First/' . 'TestCountingRefusals/27_log'
mutant "added partitions are not looked for" aggregate/ledger.go \
	's/case known\.Partitions != t\.Partitions:/case known.Partitions > t.Partitions:/' . 'TestCountingRefusals/26'
mutant "users are not told again after a restart" aggregate/partition.go \
	's/^\t\tp\.users\(\&again\)$/\t\t_ = again/' ./aggregate TestUsersAreToldAgain

# Arithmetic
mutant "a repeat is one of the first within a time to live" aggregate/window/seen.go \
	's/^\ts\.last\[k\] = seenAt\{step: latest, payload: payload\}$/\tif !duplicate {\n\t\ts.last[k] = seenAt{step: latest, payload: payload}\n\t}/' ./aggregate/window 'TestScenarios|TestSplitsAndRestartsGiveTheSameBooks'
mutant "time is judged by the watermark" aggregate/window/state.go \
	's/^\te\.clampFuture\(lat\)$/\te.clampFuture(s.newest)/' ./aggregate/window 'TestScenarios|TestSplitsAndRestartsGiveTheSameBooks'

echo "$planted mutants, $survived survive"
[[ $survived -eq 0 && $planted -gt 0 ]]
