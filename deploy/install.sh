#!/usr/bin/env bash
# Installs what this checkout has built, or takes it away again. An installation over another is an upgrade.
#
#   deploy/install.sh [--prefix DIR]                  default /opt/nexus
#   deploy/install.sh --uninstall [--purge]           --purge: the state and the settings, too
#
# DESTDIR goes before every path that is written, for packagers; nothing is started or stopped then. BINDIR, UNITDIR and
# SYSCONFDIR say where the link, the units and the sample of settings go, NODE what the units run; by default this host's
# node. NEXUS_INSTANCE says whose state --purge means. Settings are read from /etc/nexus, wherever their sample goes.
set -euo pipefail
umask 022

ROOT=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
PREFIX=/opt/nexus
DESTDIR=${DESTDIR:-}
BINDIR=${BINDIR:-/usr/local/bin}
UNITDIR=${UNITDIR:-/etc/systemd/system}
# Where the program looks for settings that nobody has named; only the sample can lie elsewhere.
readonly SETTINGS_FOLDER=/etc/nexus
SYSCONFDIR=${SYSCONFDIR:-$SETTINGS_FOLDER}
# In the installed copy: folders that were made for the link and the units, and so go with them.
readonly MADE=.made-folders
readonly UNITS=(nexus-controller.service nexus-gateway.service)
# What an installed copy consists of, beside the packages that it needs while it runs.
readonly PARTS=(nexus package.json package-lock.json LICENSE README.md docs deploy dist)
# Folders that hold other things, and that no installation may have for itself.
readonly OF_SYSTEM='bin|boot|dev|etc|home|lib|lib32|lib64|libx32|media|mnt|opt|proc|root|run|sbin|srv|sys|tmp|usr|var'
readonly OF_PROGRAMS='bin|etc|games|include|lib|lib32|lib64|libx32|libexec|local|man|sbin|share|src'
readonly OF_STATE='backups|cache|lib|local|lock|log|mail|opt|run|spool|tmp'
readonly OF_OTHERS="^/($OF_SYSTEM|usr/(local/)?($OF_PROGRAMS)|var/($OF_STATE))?\$"

readonly USAGE='usage: deploy/install.sh [--prefix DIR] [--uninstall [--purge]]'

usage() {
  echo "install: $1; $USAGE" >&2
  exit 2
}

help() {
  cat <<END
$USAGE

Installs to /opt/nexus or --prefix, and again over what is there: an upgrade. --uninstall removes it, and with --purge its
state and settings, too. Environment: DESTDIR goes before every path; BINDIR, UNITDIR and SYSCONFDIR say where the link,
the units and the sample of settings go, NODE what the units run; NEXUS_INSTANCE says whose state --purge means.

Settings are read from $SETTINGS_FOLDER/nexus.yaml, or from what NEXUS_CONFIG names, wherever SYSCONFDIR puts the sample; if
elsewhere, --purge leaves settings alone. Folders that were made for the link and the units go with them when they are
empty; with DESTDIR they stay.
END
  exit 0
}

refuse() {
  echo "install: $1" >&2
  exit 1
}

# Units hold paths as they are, where a space would end one and a percent sign begin a specifier.
is_plain() {
  local LC_ALL=C
  [[ $1 != *[!A-Za-z0-9._+@/-]* ]]
}

