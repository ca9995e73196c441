#!/usr/bin/env bash
# What `npm test` runs: sets up what is missing, becomes root through sudo where it can (the system tests make real
# containers, bridges and volumes), and runs unit, contract and system tests with mocha.
#
#   npm test [-- FILE.test.ts...] [-- any mocha options, for example --grep upload]
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
# shellcheck source=deploy/lib/steps.sh
. deploy/lib/steps.sh

# npm drops to the owner of the folder even when root calls it, so root is asked for here.
if [ "$(id -u)" != 0 ] && can_be_root; then
  # sudo has a PATH of its own, in which node might not be.
  exec sudo -E env "PATH=$PATH" "$0" "$@"
elif [ "$(id -u)" = 0 ]; then
  deploy/bootstrap.sh --for test
else
  echo 'No root: the tests that need a real kernel are skipped. To run them all: sudo npm test, or allow sudo.' >&2
  deploy/bootstrap.sh --for test --runtime process
fi

# On CI's machine everything is there: a test that skips itself has found a fault.
if [ "${CI:-}" = true ]; then export NEXUS_REQUIRE_SYSTEM=1; fi

mocha=()
given=
for argument in "$@"; do
  case $argument in *.test.ts) given=yes ;; esac
done
if [ -z "$given" ]; then
  # Files with clusters of their own mostly wait for the kernel, for timers and for each other's processes: several run
  # side by side, and those that take minutes begin first, so that the end is not one file alone.
  shopt -s globstar
  longest=(test/system/install.test.ts test/docs/cli.test.ts
    test/system/{node-confinement,volumes,crash,chaos,vfs,lambda,memory,start-failure}.test.ts test/docs/readme.test.ts
    test/system/{repair,many-nodes,terminal,bad-day,full-disk,nodes,remote-cli,files}.test.ts)
  others=()
  for file in test/{docs,system,contract,unit}/**/*.test.ts; do
    if [[ " ${longest[*]} " != *" $file "* ]]; then others+=("$file"); fi
  done
  jobs=$((3 * $(nproc)))
  # Instances of at most 16 processes are kept apart, see test/support/residue.ts.
  if [ $jobs -gt 16 ]; then jobs=16; fi
  mocha=(--parallel --jobs "${NEXUS_TEST_JOBS:-$jobs}" "${longest[@]}" "${others[@]}")
fi

# The limit only ends a run that hangs: a whole one takes a fifth of that on two idle cores.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
exec timeout --foreground --kill-after=30 3600 node node_modules/mocha/bin/mocha.js "${mocha[@]}" "$@"
