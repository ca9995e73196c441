#!/bin/sh
# The agent's privileged first stage: pid 1 of a node, started by the container runtime as
#   /.nexus/rt/bin/busybox sh /.nexus/rt/first-stage.sh
# It attaches and mounts the node's volume, puts a writable root that lies on that volume over the read-only image,
# drops every privilege and becomes the unprivileged agent. Nothing of it is left running.
#
# Every program comes from the runtime folder, so that any root file system will do, even an empty one.
# Environment: NEXUS_LOOP_DEVICE (number), NEXUS_VOLUME_UUID, NEXUS_AGENT_UID (uid and gid of the agent).
# Each failure has one line on standard error that starts with "first-stage: " and an exit code of its own:
#   64  a variable is missing or malformed
#   70  the volume is in use by another node
#   71  the volume is not this node's, or not an ext4 file system
#   72  the file system is damaged beyond what may be repaired without a person
#   73  the loop device cannot be attached
#   74  the volume cannot be mounted or prepared
#   75  the writable root cannot be set up
set -u
unset IFS

RT=/.nexus/rt
IMAGE=/.nexus/volume.img
LOCK=/.nexus/volume.lock
VOLUME=/.nexus/data
ROOT=/sys # where the new root is put together; see writable_root
attached=

bb() { "$RT/bin/busybox" "$@"; }
# The others are dynamically linked: started through the loader that lies beside them.
rt() {
  rt_name=$1
  shift
  "$RT/lib/loader" --library-path "$RT/lib" "$RT/bin/$rt_name" "$@"
}
say() { echo "first-stage: $*" >&2; }
fail() {
  fail_code=$1
  shift
  say "$*"
  # Mounted: the kernel detaches when the mount namespace ends with this process. Not mounted: at once.
  [ -z "$attached" ] || rt losetup -d "$LOOP" 2>/dev/null
  exit "$fail_code"
}
first_line() { echo "$1" | bb head -n 1; }
last_line() { echo "$1" | bb tail -n 1; }

check_environment() {
  case ${NEXUS_LOOP_DEVICE:-} in '' | *[!0-9]*) fail 64 "NEXUS_LOOP_DEVICE must be a number" ;; esac
  case ${NEXUS_AGENT_UID:-} in '' | 0 | *[!0-9]*) fail 64 "NEXUS_AGENT_UID must be a number other than 0" ;; esac
  LOOP=/dev/loop$NEXUS_LOOP_DEVICE
  WANTED=$(echo "${NEXUS_VOLUME_UUID:-}" | bb tr -d - | bb tr A-F a-f)
  [ ${#WANTED} -eq 32 ] || fail 64 "NEXUS_VOLUME_UUID must be a UUID"
}

# The lock is held by every process from here on, through descriptor 9, and so ends with the node. The descriptor
# is read-only and from a read-only mount: through /proc/<pid>/fd nobody gets a way to write below the file system.
lock_volume() {
  bb touch "$LOCK" && bb mount -o bind "$IMAGE" "$LOCK" && bb mount -o remount,bind,ro "$LOCK" ||
    fail 70 "the volume's image cannot be opened"
  exec 9<"$LOCK"
  rt flock -n -x 9 || fail 70 "the volume is in use by another node; stop that node first"
  bb umount -l "$LOCK"
}

# Superblock: at byte 1024; magic at 56, features that need support at 96 (bit 2: journal to be replayed), UUID at 104.
check_identity() {
  superblock=$(bb dd if="$IMAGE" bs=8 skip=128 count=15 2>/dev/null | bb hexdump -v -e '1/1 "%02x"')
  [ "${superblock:112:4}" = 53ef ] || fail 71 "the volume has no ext4 file system"
  [ "${superblock:208:32}" = "$WANTED" ] ||
    fail 71 "the volume has UUID ${superblock:208:32}, not this node's $WANTED; give the node its own volume back"
  dirty=$((0x${superblock:192:2} & 4))
}

# An earlier run of this node may have been killed a moment ago: the kernel detaches its device only after that
# mount namespace is gone. Only an attachment of this very image is waited for, and for 5 s at the most.
attach_volume() {
  tries=50
  until problem=$(rt losetup "$LOOP" "$IMAGE" 2>&1); do
    backing=$(rt losetup --noheadings --output BACK-INO "$LOOP" 2>/dev/null | bb tr -d ' ')
    [ "$backing" = "$(bb stat -c %i "$IMAGE")" ] && [ $tries -gt 0 ] ||
      fail 73 "$LOOP cannot be attached: $(last_line "$problem")"
    rt losetup -d "$LOOP" 2>/dev/null
    tries=$((tries - 1))
    bb usleep 100000
  done
  attached=yes
  # Without a second copy of every page in the host's cache, where the file system below can do that.
  rt losetup --direct-io=on "$LOOP" 2>/dev/null || say "the host's file system has no direct I/O for volumes; going without"
}

# Checked through the loop device, so that a file system that is still mounted anywhere by it is refused.
check_file_system() {
  said=$(rt e2fsck -p "$LOOP" 2>&1)
  case $? in
    0) [ "$dirty" -eq 0 ] || say "volume was dirty, checked" ;;
    1 | 2) say "volume was repaired: $(first_line "$said")" ;;
    *) fail 72 "the volume's file system is damaged ($(first_line "$said")); run e2fsck on the image by hand" ;;
  esac
}

