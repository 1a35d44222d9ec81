#!/usr/bin/env bash
# The package, looked at and installed: into a copy of this machine's files that is thrown away (an overlay in a mount
# namespace of its own). Called by ./test; needs root. tests/package/run.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { printf '    %s\n' "$*"; }
fail() { echo "tests/package: $*" >&2; exit 1; }
binary=${1:?the binary to pack}

package=$(WARDLINE_DEB_FLAGS="-Zgzip -z1" packaging/build "$binary" | tail -1)
[ "$(dpkg-deb -f "$package" Package)" = wardline-agent ] || fail "no control file"
contents=$(dpkg-deb -c "$package")
for path in ./usr/bin/wardline ./usr/lib/wardline/enrol ./lib/systemd/system/wardline-agent.service \
    ./usr/share/doc/wardline-agent/agent.md ./usr/share/doc/wardline-agent/copyright; do
    grep -q " $path\$" <<< "$contents" || fail "$path is not in the package"
done
if grep -v ' root/root ' <<< "$contents"; then fail "not everything is root's"; fi
for script in packaging/build packaging/debian/{enrol,postinst,prerm,postrm} "$0"; do
    case $(head -1 "$script") in *bash) bash -n "$script" ;; *) sh -n "$script" ;; esac
done
if command -v lintian > /dev/null; then
    lintian --fail-on error "$package"
else
    say "skipped: lintian is not installed"
fi

if [ "$(id -u)" != 0 ]; then
    [ -z "${CI:-}" ] || fail "CI must run this as root"
    say "skipped: installing needs root"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tmp"
cp "$package" "$work/agent.deb"
cp tests/package/inside.sh "$work/"
if ! unshare --mount --propagation private sh -c "mount -t tmpfs none $work/tmp && mkdir $work/tmp/u $work/tmp/w $work/tmp/m \
    && mount -t overlay none -o lowerdir=/,upperdir=$work/tmp/u,workdir=$work/tmp/w $work/tmp/m" 2> /dev/null; then
    [ -z "${CI:-}" ] || fail "CI must be able to mount an overlay"
    say "skipped: this machine mounts no overlay to install into"
    exit 0
fi
unshare --mount --pid --net --fork --propagation private bash "$work/inside.sh" "$work"
say "installed, enrolled, upgraded, removed and purged: nothing is left"
