#!/bin/sh
# Installs the JavaScript packages of tools/peers, whose servers the tests speak to, unless those of its lock file are there.
#
#   peers.sh FOLDER
set -eu

folder=$1
cd "$(dirname "$0")/peers"
if cmp -s package-lock.json "$folder/package-lock.json" && [ -e "$folder/installed" ]; then
	exit 0
fi
rm -rf "$folder"
mkdir -p "$folder"
cp package.json package-lock.json "$folder"
cd "$folder"
npm ci --no-audit --no-fund --ignore-scripts
touch installed