check_paths() {
  is_plain "$PREFIX" || usage "--prefix may have letters, digits and . _ - + @ / alone, but is '$PREFIX'"
  [[ $PREFIX == /* ]] || usage '--prefix must be an absolute path'
  [[ $PREFIX/ != */./* && $PREFIX/ != */../* ]] || usage "--prefix must go without . and .., but is $PREFIX"
  [[ ! $PREFIX =~ $OF_OTHERS ]] || usage "$PREFIX holds other things; give a folder of its own"
  is_plain "${NODE:-}" || usage "NODE may have letters, digits and . _ - + @ / alone, but is '$NODE'"
}

verb=install purge=''
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) PREFIX=${2:-} && shift ;;
    --prefix=*) PREFIX=${1#*=} ;;
    --uninstall) verb=uninstall ;;
    --purge) purge=yes ;;
    -h | --help) help ;;
    *) usage "unknown option $1" ;;
  esac
  shift || usage 'an option lacks its value'
done
while [[ $PREFIX == *//* ]]; do PREFIX=${PREFIX//\/\//\/}; done
if [ "$PREFIX" != / ]; then PREFIX=${PREFIX%/}; fi
check_paths
if [ -n "$purge" ] && [ "$verb" = install ]; then usage '--purge goes with --uninstall'; fi
readonly TARGET=$DESTDIR$PREFIX

# An ordinary folder that happens to have the name is never removed.
is_ours() { [ -f "$1/package.json" ] && grep -q '"name": "nexus"' "$1/package.json" && [ -d "$1/dist/controller" ]; }

has_systemd() { [ -z "$DESTDIR" ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null; }

# Nodes hold the agent runtime that they were started with by a bind mount; below a removed folder it would be empty.
in_use() { grep -qsF " $1/dist/runtime " /proc/[0-9]*/mountinfo; }

install_all() {
  "$ROOT/deploy/bootstrap.sh" --for up
  if [ -e "$TARGET" ] && ! is_ours "$TARGET"; then refuse "$TARGET is there and is no Nexus; give another --prefix"; fi
  if in_use "$TARGET.previous"; then
    refuse "nodes still run with the version before the installed one; restart them first: nexus node restart NODE"
  fi
  local fresh=$TARGET.new
  rm -rf "$fresh"
  mkdir -p "$fresh"
  copy_parts "$fresh"
  if [ -f "$TARGET/$MADE" ]; then cp "$TARGET/$MADE" "$fresh/"; fi
  # The old version stays beside the new one for the nodes that were started with it.
  rm -rf "$TARGET.previous"
  if [ -e "$TARGET" ]; then mv "$TARGET" "$TARGET.previous"; fi
  mv "$fresh" "$TARGET"
  if ! in_use "$TARGET.previous"; then rm -rf "$TARGET.previous"; fi
  make_folder "$BINDIR"
  install -d "$DESTDIR$SYSCONFDIR"
  ln -sfn "$PREFIX/nexus" "$DESTDIR$BINDIR/nexus"
  install -m 0644 "$ROOT/deploy/nexus.sample.yaml" "$DESTDIR$SYSCONFDIR/nexus.sample.yaml"
  install_units
  echo "installed in $TARGET; next: systemctl enable --now nexus-controller nexus-gateway, or: nexus up"
}

# Below DESTDIR nothing is there before, which says nothing of the host that the package is for.
make_folder() {
  local folder=$1
  while [ -z "$DESTDIR" ] && [ ! -e "$folder" ]; do
    echo "$folder" >>"$TARGET/$MADE"
    folder=$(dirname "$folder")
  done
  install -d "$DESTDIR$1"
}

copy_parts() {
  local part
  for part in "${PARTS[@]}"; do copy "$ROOT/$part" "$1/"; done
  mkdir -p "$1/.cache"
  for part in "$ROOT"/.cache/base-image*.tar; do copy "$part" "$1/.cache/"; done
  copy_packages "$1"
  copy "$ROOT/node_modules/.package-lock.json" "$1/node_modules/"
  copy "$ROOT/node_modules/.nexus-native" "$1/node_modules/"
}

# Only the packages that run; those for development are half of all. Of the rest, nothing reads types and source maps, which
# are more than half of the files.
copy_packages() {
  cd "$ROOT"
  npm ls --omit=dev --all --parseable 2>/dev/null | sed -n "s|^$ROOT/||p" | grep -v '/node_modules/' |
    tar --create --exclude='*.d.ts' --exclude='*.d.[cm]ts' --exclude='*.map' --files-from=- |
    tar -C "$1" --extract --preserve-permissions --no-same-owner
}

# Times stay, since they say what is up to date; everything belongs to whoever installs.
copy() { cp -R --preserve=mode,timestamps,links "$1" "$2"; }

install_units() {
  local unit node
  node=${NODE:-$(node -p process.execPath)}
  make_folder "$UNITDIR"
  for unit in "${UNITS[@]}"; do
    # Without its process there is no unit to be started.
    [ -f "$TARGET/dist/$(process_of "$unit")/main.js" ] || continue
    sed -e "s|/opt/nexus/|$PREFIX/|g" -e "s|/usr/bin/node |$node |" "$ROOT/deploy/systemd/$unit" >"$DESTDIR$UNITDIR/$unit"
  done
  if has_systemd; then systemctl daemon-reload; fi
}

starts_ours() { grep -qsF " $PREFIX/" "$1"; }

process_of() { basename "${1#nexus-}" .service; }

# Another installation, which the command or a unit belongs to, goes on using the sample of the settings.
is_shared() {
  local unit
  [ -L "$DESTDIR$BINDIR/nexus" ] && return
  for unit in "${UNITS[@]}"; do
    [ -e "$DESTDIR$UNITDIR/$unit" ] && return
  done
  return 1
}

# Another installation's units, command and sample stay with it.
uninstall_all() {
  if [ ! -e "$TARGET" ] && [ ! -e "$TARGET.previous" ] && [ ! -e "$TARGET.new" ]; then
    refuse "nothing is installed at $TARGET; give the --prefix that it was installed with"
  fi
  if [ -e "$TARGET" ] && ! is_ours "$TARGET"; then refuse "$TARGET is no Nexus; nothing was removed"; fi
  if [ -z "$DESTDIR" ] && [ -x "$TARGET/nexus" ]; then end_cluster; fi
  if in_use "$TARGET" || in_use "$TARGET.previous"; then
    refuse "nodes of another instance run from $TARGET; stop it first: nexus --instance NAME down"
  fi
  local unit
  for unit in nexus-gateway.service nexus-controller.service; do
    if has_systemd && starts_ours "$UNITDIR/$unit"; then systemctl --quiet disable --now "$unit"; fi
  done
  for unit in "${UNITS[@]}"; do
    if starts_ours "$DESTDIR$UNITDIR/$unit"; then rm "$DESTDIR$UNITDIR/$unit"; fi
  done
  if has_systemd; then systemctl daemon-reload; fi
  if [ "$(readlink "$DESTDIR$BINDIR/nexus")" = "$PREFIX/nexus" ]; then rm "$DESTDIR$BINDIR/nexus"; fi
  if ! is_shared; then rm -f "$DESTDIR$SYSCONFDIR/nexus.sample.yaml"; fi
  local gone=''
  if [ -n "$purge" ]; then gone=' and its state'; fi
  if [ -n "$purge" ] && [ "$SYSCONFDIR" = $SETTINGS_FOLDER ]; then
    rm -f "$DESTDIR$SYSCONFDIR/nexus.yaml"
    rm -rf "$DESTDIR/var/cache/nexus"
    gone=', its state and settings'
  fi
  if [ -d "$DESTDIR$SYSCONFDIR" ]; then rmdir --ignore-fail-on-non-empty "$DESTDIR$SYSCONFDIR"; fi
  remove_made_folders
  rm -rf "$TARGET" "$TARGET.previous" "$TARGET.new"
  echo "removed $TARGET$gone; the packages and the user nexus stay"
}

# The deepest first.
remove_made_folders() {
  local folder
  [ -f "$TARGET/$MADE" ] || return 0
  sort --reverse "$TARGET/$MADE" | while read -r folder; do
    if [ -d "$folder" ]; then rmdir --ignore-fail-on-non-empty "$folder"; fi
  done
}

# Nodes run from the installed files, so they end with them. What a purge removes, only a running controller knows.
end_cluster() {
  if [ -z "$purge" ]; then
    "$TARGET/nexus" down
  else
    "$TARGET/nexus" up
    "$TARGET/nexus" down --purge
  fi
}

"${verb}_all"
