# A machine to throw away: this machine's files under an overlay, with mounts, processes, network, name and IPC of its own.
# machine.sh FOLDER, in namespaces that `unshare` made. Runs each script that is named on standard input, and says how it
# ended. What it writes lies in memory and is gone when it ends.
set -eu
folder=$1
mount -t tmpfs none "$folder/disk"
cd "$folder/disk"
mkdir upper work root
mount -t overlay none -o "lowerdir=/,upperdir=upper,workdir=work" root
mkdir -p root/imitations
mount --bind "$folder/scripts" root/imitations
cd root
# What belongs to the kernel is everybody's: looked at, not written.
mount -t proc proc proc
for path in proc/sys proc/sysrq-trigger; do
    [ -e "$path" ] || continue
    mount --bind "$path" "$path"
    mount -o remount,bind,ro "$path"
done
mount -t sysfs -o ro sysfs sys
mount -t tmpfs none dev
mkdir dev/shm dev/pts dev/input
ln -s /proc/self/fd dev/fd
for node in null zero full random urandom tty; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
# No socket of the real machine's services, and no file of somebody else's test.
mount -t tmpfs none run
mount -t tmpfs none tmp
mount -t tmpfs none dev/shm
mkdir run/before
pivot_root . run/before
cd /
umount -l run/before
rmdir run/before
ip link set lo up
# Addresses where nobody listens: a connection is refused at once.
for address in 203.0.113.9 169.254.169.254; do ip addr add "$address/32" dev lo; done
hostname throw-away
# Names are asked for where nobody answers.
rm -f /etc/resolv.conf
echo 'nameserver 127.0.0.1' > /etc/resolv.conf
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/root/.cargo/bin
export HOME=/root USER=root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive
unset RUSTUP_TOOLCHAIN
echo ready
while read -r name; do
    # Each has a folder of its own, and its words are not part of any command line.
    mkdir -p "/srv/work/$name"
    code=0
    (cd "/srv/work/$name" && exec bash "/imitations/$name.sh") < /dev/null > "/imitations/$name.said" 2>&1 || code=$?
    echo "$name $code"
done
