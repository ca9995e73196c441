#!/bin/bash -p
# Makes the root file system of nodes that are created without --image: Debian with python3 and busybox, as one tar.
#
#   deploy/base-image.sh [--force] [--output FILE]
#
# Without --output: .cache/base-image-<codename>.tar, made only when it is missing. Needs root (files are owned by
# root and python3 is tried in a chroot), mmdebstrap, and Debian's mirrors as /etc/apt has them on a Debian host.
set -euo pipefail
umask 022
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

readonly PACKAGES=base-files,python3-minimal,libpython3-stdlib,busybox-static,libstdc++6

say() { echo "base image: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

# Debian's own name for its release; other systems have no Debian mirrors configured and get the current one.
codename() {
  local id name
  id=$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null || true)
  name=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null || true)
  if [ "$id" = debian ] && [ -n "$name" ]; then echo "$name"; else echo bookworm; fi
}

force='' output=''
while [ $# -gt 0 ]; do
  case $1 in
    --force) force=yes ;;
    --output)
      output=${2:?--output needs a file}
      shift
      ;;
    *) fail "unknown option $1; usage: base-image.sh [--force] [--output FILE]" ;;
  esac
  shift
done

release=$(codename)
output=${output:-.cache/base-image-$release.tar}
if [ -z "$force" ] && [ -s "$output" ]; then exit 0; fi

[ "$(id -u)" = 0 ] || fail "needs root; run: sudo $0 --output $output"
command -v mmdebstrap >/dev/null || fail "mmdebstrap is missing; install it: apt-get install mmdebstrap"

mkdir -p "$(dirname "$output")"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/nexus-base-image.XXXXXX")
trap 'rm -rf "$work" "$output.new"' EXIT
tree=$work/root

say "unpacking Debian $release (python3, busybox) with mmdebstrap ..."
# extract: package scripts don't run; what they would have set up and nodes need is done by hand below.
if ! mmdebstrap --variant=extract --include="$PACKAGES" "$release" "$tree" >"$work/log" 2>&1; then
  tail -n 15 "$work/log" >&2
  fail "mmdebstrap failed; are Debian's mirrors reachable and named in /etc/apt? Any root file system tarball will do instead: nexus image import base FILE.tar"
fi

say "setting up users, shell and applets ..."
# Every applet under /bin unless a package has a program of that name.
mkdir -p "$tree/usr/local/bin" "$tree/dev" "$tree/proc" "$tree/sys" "$tree/run" "$tree/data" "$tree/tmp" "$tree/root"
for applet in $("$tree/bin/busybox" --list); do
  for folder in bin sbin usr/bin usr/sbin; do
    if [ -e "$tree/$folder/$applet" ] || [ -L "$tree/$folder/$applet" ]; then continue 2; fi
  done
  ln -s busybox "$tree/bin/$applet"
done

cat >"$tree/etc/passwd" <<'END'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
END
cat >"$tree/etc/group" <<'END'
root:x:0:
daemon:x:1:
tty:x:5:
nogroup:x:65534:
END
# Where mmdebstrap runs it puts the host's own name service in; a node's is its runtime's business.
cat >"$tree/etc/hosts" <<'END'
127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
END
rm -f "$tree/etc/resolv.conf"
: >"$tree/etc/resolv.conf"
: >"$tree/etc/hostname"
cat >"$tree/etc/nsswitch.conf" <<'END'
passwd: files
group: files
hosts: files dns
END
cat >"$tree/etc/profile" <<'END'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PAGER=more
# Read by each interactive shell, login shell or not.
export ENV=/etc/shrc
for script in /etc/profile.d/*.sh; do
  [ ! -r "$script" ] || . "$script"
done
unset script
END
cat >"$tree/etc/shrc" <<'END'
if [ "$(id -u)" = 0 ]; then PS1='root@$(hostname):$PWD# '; else PS1='$(hostname):$PWD$ '; fi
alias ll='ls -l'
END
ln -sf python3 "$tree/usr/bin/python"
chmod 1777 "$tree/tmp"
chmod 0700 "$tree/root"

# Not needed in a node, and a good part of the size.
rm -rf "$tree"/usr/share/{doc,man,locale,lintian,bug} "$tree"/var/cache/apt "$tree"/var/lib/apt "$tree"/etc/apt "${tree:?}"/dev/*

chroot "$tree" /usr/bin/python3 -c 'import json, hashlib, subprocess' || fail "python3 does not run in the new image"
chroot "$tree" /bin/sh -c 'ls / && ps && ip -V; vi --help' >/dev/null 2>&1 || fail "the shell does not run in the new image"

say "writing $output ..."
tar --create --file "$output.new" --directory "$tree" --numeric-owner --sort=name .
chmod 0644 "$output.new"
if [ "$(stat -c %u .)" != 0 ]; then chown --reference=. "$output.new" "$(dirname "$output")"; fi
mv -T "$output.new" "$output"
say "done, $(du -h "$output" | cut -f 1)"
