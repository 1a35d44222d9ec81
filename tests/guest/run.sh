#!/usr/bin/env bash
# The sensor on another kernel: Debian 12's own, in an emulated machine, where the BPF LSM is in force (tier A), and where
# it is not (tier B). Called by ./test; needs no root, and no virtualisation of the host's.
# tests/guest/run.sh BINARY…: tests of the sensor, as they were built; `verdicts` must be among them
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { printf '    %s\n' "$*"; }
fail() { echo "tests/guest: $*" >&2; exit 1; }
[ $# -gt 0 ] || fail "which tests? Name their binaries"
limit=600
cache=$PWD/target/guest

skip() {
    [ -z "${CI:-}" ] || fail "CI must run this: $*"
    say "skipped: $*"
    exit 0
}

[ "$(uname -m)" = x86_64 ] || skip "the guest is an x86-64 machine, and its programs are copied from this one"
command -v qemu-system-x86_64 > /dev/null || skip "qemu-system-x86 is not installed"
mkdir -p "$cache"

# A kernel and its modules are not installed, only unpacked: they are not for this machine.
if ! compgen -G "$cache/kernel/boot/vmlinuz-*" > /dev/null; then
    image=$(apt-cache depends linux-image-amd64 2> /dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
    [ -n "$image" ] || skip "apt knows no linux-image-amd64"
    say "fetching $image (about 70 MB, kept in target/)"
    (cd "$cache" && apt-get download -qq "$image" > /dev/null 2>&1) || skip "apt cannot get $image"
    dpkg -x "$cache/$image"_*.deb "$cache/unpacked"
    mkdir -p "$cache/kernel"
    mv "$cache/unpacked/boot" "$cache/kernel/"
    rm -rf "$cache/unpacked" "$cache"/*.deb
fi
kernel=$(ls "$cache"/kernel/boot/vmlinuz-* | tail -1)

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,etc,proc,sys,tmp,run,tests,usr/bin,usr/lib/x86_64-linux-gnu}
ln -s usr/lib "$root/lib"
mkdir -p "$root/lib64"
tests=()
for binary in "$@"; do
    # Without the hash that cargo appends.
    name=$(basename "$binary")
    tests+=("${name%-*}")
    strip -o "$root/tests/${name%-*}" "$binary"
done
cp /bin/dash "$root/bin/sh"
for program in sh cat true seq install chmod mkdir mount umount mv rm ln cp sleep perl unshare ip; do
    if [ $program != sh ]; then cp -L "$(type -P $program)" "$root/bin/"; fi
done
cp -r /usr/lib/x86_64-linux-gnu/perl-base "$root/usr/lib/x86_64-linux-gnu/"
cp -L "$root"/bin/* "$root/usr/bin/"
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' > "$root/etc/passwd"
for each in "$root"/bin/* "$root"/tests/*; do
    ldd "$each" 2> /dev/null | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -Lu "$library" "$root$library"
    done
done
cat > "$root/init" <<'INIT'
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t securityfs sec /sys/kernel/security
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up
echo "GUEST kernel $(cat /proc/sys/kernel/osrelease) lsm $(cat /sys/kernel/security/lsm)"
for test in $(cat /tests/wanted); do
    # What is not a test's own business: processors are emulated, and everything takes its time.
    if /tests/$test --nocapture --test-threads 1 > /tmp/$test.log 2>&1; then
        echo "GUEST passed $test"
    else
        echo "GUEST failed $test"
    fi
    cat /tmp/$test.log
done
echo "GUEST end"
echo o > /proc/sysrq-trigger
sleep 60
INIT
chmod 755 "$root/init"

# boot NAME TESTS WORDS-FOR-THE-KERNEL: what the guest said, in $cache/NAME.log
boot() {
    echo "$2" > "$root/tests/wanted"
    (cd "$root" && find . -print0 | cpio --quiet --null -o -H newc) > "$cache/initrd"
    timeout "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -net none -nographic -no-reboot \
        -kernel "$kernel" -initrd "$cache/initrd" -append "console=ttyS0 quiet panic=-1 mitigations=off $3" \
        < /dev/null > "$cache/$1.log" 2>&1 || fail "the guest $1 did not end within $limit s: $cache/$1.log"
    grep -q '^GUEST end' "$cache/$1.log" || { tail -40 "$cache/$1.log"; fail "the guest $1 ended early"; }
    sed -n 's/^GUEST \(.*\)\r$/\1/p; s/^GUEST \(.*[^\r]\)$/\1/p' "$cache/$1.log" | while read -r line; do say "$line"; done
    if grep -q '^GUEST failed' "$cache/$1.log"; then
        cat "$cache/$1.log"
        fail "the sensor's tests failed on Debian's kernel"
    fi
}

boot tier-a "${tests[*]}" ""
grep -q 'tier: VerdictLsm' "$cache/tier-a.log" || fail "the BPF LSM was not used"
boot tier-b "verdicts" "lsm=landlock,lockdown,yama"
grep -q 'tier: VerdictReturn' "$cache/tier-b.log" || fail "the modified return was not used"
