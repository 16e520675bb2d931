#!/bin/sh
# Fails on functions that nothing reaches: from the program cmd/perfd, or, for what only tests and benchmarks use, from any
# program or test. tools/deadcode.txt lists the exceptions with their reasons; one that is no exception any more fails too.
#
#   deadcode.sh DEADCODE
set -eu

cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A line is a package below the module, and a function or a method.
format='{{range .Funcs}}{{printf "%s %s\n" $.Path .Name}}{{end}}'
{
	"$1" -f "$format" ./cmd/perfd
	"$1" -test -f "$format" ./...
} | sed 's#^github.com/perfd/perfd/##' | sort -u >"$work/found"
sed -e 's/ *#.*//' -e '/^$/d' tools/deadcode.txt | sort -u >"$work/allowed"

status=0
comm -23 "$work/found" "$work/allowed" >"$work/unreachable"
if [ -s "$work/unreachable" ]; then
	echo "nothing reaches these functions; delete them, or list them in tools/deadcode.txt with a reason:"
	sed 's/^/  /' "$work/unreachable"
	status=1
fi
comm -13 "$work/found" "$work/allowed" >"$work/stale"
if [ -s "$work/stale" ]; then
	echo "tools/deadcode.txt lists functions that are gone or are reached:"
	sed 's/^/  /' "$work/stale"
	status=1
fi
exit $status
