# shellcheck shell=bash
# Values of --runtime (see shared/config/runtimes.ts), and the package with the program that makes containers.
is_runtime() {
  case $1 in runc | crun | process) ;; *) return 1 ;; esac
}

# Programs whose containers the tests make on this host.
tested_programs() {
  echo runc
  # It refuses other layouts of cgroups.
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo crun; fi
}

# runtime_program RUNTIME: nothing where nodes are plain processes.
runtime_program() {
  case $1 in process) ;; *) echo "$1" ;; esac
}
