#!/bin/sh
# Makes the world that sandboxes are forked from, in a mount namespace of its own, and becomes the launcher in it:
#
#   busybox unshare -m busybox sh stage.sh BUSYBOX IMAGE PROGRAM SOCKETS
#
# IMAGE is a root file system with python3, PROGRAM the folder of this file, SOCKETS where the launcher listens. The host
# sees none of these mounts. What the launcher alone needs (/sys: the host's cgroups, /proc: the host's processes, /mnt
# and /data: its program and its socket) each sandbox takes off before anything else.
set -eu

BUSYBOX=$1 IMAGE=$2 PROGRAM=$3 SOCKETS=$4
bb() { "$BUSYBOX" "$@"; }
fail() {
  echo "sandbox launcher: $*" >&2
  exit 1
}

[ -e "$IMAGE/usr/bin/python3" ] || [ -L "$IMAGE/usr/bin/python3" ] || fail "$IMAGE has no /usr/bin/python3"
for place in proc dev sys tmp mnt data; do
  [ -d "$IMAGE/$place" ] && [ ! -L "$IMAGE/$place" ] || fail "$IMAGE has no folder /$place to mount on"
done

bb mount --make-rprivate /
# Not a bind mount: that would show in each sandbox where on the host the image lies. It takes two folders, of which one
# is empty.
cd "$IMAGE"
bb mount -t tmpfs -o ro,size=4k,nr_inodes=1 none mnt
bb mount -t overlay -o ro,nosuid,nodev,lowerdir=.:mnt root "$IMAGE"

bb mount -t tmpfs -o nosuid,noexec,mode=755,size=64k,nr_inodes=32 dev "$IMAGE/dev"
device() { bb mknod -m 666 "$IMAGE/dev/$1" c 1 "$2"; }
device null 3
device zero 5
device full 7
device random 8
device urandom 9
bb ln -s /proc/self/fd "$IMAGE/dev/fd"
bb ln -s /proc/self/fd/0 "$IMAGE/dev/stdin"
bb ln -s /proc/self/fd/1 "$IMAGE/dev/stdout"
bb ln -s /proc/self/fd/2 "$IMAGE/dev/stderr"
# POSIX semaphores of multiprocessing live here; in a sandbox /tmp is what can be written.
bb ln -s /tmp "$IMAGE/dev/shm"
bb mount -o remount,ro,nosuid,noexec "$IMAGE/dev"

bb mount -o rbind /sys/fs/cgroup "$IMAGE/sys"
bb mount -o rbind /proc "$IMAGE/proc"
bb mount -o bind "$PROGRAM" "$IMAGE/mnt"
bb mount -o remount,bind,ro "$IMAGE/mnt"
bb mount -o bind "$SOCKETS" "$IMAGE/data"

cd "$IMAGE"
bb pivot_root . tmp
# The old root goes through a program of the new one: nothing of the host is reachable from here on.
exec "tmp$BUSYBOX" env -i "tmp$BUSYBOX" chroot . /usr/bin/python3 -I -S -B -X utf8 /mnt/launcher.py
