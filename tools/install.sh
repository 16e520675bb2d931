#!/bin/sh
# Installs the tools of a Go module, unless what is installed was built from the same sources in the same way.
#
#   install.sh FOLDER MODULE [FLAG...] PACKAGE...
#
# FOLDER gets the programs, and in MODULE.stamp the checksum of what they were built from: modules and sources of MODULE,
# the version of Go, flags and packages. Times of files play no part, so a clone or a restored cache builds nothing twice.
set -eu

: "${GO:=go}"
folder=$1
module=$2
shift 2
cd "$(dirname "$0")/../$module"
stamp=$folder/$(echo "$module" | tr / -).stamp
built=$({ "$GO" env GOVERSION GOOS GOARCH; echo "$@"; cat go.mod go.sum; find . -maxdepth 1 -name '*.go' | sort | xargs -r cat; } | sha256sum)
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$built" ]; then
	exit 0
fi
mkdir -p "$folder"
rm -f "$stamp"
GOBIN=$folder "$GO" install -ldflags=-s\ -w "$@"
echo "$built" >"$stamp"
