#!/bin/sh
# Fails if go.mod or go.sum of a module is not what go mod tidy makes of it. Where modules that only tidying needs cannot be
# fetched, it says so and passes.
set -eu

: "${GO:=go}"
cd "$(dirname "$0")/.."
status=0
for mod in $(git ls-files '*go.mod'); do
	dir=$(dirname "$mod")
	if out=$("$GO" -C "$dir" mod tidy -diff 2>&1); then
		continue
	fi
	if echo "$out" | grep -qE 'dial tcp|i/o timeout|no such host|connection refused|module lookup disabled'; then
		echo "$mod: skipped, as modules cannot be fetched: $(echo "$out" | tail -n 1)"
		continue
	fi
	echo "$mod is not tidy; run go -C $dir mod tidy:"
	echo "$out" | grep -v "^go: downloading" | head -n 40
	status=1
done
exit $status
