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

# By now the script of the demo has a regression, a leak and a broken objective: README.md has its times.
sleep 525
kill -0 "$demo"

shoot() {
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars \
		--window-size=1400,"$3" --screenshot="$folder/$1.png" "http://127.0.0.1:$2/"
}
shoot landing 9797 1180
shoot shop 9798 860
