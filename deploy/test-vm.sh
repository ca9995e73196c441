#!/usr/bin/env bash
# What `npm run test:vm` runs: sets up what is missing, becomes root through sudo, and runs the product in a virtual
# machine with cgroups v2 alone.
#
#   npm run test:vm [-- --short]   --short: the checks without which the others mean nothing
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
# shellcheck source=deploy/lib/steps.sh
. deploy/lib/steps.sh

case ${1:-} in
  --short) export NEXUS_VM_SHORT=1 ;;
  '') ;;
  *)
    echo "unknown option $1; usage: npm run test:vm [-- --short]" >&2
    exit 2
    ;;
esac
if [ "$(id -u)" != 0 ]; then
  can_be_root || cannot 'to make the disks of the virtual machine' 'this needs root, and sudo is missing or would ask for a password' 'sudo npm run test:vm'
  # sudo has a PATH of its own, in which node might not be.
  exec sudo -E env "PATH=$PATH" "$0" "$@"
fi
deploy/bootstrap.sh --for vm

if [ "${CI:-}" = true ]; then export NEXUS_REQUIRE_SYSTEM=1; fi
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
exec node node_modules/mocha/bin/mocha.js test/vm/vm.test.ts
