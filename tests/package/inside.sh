# Runs in mount, pid and network namespaces of its own: inside.sh WORK. The hub runs in there too, on the loopback.
set -euo pipefail
work=$1
fail() { echo "tests/package: $*" >&2; exit 1; }
ip link set lo up
mount -t tmpfs none "$work/tmp"
mkdir "$work/tmp/u" "$work/tmp/w" "$work/tmp/m"
root=$work/tmp/m
mount -t overlay none -o "lowerdir=/,upperdir=$work/tmp/u,workdir=$work/tmp/w" "$root"
cp "$work/agent.deb" "$root/agent.deb"
mount -t proc none "$root/proc"
mount --bind /dev "$root/dev"
mount -t tmpfs none "$root/run"
inside() { chroot "$root" env PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
listing() { (cd "$work/tmp/u" && find . \( -path ./var/log -o -path ./var/lib/dpkg -o -path ./var/cache -o -path ./root -o -path ./tmp \) -prune -o ! -type d -print | sort); }
listing > "$work/before"

# Without a word about a hub it installs, and says what to do.
inside dpkg -i /agent.deb > "$work/said" 2>&1 || { cat "$work/said"; fail "it does not install"; }
grep -q "wardline agent enrol HUB TOKEN" "$work/said" || fail "it does not say how to enrol"
inside getent passwd wardline-courier > /dev/null || fail "there is no user for the courier"
[ "$(inside stat -c %a /var/lib/wardline/agent)" = 700 ] || fail "others may look into its folder"
if command -v systemd-analyze > /dev/null; then
    # What other units lack is not this one's fault.
    wrong=$(inside systemd-analyze verify /lib/systemd/system/wardline-agent.service 2>&1 | grep wardline || true)
    [ -z "$wrong" ] || fail "$wrong"
fi
inside dpkg --purge wardline-agent > "$work/said" 2>&1 || { cat "$work/said"; fail "it is not purged"; }

# Silent enrolment, with a hub of its own.
cp "$root/agent.deb" "$work/unpacked.deb"
dpkg-deb -x "$work/unpacked.deb" "$work/hub-files"
hub=$work/hub-files/usr/bin/wardline
"$hub" hub run --data "$work/hub" --http 127.0.0.1:0 --agents 127.0.0.1:0 2> "$work/hub.log" &
for _ in $(seq 100); do grep -q "agents connect to" "$work/hub.log" && break; sleep 0.1; done
address=$(sed -n 's/.*agents connect to \([0-9.:]*\).*/\1/p' "$work/hub.log")
[ -n "$address" ] || { cat "$work/hub.log"; fail "the hub does not start"; }
inside WARDLINE_HUB="$address" WARDLINE_TOKEN="$("$hub" hub token --data "$work/hub")" dpkg -i /agent.deb > "$work/said" 2>&1 \
    || { cat "$work/said"; fail "it does not install with a hub"; }
[ -s "$root/var/lib/wardline/agent/identity.json" ] || { cat "$work/said"; fail "it did not enrol"; }
[ ! -e "$root/etc/wardline/token" ] || fail "the token is still there"
identity=$(md5sum < "$root/var/lib/wardline/agent/identity.json")

# Upgrade, and remove: the identity stays. Purge: nothing does.
inside dpkg -i /agent.deb > /dev/null 2>&1 || fail "it does not upgrade"
inside dpkg --remove wardline-agent > /dev/null 2>&1 || fail "it is not removed"
[ "$(md5sum < "$root/var/lib/wardline/agent/identity.json")" = "$identity" ] || fail "the identity changed"
[ ! -e "$root/usr/bin/wardline" ] || fail "the program is still there"
inside dpkg --purge wardline-agent > "$work/said" 2>&1 || { cat "$work/said"; fail "it is not purged"; }
# Backups that adduser makes of passwd and group are the system's own.
listing | grep -vE '^\./etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|^\./etc/\.pwd\.lock$' > "$work/after" || true
diff "$work/before" "$work/after" > "$work/left" || { cat "$work/left"; fail "something is left after the purge"; }
! inside getent passwd wardline-courier > /dev/null || fail "the courier's user is left"
