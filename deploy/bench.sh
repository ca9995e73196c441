#!/usr/bin/env bash
# What `npm run bench` runs: each figure as a ratio to a baseline measured in the same run. Needs root, for the same
# reason as the system tests.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
# shellcheck source=deploy/lib/steps.sh
. deploy/lib/steps.sh

if [ "$(id -u)" != 0 ]; then
  can_be_root || cannot 'to measure real nodes' 'this needs root, and sudo is missing or would ask for a password' 'sudo npm run bench'
  # sudo has a PATH of its own, in which node might not be.
  exec sudo -E env "PATH=$PATH" "$0" "$@"
fi
deploy/bootstrap.sh --for test
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
exec node --import=tsx test/bench/main.ts "$@"