mount_volume() {
  bb mkdir -p "$VOLUME"
  problem=$(bb mount -t ext4 -o nosuid,nodev "$LOOP" "$VOLUME" 2>&1) ||
    fail 74 "the volume cannot be mounted: $(last_line "$problem")"
  # From now on the device detaches by itself when the file system is unmounted.
  rt losetup -d "$LOOP" || fail 74 "$LOOP cannot be told to detach on unmount"
  attached=
  bb umount -l "$IMAGE" && bb rm "$LOOP" "$IMAGE" "$LOCK" || fail 74 "the way below the file system cannot be closed"
  bb chown 0:0 "$VOLUME" && bb chmod 755 "$VOLUME" &&
    bb mkdir -p "$VOLUME/chunks" "$VOLUME/tmp" "$VOLUME/.agent" "$VOLUME/.root" /.nexus/run &&
    bb chown "$NEXUS_AGENT_UID:$NEXUS_AGENT_UID" "$VOLUME/chunks" "$VOLUME/tmp" "$VOLUME/.agent" /.nexus/run &&
    bb chmod 700 "$VOLUME/chunks" "$VOLUME/tmp" "$VOLUME/.agent" "$VOLUME/.root" &&
    bb chmod 755 /.nexus/run &&
    bb mkdir -p "$VOLUME/.root/upper" "$VOLUME/.root/work" &&
    bb chmod 755 "$VOLUME/.root/upper" ||
    fail 74 "the volume's folders cannot be made: is the volume full?"
}

# Whatever is written to the node's root file system lies on its own volume and is bounded by it. The image may
# lack every folder that is not a mount point already, so the new root is put together over /sys, which moves aside.
writable_root() {
  mounts=$(root_mounts)
  bb mkdir -p /.nexus/sys /.nexus/old && bb mount -o move /sys /.nexus/sys || fail 75 "/sys cannot be moved aside"
  upper=$VOLUME/.root/upper
  problem=$(bb mount -t overlay overlay \
    -o "nosuid,nodev,lowerdir=/,upperdir=$upper,workdir=$VOLUME/.root/work" "$ROOT" 2>&1) ||
    fail 75 "the writable root cannot be mounted: $(last_line "$problem")"
  for mount in $mounts; do
    case $mount in /sys | /.nexus) ;; *) move_mount "$mount" ;; esac
  done
  bb mkdir -p "$ROOT/.nexus" "$ROOT/sys" "$ROOT/data" || fail 75 "mount points cannot be made: is the volume full?"
  # Everything is called by its new path once /.nexus itself has moved.
  bb mount -o move /.nexus "$ROOT/.nexus" || fail 75 "/.nexus cannot be moved"
  RT=$ROOT/.nexus/rt
  cd "$ROOT" && bb pivot_root . .nexus/old || fail 75 "the root cannot be changed"
  RT=/.nexus/rt
  cd / && bb mount -o move /.nexus/sys /sys && bb mount -o move /.nexus/data /data ||
    fail 75 "/sys and /data cannot be moved into place"
  bb umount -l /.nexus/old && bb rmdir /.nexus/old /.nexus/sys /.nexus/data || fail 75 "the old root cannot be left"
}

# Mount points directly on the root mount: what the runtime put there moves into the new root, whatever it is.
root_mounts() {
  bb awk '$5 == "/" { root = $1 } { parent[NR] = $2; point[NR] = $5 }
    END { for (i = 1; i <= NR; i++) if (parent[i] == root) print point[i] }' /proc/self/mountinfo
}

# Over folders and over single files, as a runtime binds /etc/hosts.
move_mount() {
  if [ -d "$1" ]; then
    bb mkdir -p "$ROOT$1"
  else
    bb mkdir -p "$ROOT${1%/*}" && { [ -e "$ROOT$1" ] || : >"$ROOT$1"; }
  fi && bb mount -o move "$1" "$ROOT$1" || fail 75 "$1 cannot be moved into the writable root"
}

check_environment
lock_volume
check_identity
attach_volume
check_file_system
mount_volume
writable_root

# The flags keep an agent at rest at 12 MB of its own instead of 17; measured, transfers are no slower.
# --library-path reaches node alone: LD_LIBRARY_PATH would leak into whatever else is started.
# -v: tini says how the agent ended, which the agent can't when it is killed.
exec "$RT/bin/busybox" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  UV_THREADPOOL_SIZE=4 MALLOC_ARENA_MAX=2 NEXUS_AGENT_CONFIG=/.nexus/config/agent.json \
  "$RT/lib/loader" --library-path "$RT/lib" "$RT/bin/setpriv" \
  --reuid "$NEXUS_AGENT_UID" --regid "$NEXUS_AGENT_UID" --clear-groups \
  --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs \
  "$RT/bin/tini" -v -- \
  "$RT/lib/loader" --library-path "$RT/lib" "$RT/bin/node" --max-semi-space-size=1 --optimize-for-size \
  --v8-pool-size=0 --single-threaded-gc "$RT/agent.cjs"
