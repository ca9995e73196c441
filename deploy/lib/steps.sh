# shellcheck shell=bash
# How bootstrap steps are run and shown: one line each, long output in a log file, root only where a step asks for it.
# Everything is said on standard error: standard output belongs to the command that the bootstrap was run for.

# Set by the caller: quiet (non-empty: steps with nothing to do are not shown).
quiet=${quiet:-}
steps_log=''
cannot_reason=''

# cannot WANTED WHY BY_HAND: says why a step can't run and ends the bootstrap.
cannot() {
  cannot_reason=yes
  printf '\n  wanted:  %s\n  but:     %s\n  by hand: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

# Milliseconds since an arbitrary moment, without a child process.
now_ms() {
  local seconds=${EPOCHREALTIME%[.,]*} fraction=${EPOCHREALTIME#*[.,]}
  printf '%s' $((seconds * 1000 + 10#${fraction:0:3}))
}

# step NAME CHECK ACTION: CHECK says by its exit code whether all is done already (what it prints is shown), otherwise
# ACTION does it. An ACTION that fails ends the bootstrap.
step() {
  local name=$1 check=$2 action=$3 found started
  if found=$($check); then
    if [ -z "$quiet" ]; then printf '%-16s ok%s\n' "$name" "${found:+ ($found)}" >&2; fi
    return
  fi
  started=$(now_ms)
  printf '%-16s %s ... ' "$name" "${found:-working}" >&2
  current_step=$name
  $action
  current_step=''
  printf 'done (%s s)\n' "$(seconds_since "$started")" >&2
}

# Steps that run beside others: begin NAME CHECK ACTION starts ACTION in the background when CHECK says that there is
# something to do; finish NAME waits for it, and prints the line of a step. What ACTION says is shown only when it fails.
declare -A beside_pid=() beside_found=()
beside_folder=''

begin() {
  local name=$1 check=$2 action=$3 found started
  if found=$($check); then
    beside_found[$name]="ok${found:+ ($found)}"
    return
  fi
  beside_found[$name]=${found:-working}
  started=$(now_ms)
  if [ -z "$beside_folder" ]; then beside_folder=$(mktemp -d "${TMPDIR:-/tmp}/nexus-bootstrap-XXXXXX"); fi
  # With a process group of its own, so that all of it can be ended.
  set -m
  (
    set +m
    steps_log='' current_step=''
    beside_pid=()
    trap 'on_exit $?' EXIT
    $action
    seconds_since "$started" >"$beside_folder/$name"
  ) </dev/null 2>"$beside_folder/$name.said" &
  beside_pid[$name]=$!
  set +m
}

# settle NAME: waits; the exit code is that of the ACTION.
settle() {
  local pid=${beside_pid[$1]:-} code=0
  [ -n "$pid" ] || return 0
  wait "$pid" || code=$?
  unset "beside_pid[$1]"
  return "$code"
}

finish() {
  local name=$1
  if [ -z "${beside_pid[$name]:-}" ]; then
    if [ -z "$quiet" ]; then printf '%-16s %s\n' "$name" "${beside_found[$name]}" >&2; fi
    return
  fi
  printf '%-16s %s ... ' "$name" "${beside_found[$name]}" >&2
  if ! settle "$name"; then
    cannot_reason=yes
    cat "$beside_folder/$name.said" >&2
    exit 1
  fi
  printf 'done (%s s)\n' "$(<"$beside_folder/$name")" >&2
}

# What still runs beside when the bootstrap ends was for nothing.
end_besides() {
  local pid
  for pid in "${beside_pid[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
  if [ -n "$beside_folder" ]; then rm -rf "$beside_folder"; fi
}

# One decimal.
seconds_since() {
  local elapsed=$(($(now_ms) - $1))
  printf '%d.%d' $((elapsed / 1000)) $((elapsed % 1000 / 100))
}

# logged COMMAND...: its output goes to the log; when it fails, the last lines are shown and the bootstrap ends.
logged() {
  if ! quietly "$@"; then log_failure "$*"; fi
}

# quietly COMMAND...: output to the log, exit code to the caller.
quietly() {
  if [ -z "$steps_log" ]; then steps_log=$(mktemp "${TMPDIR:-/tmp}/nexus-bootstrap-XXXXXX.log"); fi
  printf '\n$ %s\n' "$*" >>"$steps_log"
  "$@" </dev/null >>"$steps_log" 2>&1
}

log_failure() {
  cannot_reason=yes
  {
    printf 'failed\n  command: %s\n' "$1"
    tail -n 30 "$steps_log" | sed 's/^/  | /'
    printf '  log:     %s\n' "$steps_log"
  } >&2
  exit 1
}

# on_exit CODE: the log of a run that went well has no reader.
on_exit() {
  if [ "$1" = 0 ] && [ -n "$steps_log" ]; then rm -f "$steps_log"; fi
  if [ "$1" != 0 ] && [ -n "${current_step:-}" ] && [ -z "$cannot_reason" ]; then
    printf 'failed (exit code %s)\n' "$1" >&2
    if [ -n "$steps_log" ]; then printf '  log:     %s\n' "$steps_log" >&2; fi
  fi
}

# Whether root can be had; a sudo that asks for a password will do where there is somebody to answer it.
can_be_root() {
  [ "$(id -u)" = 0 ] && return
  command -v sudo >/dev/null || return 1
  sudo -n true 2>/dev/null || { [ -t 0 ] && [ -t 2 ]; }
}

# What has to stand before a command that needs root; set by need_root.
elevate=()

# need_root WANTED COMMAND...: gets root for COMMAND, which the caller runs with "${elevate[@]}" before it, or ends the
# bootstrap. The password is asked for here: the command itself has the log for its output.
need_root() {
  local wanted=$1
  shift
  if [ "$(id -u)" = 0 ]; then
    elevate=()
    return
  fi
  can_be_root || cannot "$wanted" 'this needs root, and sudo is missing or would ask for a password' "as root: $*"
  if ! sudo -n true 2>/dev/null; then
    printf '\n' >&2
    sudo -v || cannot "$wanted" 'sudo did not let this user' "as root: $*"
  fi
  elevate=(sudo -n)
}

# as_root WANTED COMMAND...: logged, as root.
as_root() {
  need_root "$@"
  shift
  logged "${elevate[@]}" "$@"
}

# as_owner COMMAND...: as the owner of the checkout when run by root, so that root leaves no files of its own in it.
as_owner() {
  local uid gid home
  uid=$(stat -c %u "$ROOT")
  if [ "$(id -u)" != 0 ] || [ "$uid" = 0 ]; then
    "$@"
    return
  fi
  gid=$(stat -c %g "$ROOT")
  home=$(getent passwd "$uid" | cut -d : -f 6)
  HOME=${home:-/tmp} setpriv --reuid "$uid" --regid "$gid" --clear-groups -- "$@"
}
