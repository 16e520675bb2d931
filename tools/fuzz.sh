#!/bin/sh
# Runs every fuzz target of the module, one after another, for the given time each.
#
#   fuzz.sh FUZZTIME
#
# An input that is new is made smaller for two seconds, not for Go's minute, in which nothing else is tried.
set -eu

: "${GO:=go}"
found=0
for file in $(grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' cmd config internal | sort); do
	for target in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$file"); do
		found=$((found + 1))
		echo "== $(dirname "$file") $target"
		"$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 2s "./$(dirname "$file")"
	done
done
echo "$found fuzz targets, none failed"
[ "$found" -gt 0 ]
