#!/bin/bash -p
# Installs and builds what is missing, and nothing else: every step checks first, so that this costs a quarter of a
# second when all is there.
#
#   deploy/bootstrap.sh [--for up|test|cli|vm] [--runtime NAME] [--quiet]
#
# cli: what the command line needs. up, test: all that nodes need too; with --runtime process that is less, and root
# is not needed. vm: what test needs, and an emulator with a system for it to boot. A step that can't run says what it wanted, why it can't and how to do it by hand, and this ends with
# exit code 1.
set -euo pipefail
umask 022

ROOT=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
readonly ROOT
cd "$ROOT"
# Users' paths often lack the folders where ip, losetup and mkfs are.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# The oldest Node that is supported: package.json says the same to npm.
readonly NODE_MAJOR=20 NODE_MINOR=19
# Beside the runtime's own.
readonly CONTAINER_PACKAGES=(nats-server iproute2 nftables e2fsprogs mmdebstrap busybox-static util-linux perl-base)
# PostgreSQL is the store of a few tests; whoever wants it for a cluster has it on a host of its own. curl and jq stand in
# the documentation, whose lines are run; the shells have completions, systemd the units that are checked, and Prometheus
# scrapes and reads the alerts.
readonly TEST_PACKAGES=(postgresql curl jq zsh fish systemd prometheus)
# For the tests in a virtual machine alone.
readonly VM_PACKAGES=(qemu-system-x86 cpio)

# shellcheck source=deploy/lib/steps.sh
. deploy/lib/steps.sh
# shellcheck source=deploy/lib/runtimes.sh
. deploy/lib/runtimes.sh
# shellcheck source=deploy/lib/packages.sh
. deploy/lib/packages.sh
# shellcheck source=deploy/lib/node-modules.sh
. deploy/lib/node-modules.sh
# shellcheck source=deploy/lib/sources.sh
. deploy/lib/sources.sh

usage() {
  echo "bootstrap: $1; usage: deploy/bootstrap.sh [--for up|test|cli|vm] [--runtime NAME] [--quiet]" >&2
  exit 2
}

purpose=up runtime=runc
while [ $# -gt 0 ]; do
  case $1 in
    --for) purpose=${2:-} && shift ;;
    --runtime) runtime=${2:-} && shift ;;
    --quiet) quiet=yes ;;
    *) usage "unknown option $1" ;;
  esac
  shift || usage 'an option lacks its value'
done
case $purpose in up | test | cli | vm) ;; *) usage "--for must be up, test, cli or vm" ;; esac
is_runtime "$runtime" || usage "there is no runtime $runtime"

# The folder itself is what is locked: no lock file that root might leave behind.
lock_checkout() {
  exec 9<"$ROOT/deploy"
  flock -n 9 && return
  echo 'waiting for another bootstrap of this checkout ...' >&2
  flock -w 900 9 || cannot 'to set this checkout up' 'another bootstrap holds it for 15 minutes' 'end it, then run this again'
}

must_write_checkout() {
  [ -w "$ROOT" ] || cannot "to write $ROOT/$1" "the checkout belongs to $(stat -c %U "$ROOT")" "run this as $(stat -c %U "$ROOT") or as root"
}

node_check() {
  local major minor
  IFS=. read -r major minor _ <<<"$NODE_VERSION"
  echo "$NODE_VERSION"
  [ -n "$major" ] && { [ "$major" -gt $NODE_MAJOR ] || { [ "$major" -eq $NODE_MAJOR ] && [ "$minor" -ge $NODE_MINOR ]; }; }
}

node_missing() {
  cannot "Node.js $NODE_MAJOR.$NODE_MINOR or newer" "${NODE_VERSION:-no node at all} is what PATH has" 'install it from https://nodejs.org'
}

packages_needed() {
  local program
  program=$(runtime_program "$runtime")
  if [ -z "$program" ]; then
    echo nats-server
  else
    echo "$program ${CONTAINER_PACKAGES[*]}"
    case $purpose in
      test) echo "$(tested_programs) ${TEST_PACKAGES[*]}" ;;
      vm) echo "${VM_PACKAGES[*]}" ;;
    esac
  fi
  # At once with the others: apt takes its time for each call.
  if [ -n "$must_compile" ]; then echo "${NATIVE_COMPILERS[*]} gcc libc6-dev"; fi
}

packages_check() {
  local missing
  # shellcheck disable=SC2046
  missing=$(missing_packages $(packages_needed))
  [ -z "$missing" ] && return
  echo "installing $missing"
  return 1
}

packages_install() {
  # shellcheck disable=SC2046
  install_packages $(missing_packages $(packages_needed))
}

SERVICE_USER=${NEXUS_SERVICE_USER:-nexus}
user_check() {
  getent passwd "$SERVICE_USER" >/dev/null && echo "$SERVICE_USER" && return
  echo "adding $SERVICE_USER"
  return 1
}

