#!/bin/sh
# Takes pictures of the pages of a running demo.
#
#   screenshots.sh PERFD FOLDER
set -eu

perfd=$1
folder=$2
mkdir -p "$folder"

"$perfd" demo --web.listen-address=127.0.0.1:9797 --demo.listen-address=127.0.0.1:9798 &
demo=$!
trap 'kill "$demo" 2>/dev/null; wait "$demo" || true' EXIT

# Percentiles need a window of results; half a minute fills a few.
sleep 30
kill -0 "$demo"

shoot() {
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars \
		--window-size=1280,"$3" --screenshot="$folder/$1.png" "http://127.0.0.1:9797$2"
}
shoot landing / 800
