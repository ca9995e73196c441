#!/bin/bash -p
# Makes dist/runtime/, the folder that every node gets read-only at /.nexus/rt: Node and a few tools with the dynamic
# loader and all libraries that they need, so that the agent runs on any root file system, even an empty one.
#
# Built beside and renamed into place; made anew only when a copied file changed on the host. A new agent
# replaces just its files. Living nodes keep the folder that they were started with.
set -euo pipefail
umask 022
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

readonly RUNTIME=dist/runtime
# One line for each copied file: size, time of change, inode, path. Beside the folder: nodes needn't see host paths.
readonly INPUTS=dist/.runtime-inputs
# agent.cjs, which names the bundle with its bytecode beside it.
readonly AGENT=dist/agent
readonly INIT=dist/node-init
readonly SYNC=dist/volume-sync
readonly UNREADABLE=711

fail() {
  echo "agent runtime: $*" >&2
  exit 1
}

# program PACKAGE NAME...: the first name that is on this host.
program() {
  local package=$1 name found
  shift
  for name in "$@"; do
    if found=$(command -v "$name"); then
      readlink -f "$found"
      return
    fi
  done
  fail "$1 is missing; install the package $package"
}

is_static() { ! ldd "$1" >/dev/null 2>&1; }

describe_inputs() { stat -L -c '%s %Y %i %n' "$@" 2>/dev/null; }

# The folder is up to date when every file that went into it is what it was, Node's own path included.
is_current() {
  [ -f "$INPUTS" ] && [ -x "$RUNTIME/bin/node" ] || return 1
  local recorded paths
  recorded=$(<"$INPUTS")
  # Made before the loader was changed; see build_runtime.
  if [ "$(stat -L -c %a "$RUNTIME/lib/loader")" != $UNREADABLE ] || [ ! -e "$RUNTIME/bin/volume-sync" ]; then return 1; fi
  if grep -q /etc/ld.so.preload "$RUNTIME/lib/loader"; then return 1; fi
  mapfile -t paths < <(cut -d ' ' -f 4- "$INPUTS")
  [ "${paths[0]:-}" = "$NODE" ] && [ "$(describe_inputs "${paths[@]}")" = "$recorded" ]
}

# Where nothing can be written, as on an image of a system, what was built elsewhere will do: inodes and times say nothing
# there. It has to be this host's version of Node, and to run.
serves_read_only() {
  [ ! -w dist ] && [ -x "$RUNTIME/lib/loader" ] || return 1
  [ "$("$RUNTIME/lib/loader" --library-path "$RUNTIME/lib" "$RUNTIME/bin/node" --version 2>&1)" = "$("$NODE" --version)" ]
}

build_runtime() {
  local busybox new
  busybox=$(program busybox-static busybox)
  is_static "$busybox" || fail "$busybox is not static; install the package busybox-static"
  is_static "$INIT" || fail "$INIT is not static; install the package libc6-dev, remove $INIT and run npm run build"

  is_static "$SYNC" || fail "$SYNC is not static; install the package libc6-dev, remove $SYNC and run npm run build"

  local listing loader libraries
  listing=$(ldd "$NODE") || fail "the libraries of $NODE cannot be listed"
  if grep -q 'not found' <<<"$listing"; then fail "a library is missing:$(grep -m 1 'not found' <<<"$listing")"; fi
  # Lines are "name => /path (address)", and for the loader "/path (address)".
  loader=$(awk '$1 ~ /^\/.*\/ld-linux/ { print $1; exit }' <<<"$listing")
  [ -n "$loader" ] || fail "no glibc loader (ld-linux*) found for $NODE; musl systems cannot host nodes"
  mapfile -t libraries < <(awk '$2 == "=>" && $3 ~ /^\// { print $3 }' <<<"$listing" | sort -u)

  new=$(mktemp -d dist/.runtime.XXXXXX)
  # Expanded now: the variable is gone when the trap runs.
  # shellcheck disable=SC2064
  trap "rm -rf '$new'" EXIT
  mkdir "$new/bin" "$new/lib"
  cp -L --preserve=timestamps "$NODE" "$new/bin/node"
  cp -L --preserve=timestamps "$INIT" "$new/bin/init"
  # For OCI runtimes that have to look into the first process; see below.
  cp -L --preserve=timestamps "$INIT" "$new/bin/init-open"
  cp -L --preserve=timestamps "$SYNC" "$new/bin/volume-sync"
  cp -L --preserve=timestamps "$busybox" "$new/bin/busybox"
  cp -L --preserve=timestamps "${libraries[@]}" "$loader" "$new/lib/"
  # Whoever is root in a node writes its /etc/ld.so.preload, and the loader has no option to leave it out. The other name,
  # of the same length, is in the read-only folder that this becomes, and never there.
  LC_ALL=C sed -i 's|/etc/ld\.so\.preload|/.nexus/rt/preload|' "$new/lib/$(basename "$loader")"
  # One name for the loader on every processor.
  ln -s "$(basename "$loader")" "$new/lib/loader"
  copy_agent "$new"
  chmod -R u+rwX,a+rX,go-w "$new"
  chmod 0755 "$new" "$new"/bin/*
  # A process of a program that it may not read can't be looked into by others of its user, nor by root of its node.
  chmod $UNREADABLE "$new/lib/$(basename "$loader")" "$new/bin/init" "$new/bin/volume-sync"
  "$new/lib/loader" --library-path "$new/lib" "$new/bin/node" -e 0 || fail "the copied Node does not run"

  # Without the record a run that ends between the two renames is simply done again.
  rm -f "$INPUTS"
  rm -rf dist/.runtime.old
  if [ -e "$RUNTIME" ]; then mv -T "$RUNTIME" dist/.runtime.old; fi
  mv -T "$new" "$RUNTIME"
  rm -rf dist/.runtime.old
  describe_inputs "$NODE" "$INIT" "$SYNC" "$busybox" "$loader" "${libraries[@]}" >"$INPUTS"
}

copy_agent() {
  install -m 0644 "$AGENT"/* "$1/"
}

is_agent_current() {
  local file
  for file in "$AGENT"/*; do cmp -s "$file" "$RUNTIME/${file##*/}" || return 1; done
}

# Each file is replaced by renaming, and the one that names the others comes last, so that a node that starts meanwhile reads
# one agent or the other. Earlier ones stay for a while for that reason.
update_agent() {
  local file
  for file in "$AGENT"/agent-* "$AGENT/agent.cjs"; do
    install -m 0644 "$file" "$RUNTIME/${file##*/}.new"
    mv -T "$RUNTIME/${file##*/}.new" "$RUNTIME/${file##*/}"
  done
  find "$RUNTIME" -maxdepth 1 -name 'agent-*' -mmin +60 -exec sh -c '[ -e "$1/${2##*/}" ] || rm -f "$2"' sh "$AGENT" {} \;
}

[ -f "$AGENT/agent.cjs" ] || fail "$AGENT/agent.cjs is missing; build first: node deploy/build.mjs"
# Not what PATH says: that may be a wrapper of a version manager.
NODE=$(readlink -f "${NEXUS_NODE:-$(node -p process.execPath)}")
readonly NODE

# --check: only say by the exit code whether there is anything to do.
if is_current; then
  if is_agent_current; then exit 0; fi
  if [ "${1:-}" = --check ]; then exit 1; fi
  update_agent
elif serves_read_only; then
  exit 0
elif [ "${1:-}" = --check ]; then
  exit 1
else
  build_runtime
fi