user_add() {
  as_root "the system user $SERVICE_USER, whom nats-server and the gateway run as" \
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$SERVICE_USER"
}

build_check() {
  sources_changed "$ROOT" || return 0
  echo 'bundling'
  return 1
}

build_run() {
  must_write_checkout dist
  logged as_owner node deploy/build.mjs
}

# The part of the build that needs a compiler; nothing else does where npm had the native modules ready. PROGRAM:SOURCE.
C_SOURCES=(log-writer:controller/log/log-writer.c node-init:controller/hosting/contained/node-init.c volume-sync:controller/hosting/contained/volume-sync.c node-stage:controller/hosting/contained/{node-stage.c,node-volume.c,take-over.c,node-stage.h})

log_writer_check() {
  local source program missing=
  for source in "${C_SOURCES[@]}"; do
    program=dist/${source%%:*}
    source=${source#*:}
    if [ ! -x "$program" ] || [ "$source" -nt "$program" ]; then missing=yes; fi
  done
  [ -n "$missing" ] || return 0
  echo 'compiling'
  return 1
}

log_writer_compile() {
  must_write_checkout dist
  local compilers
  compilers=$(missing_packages gcc libc6-dev)
  # shellcheck disable=SC2086
  if [ -n "$compilers" ]; then install_packages $compilers; fi
  logged as_owner node deploy/build.mjs
  [ -x dist/log-writer ] && [ -x dist/node-stage ] && [ -x dist/node-init ] && [ -x dist/volume-sync ] || cannot 'dist/log-writer, dist/node-stage, dist/node-init and dist/volume-sync, programs in C' 'there is no C compiler (cc)' 'install gcc, then run this again'
}

runtime_check() {
  NEXUS_NODE=$NODE_PROGRAM deploy/agent-runtime.sh --check >/dev/null 2>&1 && return
  echo 'copying Node and tools'
  return 1
}

runtime_build() {
  must_write_checkout dist/runtime
  logged as_owner env "NEXUS_NODE=$NODE_PROGRAM" deploy/agent-runtime.sh
}

# Any tar of that name will do: where Debian's mirrors are out of reach one can be put there by hand.
image_check() {
  compgen -G '.cache/base-image*.tar' && return
  echo 'unpacking Debian'
  return 1
}

image_build() {
  must_write_checkout .cache
  as_owner mkdir -p .cache
  as_root 'the root file system of nodes (.cache/base-image-*.tar)' "$ROOT/deploy/base-image.sh"
}

vm_system_check() {
  deploy/vm-system.sh --check && return
  echo 'unpacking a Debian to boot'
  return 1
}

vm_system_make() {
  must_write_checkout .cache
  as_owner mkdir -p .cache
  as_root 'the system that the tests in a virtual machine boot (.cache/vm)' "$ROOT/deploy/vm-system.sh"
}

trap 'on_exit $?; end_besides' EXIT
lock_checkout
# One start of Node tells version, ABI (what compiled modules depend on) and path.
NODE_VERSION='' NODE_ABI='' NODE_PROGRAM=''
if command -v node >/dev/null; then
  # shellcheck disable=SC2016
  read -r NODE_VERSION NODE_ABI NODE_PROGRAM < <(
    node -p '`${process.versions.node} ${process.versions.modules}-${process.arch} ${process.execPath}`'
  )
fi

# Compiling takes longest, so it begins first, and npm and the base image go on beside it.
step 'node' node_check node_missing
must_compile=''
if ! native_ahead_check; then must_compile=yes; fi
compilers_check() { [ -z "$(missing_packages "${NATIVE_COMPILERS[@]}")" ]; }
if [ -n "$must_compile" ] && compilers_check; then begin 'native ahead' false native_ahead; fi
begin 'node modules' modules_check modules_install
if [ "$purpose" != cli ]; then
  step 'system packages' packages_check packages_install
  if [ -n "$(runtime_program "$runtime")" ]; then step 'service user' user_check user_add; fi
  if [ -n "$must_compile" ] && [ -z "${beside_found['native ahead']:-}" ]; then begin 'native ahead' false native_ahead; fi
fi
# Beside the others only if sudo needs no password: its question would be lost among their lines.
is_image_beside=''
if [ "$purpose" != cli ] && [ -n "$(runtime_program "$runtime")" ] && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
  is_image_beside=yes
  begin 'base image' image_check image_build
fi
finish 'node modules'
step 'build' build_check build_run
if [ "$purpose" != cli ]; then step 'log writer' log_writer_check log_writer_compile; fi
if [ "$purpose" != cli ] && [ -n "$(runtime_program "$runtime")" ]; then
  step 'agent runtime' runtime_check runtime_build
  if [ -n "$is_image_beside" ]; then finish 'base image'; else step 'base image' image_check image_build; fi
fi
step 'native modules' native_check native_install
if [ "$purpose" = vm ]; then step 'vm system' vm_system_check vm_system_make; fi
