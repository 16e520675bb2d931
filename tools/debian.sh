#!/bin/sh
# Installs Debian packages whose programs are missing.
#
#   debian.sh PROGRAM=PACKAGE...
#
# Needs root or sudo only where something is missing. Services that a package
# brings are not started: the tests start their own, on their own ports.
set -eu

PATH=$PATH:/usr/sbin:/sbin
packages=
for pair in "$@"; do
	command -v "${pair%%=*}" >/dev/null 2>&1 || packages="$packages ${pair#*=}"
done
[ -n "$packages" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null 2>&1 || {
		echo "missing:$packages; install them, or run this as root" >&2
		exit 1
	}
	root=sudo
fi

# invoke-rc.d asks this program whether it may start a service; 101 is no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
	$root chmod 755 "$policy"
	trap '$root rm -f "$policy"' EXIT
fi

$root apt-get update -q
# shellcheck disable=SC2086 # one word per package
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages
