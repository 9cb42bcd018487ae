#!/usr/bin/env bash
# Run a command, `make test` if none is named, in a root that holds nothing but Python, pip, make and git.
#
#     tools/plain_root.sh                 # the tests, as on a new machine
#     tools/plain_root.sh make run        # the whole path
#     tools/plain_root.sh sh              # look around
#
# Needs root, debootstrap and bubblewrap on this machine. The root is Debian's smallest one, made
# once under ~/.cache/codling/plain-root (PLAIN_ROOT=FOLDER takes another); it has no compiler, no
# interpreter but Python, no browser, no bubblewrap. Inside, /code is a clone of this checkout's last
# commit, so nothing that you have built shows, and what the command writes is kept in the folder
# that is printed first. Settings of pip (PIP_*, pip.conf, PIP_FIND_LINKS' folder) hold inside too.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
root=${PLAIN_ROOT:-$HOME/.cache/codling/plain-root}

if [ ! -e "$root/made" ]; then
    packages=python3,python3-venv,python3-pip,make,git,ca-certificates
    debootstrap --variant=minbase --include="$packages" bookworm "$root" >&2
    mkdir -p "$root/code" "$root/made"
fi

work=$(mktemp -d /tmp/plain-root.XXXXXX)
mkdir -p "$work/tmp" "$work/home/.cache/pip"
git clone -q "$here" "$work/code"
echo "plain root: $root, work: $work" >&2

# What lets pip work here; each may be absent.
binds=()
for path in /etc/resolv.conf /etc/pip.conf /etc/xdg/pip /etc/ssl/certs ${PIP_FIND_LINKS:-}; do
    [ ! -e "$path" ] || binds+=(--ro-bind "$(readlink -f "$path")" "$path")
done
[ ! -d "$HOME/.cache/pip" ] || binds+=(--bind "$HOME/.cache/pip" /root/.cache/pip)
while IFS='=' read -r name value; do
    binds+=(--setenv "$name" "$value")
done < <(env | grep -E '^(PIP_[A-Z_]+|SSL_CERT_FILE|CODLING_[A-Z_]+)=' || true)

[ $# -gt 0 ] || set -- make test
exec bwrap --bind "$root" / --dev /dev --proc /proc \
    --bind "$work/tmp" /tmp --bind "$work/home" /root --bind "$work/code" /code \
    --unshare-all --share-net --die-with-parent --clearenv \
    --setenv PATH /usr/bin:/bin --setenv HOME /root "${binds[@]}" --remount-ro / --chdir /code "$@"
