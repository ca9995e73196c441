#!/usr/bin/env bash
# Makes what the tests in a virtual machine boot: Debian's cloud kernel, an initramfs that finds the disks, and a disk
# with the system programs that nodes need. Nothing of it is this project's own, so that it is made once: the name of
# its folder is a checksum of this recipe.
#
#   deploy/vm-system.sh           prints the folder (.cache/vm/system-<checksum>) after making it where it is missing
#   deploy/vm-system.sh --check   only says by the exit code whether it is there
#
# In the folder: vmlinuz, initramfs (loads virtio, mounts the first disk as the root and the second one on /opt, then
# runs /opt/init) and root.img. Needs root (the tree's owners), Debian's mirrors, mmdebstrap, cpio and e2fsprogs; mounts
# nothing and installs nothing.
set -euo pipefail
umask 022
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

readonly RELEASE=bookworm
# What bootstrap.sh asks for on a host with nodes, and what a system is not without.
readonly PACKAGES=runc,crun,nats-server,iproute2,nftables,e2fsprogs,mmdebstrap,busybox-static,util-linux,perl-base,bash,coreutils,dash,systemd,findutils,gawk,grep,kmod,libc-bin,libstdc++6,mount,sed,tar,bsdutils
# Sparse: it takes what is in it, about 350 MB.
readonly ROOT_SIZE=4G
# In this order: each needs those before it.
readonly BOOT_MODULES=(virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk)

say() { echo "vm system: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

key=$(sha256sum "$0" | cut -c 1-12)
folder=.cache/vm/system-$key
if [ "${1:-}" = --check ]; then
  [ -d "$folder" ]
  exit
fi
if [ -d "$folder" ]; then
  echo "$folder"
  exit 0
fi
[ "$(id -u)" = 0 ] || fail "needs root; run: sudo $0"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/nexus-vm-system.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/root
mkdir "$work/result"

say "unpacking Debian $RELEASE with mmdebstrap ..."
if ! mmdebstrap --variant=extract --include="$PACKAGES" "$RELEASE" "$tree" >"$work/log" 2>&1; then
  tail -n 15 "$work/log" >&2
  fail 'mmdebstrap failed; are the mirrors of Debian reachable and named in /etc/apt?'
fi

say 'fetching the kernel ...'
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1)
[ -n "$kernel" ] || fail 'apt knows no linux-image-cloud-amd64; run apt-get update (Debian on x86-64 is needed)'
(cd "$work" && apt-get -qq download "$kernel" 2>>log) || fail "apt-get download $kernel failed"
dpkg-deb --extract "$work/$kernel"_*.deb "$work/kernel"
version=${kernel#linux-image-}
cp "$work/kernel/boot/vmlinuz-$version" "$work/result/vmlinuz"
# By its name in the tree, where /lib may be a link into /usr.
cp -a "$work/kernel/lib/modules" "$tree/lib/"
chroot "$tree" /sbin/depmod "$version"

say 'making the initramfs ...'
boot=$work/initramfs
mkdir -p "$boot/bin" "$boot/modules" "$boot/dev" "$boot/proc" "$boot/root"
cp "$tree/bin/busybox" "$boot/bin/busybox"
for module in "${BOOT_MODULES[@]}"; do
  find "$work/kernel/lib/modules" -name "$module.ko" -exec cp {} "$boot/modules/" \;
  [ -f "$boot/modules/$module.ko" ] || fail "the kernel has no module $module"
done
{
  echo '#!/bin/busybox sh'
  printf '/bin/busybox insmod /modules/%s.ko\n' "${BOOT_MODULES[@]}"
  cat <<'END'
set -e
bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
# The disks turn up a moment after their driver.
tries=0
until [ -b /dev/vdb ] || [ $tries = 100 ]; do $bb sleep 0.1; tries=$((tries + 1)); done
$bb mount -t ext4 /dev/vda /root
$bb mount -t ext4 /dev/vdb /root/opt
$bb umount /dev
exec $bb switch_root /root /opt/init
END
} >"$boot/init"
chmod 755 "$boot/init"
(cd "$boot" && find . | cpio --quiet --create --format=newc) | gzip -1 >"$work/result/initramfs"

say 'making the disk ...'
# What the packages' scripts would have set up.
[ -e "$tree/bin/sh" ] || ln -s dash "$tree/bin/sh"
[ -e "$tree/usr/bin/awk" ] || ln -s gawk "$tree/usr/bin/awk"
printf 'root:x:0:0:root:/root:/bin/sh\nnexus:x:990:990::/nonexistent:/usr/sbin/nologin\nnobody:x:65534:65534::/:/bin/false\n' >"$tree/etc/passwd"
printf 'root:x:0:\ntty:x:5:\nnexus:x:990:\nsystemd-journal:x:991:\nnogroup:x:65534:\n' >"$tree/etc/group"
printf '127.0.0.1 localhost\n' >"$tree/etc/hosts"
printf 'passwd: files\ngroup: files\nhosts: files\n' >"$tree/etc/nsswitch.conf"
# An empty one would be a first boot, with questions and presets.
printf '%032x\n' 1 >"$tree/etc/machine-id"
mkdir -p "$tree/opt" "$tree/run" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/tmp"
rm -rf "$tree"/usr/share/{doc,man,locale,lintian,bug} "$tree"/var/cache/apt "$tree"/var/lib/apt "${tree:?}"/dev/* "${tree:?}"/boot
ldconfig -r "$tree"
# The journal would only guard against a crash of a machine whose writes are thrown away anyway.
mkfs.ext4 -q -O ^has_journal -d "$tree" "$work/result/root.img" "$ROOT_SIZE" >>"$work/log" 2>&1 || fail "mkfs.ext4 failed: $(tail -n 3 "$work/log")"

mkdir -p .cache/vm
if [ "$(stat -c %u .)" != 0 ]; then chown -R --reference=. "$work/result" .cache/vm; fi
# Systems of earlier recipes are of no use any more.
rm -rf .cache/vm/system-*
cp -a --sparse=always "$work/result" "$folder.new"
mv -T "$folder.new" "$folder"
say "done, $(du -sh "$folder" | cut -f 1)"
echo "$folder"
