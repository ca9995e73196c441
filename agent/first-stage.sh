#!/bin/sh
# The agent's privileged first stage: pid 1 of a node, started by the container runtime as
#   /.nexus/rt/bin/busybox sh /.nexus/rt/first-stage.sh
# It attaches and mounts the node's volume, puts a writable root that lies on that volume over the read-only image,
# drops every privilege and becomes the unprivileged agent. Nothing of it is left running.
#
# It trusts neither the image nor the volume, because whoever is root in a node wrote both. Its root folder is an empty
# one of the runtime, so that no program, library, /etc/ld.so.preload or nsswitch.conf of theirs is ever read with
# privileges; image and volume are mounted at /image and /volume, and nothing below them is used by name before it was
# seen to be no link. No other process runs in the node meanwhile, so what was seen stays true. The last privileged
# step, which enters the new root, is made by static busybox alone. See enter.
# Environment: NEXUS_LOOP_DEVICE (number), NEXUS_VOLUME_UUID, NEXUS_AGENT_UID (uid and gid of the agent).
# Each failure's last line on standard error starts with "first-stage: " and is made for people; what a tool said about it
# stands in a line before. Exit codes:
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
# Nothing else may be found by name: mount looks for helpers. What people run by hand in the node has a PATH of its own.
export PATH=$RT/bin
IMAGE=/.nexus/volume.img
LOCK=/.nexus/volume.lock
# Folders of the runtime's own empty root. VOLUME is left behind with it: in the node only /data is bound from there.
VOLUME=/volume
LOWER=/image
ROOT=/root # where the new root is put together; see writable_root
HIDDEN=$VOLUME/.root
# What starting takes while the node's own files have all inodes or blocks; released first, taken again before it runs.
RESERVE=$HIDDEN/reserve
RESERVED_INODES=24
RESERVED_BYTES=262144
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
# fail_of CODE SAID TEXT: the tool's words for the log, in one line, and ours for people.
fail_of() {
  say "said: $(echo "$2" | bb tr '\n' ' ' | bb cut -c 1-400)"
  fail "$1" "$3"
}
first_line() { echo "$1" | bb head -n 1; }

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
      fail_of 73 "$problem" "$LOOP cannot be attached; is it in use by something else? The setting loop-base chooses other devices"
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
    *) fail_of 72 "$said" "the volume's file system is damaged, and e2fsck does not repair it without a person" ;;
  esac
}

