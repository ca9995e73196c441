# shellcheck shell=bash
# Values of --runtime, as in shared/config/runtimes.ts, with what each needs: `containers`, which are made by a program with
# its name, in a package with its name; `unified`: pure cgroup v2. A test compares the two tables.
readonly RUNTIMES=(
  'runc containers'
  'crun containers unified'
  'process'
)

# runtime_needs RUNTIME: what it needs, in words; fails for a runtime that does not exist.
runtime_needs() {
  local row
  for row in "${RUNTIMES[@]}"; do
    if [ "${row%% *}" = "$1" ]; then
      echo "${row#"$1"}"
      return
    fi
  done
  return 1
}

is_runtime() { runtime_needs "$1" >/dev/null; }

has_unified_cgroups() { [ -f /sys/fs/cgroup/cgroup.controllers ]; }

# runtime_refused RUNTIME: the reason why it can't work on this host, as the command line and the controller word it; fails
# if it can.
runtime_refused() {
  case $(runtime_needs "$1") in *unified*) ;; *) return 1 ;; esac
  if has_unified_cgroups; then return 1; fi
  echo "the runtime $1 needs pure cgroup v2, and controllers are on v1 on this host; use --runtime runc, or boot with systemd.unified_cgroup_hierarchy=1"
}

# Programs whose containers the tests make on this host.
tested_programs() {
  local row
  for row in "${RUNTIMES[@]}"; do runtime_program "${row%% *}"; done
}

# runtime_program RUNTIME: nothing where nodes are plain processes, or where the runtime is refused.
runtime_program() {
  case $(runtime_needs "$1") in *containers*) if ! runtime_refused "$1" >/dev/null; then echo "$1"; fi ;; esac
}
