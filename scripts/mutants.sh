#!/usr/bin/env bash
# Mutants: each plants one fault in the counting and proves that a named test
# fails with it. A test that nothing can break proves nothing.
#
#   scripts/mutants.sh [NAME…]      all of them, or those with these names
#
# The tree is not touched: go test reads the changed file through an overlay.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
only=" $* "
planted=0 failed=0

mutant() { # NAME FILE PERL-SUBSTITUTION PACKAGE TEST
	local name=$1 file=$2 change=$3 package=$4 test=$5
	[[ $only == "  " || $only == *" $name "* ]] || return 0
	planted=$((planted + 1))
	perl -0pe "$change" "$file" >"$dir/mutant.go"
	if cmp -s "$file" "$dir/mutant.go"; then
		echo "mutants: $name: the line to change is not in $file any more" >&2
		failed=$((failed + 1))
		return
	fi
	printf '{"Replace":{"%s":"%s"}}' "$PWD/$file" "$dir/mutant.go" >"$dir/overlay.json"
	if go test -count=1 -vet=off -overlay "$dir/overlay.json" -run "$test" "$package" >"$dir/out" 2>&1; then
		echo "mutants: $name lives: $test passes with it" >&2
		failed=$((failed + 1))
	elif ! grep -q -- '--- FAIL' "$dir/out"; then
		echo "mutants: $name: $test ends without a failure of its own:" >&2
		tail -n 20 "$dir/out" >&2
		failed=$((failed + 1))
	else
		echo "mutants: $name: $test fails"
	fi
}

window=aggregate/window
rules='TestSplitsAndRestartsGiveTheSameBooks'

# A time to live: only what counts refreshes an id.
mutant ttl-dedupe $window/seen.go 's/(if age < s\.newest-step \{)/if ok {\n\t\t\treturn last, ok\n\t\t}\n\t\t$1/' ./$window $rules
# Lateness against the newest record instead of the record's own append time.
mutant watermark-lateness $window/state.go 's/p\.clampFuture\(r\.LAT\)/p.clampFuture(max(s.newest, r.LAT))/' ./$window $rules
# An invalid record shadows a valid one.
mutant validity-ignored $window/seen.go 's/if valid \{\n\t\tkind \|= 1/if true {\n\t\tkind |= 1/' ./$window $rules
# The look-back forgets how long a click may have waited.
mutant short-lookback $window/config.go 's/ \+ c\.JoinWindow\.Milliseconds\(\) \+ skewMillis/ + skewMillis/' ./$window $rules
# Ids are forgotten at the horizon, although the clock may step back.
mutant no-skew $window/seen.go 's/keep: horizon \+ skewMillis\/cfg\.stepMillis\(\) \+ 2/keep: horizon/' ./$window $rules
# A click that has waited is booked again by whoever reads the log again.
mutant settled-twice $window/pending.go 's/w\.settled = true\n/w.settled = false\n/' ./$window $rules
# Repeats in the flood are admitted by the span's cells, not by the bucket.
mutant flood-by-span $window/state.go 's/ && d\.at\(row\)\.admitted == uint32\(p\.bucket\+1\)//' ./$window $rules

# A block that was tried is made again with what has come since.
mutant failed-batch-grows aggregate/flusher.go 's/if t\.block == nil \|\| t\.absent \{/if true {/; s/if t\.block == nil \|\| len\(kept\) < len\(\*spans\) \{/if true {/' ./aggregate TestSimulation
# The position moves on before the block is known to have landed.
mutant commit-before-insert aggregate/flusher.go 's/(f\.doubtful\.Store\(err != nil && !t\.absent\)\n\tif err != nil) \{/$1 && t.absent {/' ./aggregate TestSimulation
# A stopped owner that goes on does not ask whether it still is one.
mutant no-zombie-check aggregate/flusher.go 's/Fence: f\.fence\}/Fence: func() error { return nil }}/' ./aggregate TestSimulation
# A partition that was lost stays in the blocks to come.
mutant lost-is-flushed aggregate/flusher.go 's/if _, lost := f\.lost\[h\.from\]; !lost \{/if _, lost := f.lost[h.from]; !lost || true {/' ./aggregate TestSimulation
# A hole in the log is passed over.
mutant hole-passed-over aggregate/partition.go 's/at != p\.next \{/false {/; s/at := p\.rest\[n\]\.Offset; false/false/; s/\t\t\treturn fmt\.Errorf\("offset %d follows.*?\n.*?\n/\t\t\treturn nil\n/' ./aggregate TestSimulation


ledger=aggregate/ledger.go
# What was taken out for a block stays in the next one.
mutant batch-is-kept aggregate/partition.go 's/\tp\.span, p\.events = nil, 0\n/\tp.events = 0\n/' ./aggregate TestSimulation
# The insert is on its way while it is taken for done.
mutant insert-not-waited-for $ledger 's/sendErr := l\.send\(ctx, b\)\n/sendErr := error(nil)\n\tgo func() { _ = l.send(ctx, b) }()\n/' ./aggregate 'TestLedger/(positions|fenced)'
# The ledger asks nobody before it sends.
mutant sends-unasked $ledger 's/Open: b\.Fence,/Open: func() error { return nil },/' ./aggregate TestLedger/fenced
# The first block of an ownership is believed, not read back.
mutant first-block-unproven $ledger 's/sendErr == nil && !b\.Prove \{/sendErr == nil {/' ./aggregate TestLedger/proven
# What is counted beyond a gap is counted again.
mutant gap-counts-all $ledger 's/\t\tpos\.Counted = append\([^\n]*\n/\t\t_ = end\n/' ./aggregate TestLedger/gaps
# Partitions that were added go unnoticed.
mutant added-partitions $ledger 's/case known\.Partitions != t\.Partitions:/case known.Partitions > t.Partitions:/' ./aggregate TestLedger/topic
# Inserts of the last owner stay open.
mutant inserts-left-open aggregate/owners.go 's/"KILL QUERY WHERE "/"KILL QUERY WHERE 0 AND "/' ./aggregate TestLedger/open_inserts
# A member that the group does not know keeps its lease.
mutant unknown-member-leased aggregate/lease.go 's/err != nil && !errors\.Is\(err, kerr\.RebalanceInProgress\)/errors.Is(err, kerr.RebalanceInProgress)/' ./aggregate TestLease
# A living owner is taken for a ghost.
mutant living-ghost aggregate/takeover.go 's/if before\[id\]\.Next != after\[id\]\.Next \{/if before[id].Next > after[id].Next {/' ./aggregate TestLivingOwner
# Another owner's block in the place of ours is not looked for.
mutant foreign-block-passed $ledger 's/case foreign > 0:/case foreign < 0:/' ./aggregate TestLedger/foreign_block
# The log begins later than what must be counted next.
mutant log-begins-later aggregate/assign.go 's/case pos\.Next < first:/case pos.Next < 0:/' ./aggregate TestStartIsRefused
# The log holds less than verdicts look back on.
mutant short-log aggregate/assign.go 's/if log\.First > 0 && starts\[id\] == log\.First/if log.First < 0 && starts[id] == log.First/' ./aggregate TestStartIsRefused
# A log that was written anew is believed.
mutant log-written-anew aggregate/assign.go 's/end\.EndOffset < positionEnd\(pos\)/end.EndOffset < 0/' ./aggregate TestStartIsRefused
# Users are not told again after a restart.
mutant users-told-once aggregate/partition.go 's/\t\tp\.users\(&again\)\n/\t\t_ = again\n/' ./aggregate TestUsersAreToldAgain

echo "mutants: $planted planted, $failed without a failing test"
[ "$failed" -eq 0 ]