mount_volume() {
  problem=$(bb mount -t ext4 -o nosuid,nodev "$LOOP" "$VOLUME" 2>&1) ||
    fail_of 74 "$problem" "the volume cannot be mounted; the kernel's log may tell why"
  # From now on the device detaches by itself when the file system is unmounted.
  rt losetup -d "$LOOP" || fail 74 "$LOOP cannot be told to detach on unmount"
  attached=
  bb umount -l "$IMAGE" && bb rm "$LOOP" "$IMAGE" "$LOCK" || fail 74 "the way below the file system cannot be closed"
  folder "$HIDDEN" /data/.root && folder "$RESERVE" /data/.root/reserve && bb rm -f "$RESERVE"/* &&
    folder "$HIDDEN/upper" /data/.root/upper && folder "$HIDDEN/work" /data/.root/work && folder "$VOLUME/chunks" /data/chunks &&
    folder "$VOLUME/tmp" /data/tmp && folder "$VOLUME/.agent" /data/.agent && bb mkdir -p /.nexus/run &&
    bb chown 0:0 "$VOLUME" "$HIDDEN" "$HIDDEN/upper" && bb chmod 755 "$VOLUME" "$HIDDEN/upper" &&
    bb chown "$NEXUS_AGENT_UID:$NEXUS_AGENT_UID" "$VOLUME/chunks" "$VOLUME/tmp" "$VOLUME/.agent" /.nexus/run &&
    bb chmod 700 "$VOLUME/chunks" "$VOLUME/tmp" "$VOLUME/.agent" "$HIDDEN" && bb chmod 755 /.nexus/run ||
    fail 74 "the volume's folders cannot be made: is the volume full?"
}

# folder PATH NAME: makes it a folder. A link there, or any other thing, was put there by somebody in the node, to lead
# us elsewhere or by mistake; it goes. The folder above is known to be one.
folder() {
  if [ -L "$1" ] || { [ -e "$1" ] && [ ! -d "$1" ]; }; then
    bb rm -f "$1" && say "$2 was not a folder; what was in its place is removed" || return 1
  fi
  [ -d "$1" ] || bb mkdir "$1"
}

# The same for a file that something is mounted on. The content of a folder in its place is nothing to throw away.
plain_file() {
  if [ -L "$1" ] || { [ -e "$1" ] && [ ! -f "$1" ]; }; then bb rm -f "$1" 2>/dev/null || return 1; fi
  [ -f "$1" ] || { : >"$1"; } 2>/dev/null
}

# Whatever is written to the node's root file system lies on its own volume and is bounded by it. The folder that holds
# it is seen by nobody in the node: what is there is read by the kernel as the node's root, with the image below.
writable_root() {
  problem=$(bb mount -t overlay overlay \
    -o "nosuid,nodev,lowerdir=$LOWER,upperdir=$HIDDEN/upper,workdir=$HIDDEN/work" "$ROOT" 2>&1) ||
    fail_of 75 "$problem" "the writable root cannot be mounted; the kernel's log may tell why"
  for place in proc dev sys tmp data .nexus; do
    folder "$ROOT/$place" "/$place" || fail 75 "the mount point /$place cannot be made: is the volume full?"
  done
  bb mount -o bind "$VOLUME" "$ROOT/data" &&
    bb mount -t tmpfs -o ro,nosuid,nodev,noexec,size=4k,nr_inodes=1,mode=700 hidden "$ROOT/data/.root" ||
    fail 75 "/data cannot be bound"
  names_of_node
  take_reserve
  for place in dev sys tmp; do move_mount "/$place"; done
  # Everything is called by its new path once /.nexus itself has moved.
  move_mount /.nexus
  RT=$ROOT/.nexus/rt
  move_mount /proc
}

move_mount() { bb mount -o move "$1" "$ROOT$1" || fail 75 "$1 cannot be moved into the writable root"; }

# Host name and name servers are the runtime's, whatever the image or the node's last run left there. They can be
# written to, and begin anew with each start. A node without them is better than none.
names_of_node() {
  [ -d /.nexus/config/etc ] || return 0
  bb cp -r /.nexus/config/etc /.nexus/etc && bb chown -R 0:0 /.nexus/etc && bb chmod 755 /.nexus/etc || return 0
  [ ! -L "$ROOT/etc" ] && { [ -d "$ROOT/etc" ] || bb mkdir "$ROOT/etc" 2>/dev/null; } ||
    { say "/etc is not a folder; hosts, hostname and resolv.conf are not set"; return 0; }
  for name in hosts hostname resolv.conf; do
    bb chmod 644 "/.nexus/etc/$name" && plain_file "$ROOT/etc/$name" &&
      bb mount -o bind "/.nexus/etc/$name" "$ROOT/etc/$name" || say "/etc/$name cannot be set"
  done
}

# Taken last, when nothing of the start needs room any more, and before anything of the node runs.
take_reserve() {
  {
    bb fallocate -l "$RESERVED_BYTES" "$RESERVE/0" || bb rm -f "$RESERVE/0"
    number=1
    while [ $number -lt $RESERVED_INODES ] && : >"$RESERVE/$number"; do number=$((number + 1)); done
  } 2>/dev/null
}

# Runs as the agent's user with CAP_SYS_ADMIN alone, and with nothing but static busybox: from pivot_root on, every
# other file in sight may be the node's. What is started at the end has no capability left.
enter() {
  cd "$ROOT" && bb pivot_root . .nexus/run || fail 75 "the root cannot be changed"
  RT=/.nexus/rt
  cd / && bb umount -l /.nexus/run || fail 75 "the old root cannot be left"
  # The flags keep an agent at rest at 12 MB of its own instead of 17; measured, transfers are no slower.
  # --library-path reaches node alone: LD_LIBRARY_PATH would leak into whatever else is started.
  # -v: tini says how the agent ended, which the agent can't when it is killed.
  exec "$RT/bin/busybox" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    UV_THREADPOOL_SIZE=4 MALLOC_ARENA_MAX=2 NEXUS_AGENT_CONFIG=/.nexus/config/agent.json \
    "$RT/bin/busybox" setpriv --ambient-caps=-sys_admin --inh-caps=-sys_admin \
    "$RT/lib/loader" --library-path "$RT/lib" "$RT/bin/tini" -v -- \
    "$RT/lib/loader" --library-path "$RT/lib" "$RT/bin/node" --max-semi-space-size=1 --optimize-for-size \
    --v8-pool-size=0 --single-threaded-gc --inspect-port=192.0.2.1:65535 "$RT/agent.cjs"
}

if [ "${1:-}" = enter ]; then
  RT=$ROOT/.nexus/rt
  enter
fi
check_environment
lock_volume
check_identity
attach_volume
check_file_system
mount_volume
writable_root
exec "$RT/lib/loader" --library-path "$RT/lib" "$RT/bin/setpriv" \
  --reuid "$NEXUS_AGENT_UID" --regid "$NEXUS_AGENT_UID" --clear-groups --no-new-privs \
  --bounding-set=-all --inh-caps=-all,+sys_admin --ambient-caps=-all,+sys_admin \
  "$RT/bin/busybox" sh "$RT/first-stage.sh" enter
