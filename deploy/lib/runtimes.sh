# shellcheck shell=bash
# Values of --runtime (see shared/config/runtimes.ts), and the package with the program that makes containers.
is_runtime() {
  case $1 in runc | crun | process) ;; *) return 1 ;; esac
}

# Programs whose containers the tests make on this host.
tested_programs() {
  runtime_program runc
  runtime_program crun
}

# runtime_program RUNTIME: nothing where nodes are plain processes, or where the controller refuses the program: crun
# needs pure cgroup v2.
runtime_program() {
  case $1 in
    process) ;;
    crun) if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo crun; fi ;;
    *) echo "$1" ;;
  esac
}
