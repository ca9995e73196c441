# shellcheck shell=bash
# npm packages, and the native ones among them. Those are compiled (half a minute to two), so what was compiled is
# kept in the user's cache folder and serves every checkout. Needs steps.sh and packages.sh.

# Package and the file that its build makes.
readonly NATIVE=(
  'better-sqlite3 build/Release/better_sqlite3.node'
  'node-pty build/Release/pty.node'
)

# npm writes the second file last.
modules_check() {
  [ -f node_modules/.package-lock.json ] && [ ! package-lock.json -nt node_modules/.package-lock.json ] && return
  echo 'npm install'
  return 1
}

# Without scripts: the native builds come afterwards, from the cache where possible. Not `npm ci`: that refuses a lock
# file that lacks an optional package of some other platform, as one has that was written where the registry had none.
# With --no-save npm holds to the same versions and checksums and leaves the lock file alone.
modules_install() {
  command -v npm >/dev/null || cannot 'the packages in package-lock.json' 'npm is missing' 'install npm (Debian: apt-get install npm)'
  must_write_checkout 'node_modules'
  logged as_owner npm install --no-save --ignore-scripts --no-progress --loglevel=error
  # npm leaves the time alone when nothing changed, and the step would run for ever.
  as_owner touch node_modules/.package-lock.json
}

native_stamp() { printf '%s %s\n' "$NODE_ABI" "$(stat -c '%Y %n' node_modules/*/build/Release/*.node 2>/dev/null | tr '\n' ' ')"; }

native_check() {
  [ -f node_modules/.nexus-native ] && [ "$(<node_modules/.nexus-native)" = "$(native_stamp)" ] && native_is_sound && return
  echo 'better-sqlite3 and node-pty'
  return 1
}

# What is compiled against the headers of Node 24.19 or later as they are ends the process now and then: see
# deploy/native/object-wrap.h.
native_is_sound() { ! grep -q RemoveEnvironmentCleanupHook node_modules/better-sqlite3/build/Release/better_sqlite3.node; }

native_loads() {
  native_is_sound 2>/dev/null && node -e "
    const Database = require('better-sqlite3');
    new Database(':memory:').close();
    require('node-pty');
  " >/dev/null 2>&1
}

native_install() {
  must_write_checkout 'node_modules'
  if ! native_loads; then
    native_from_cache || true
    if ! native_loads; then native_build; fi
  fi
  native_stamp | as_owner tee node_modules/.nexus-native >/dev/null
}

native_build() {
  local compilers
  compilers=$(missing_packages g++ make python3)
  # shellcheck disable=SC2086
  if [ -n "$compilers" ]; then install_packages $compilers; fi
  # Node's own headers spare node-gyp a download.
  local prefix headers=()
  prefix=$(dirname "$(dirname "$(node -p process.execPath)")")
  if [ -f "$prefix/include/node/node.h" ]; then headers=("npm_config_nodedir=$prefix"); fi
  # A bundle that a registry's site may offer is tried first by the package itself; both ways end here.
  logged as_owner env "${headers[@]}" npm rebuild --no-progress --loglevel=error better-sqlite3 node-pty
  if ! native_is_sound; then
    headers+=(npm_config_build_from_source=true "CXXFLAGS=-include $PWD/deploy/native/object-wrap.h")
    logged as_owner env "${headers[@]}" npm rebuild --no-progress --loglevel=error better-sqlite3
  fi
  native_loads || cannot 'better-sqlite3 and node-pty, compiled' 'they were built and do not load' 'npm rebuild --foreground-scripts better-sqlite3 node-pty'
  native_to_cache
}

# One folder for each pairing of version, Node ABI, processor and C library.
native_cache_folder() {
  local home version
  home=$(as_owner sh -c 'echo "${XDG_CACHE_HOME:-$HOME/.cache}"')
  version=$(sed -n 's/^ *"version": *"\([^"]*\)".*/\1/p' "node_modules/$1/package.json" | head -n 1)
  echo "$home/nexus/native/$1-$version-$NODE_ABI-$(ldd --version 2>/dev/null | sed -n '1s/.* //p')"
}

native_from_cache() {
  local entry package file folder
  for entry in "${NATIVE[@]}"; do
    read -r package file <<<"$entry"
    folder=$(native_cache_folder "$package")
    if ! as_owner test -f "$folder/$(basename "$file")"; then return 1; fi
    as_owner mkdir -p "node_modules/$package/$(dirname "$file")"
    as_owner install -m 0755 "$folder/$(basename "$file")" "node_modules/$package/$file"
  done
}

# The cache only saves time: a home folder that cannot be written is no failure.
native_to_cache() {
  local entry package file folder
  for entry in "${NATIVE[@]}"; do
    read -r package file <<<"$entry"
    folder=$(native_cache_folder "$package")
    quietly as_owner mkdir -p "$folder" || return 0
    quietly as_owner cp "node_modules/$package/$file" "$folder/.new" || return 0
    quietly as_owner mv "$folder/.new" "$folder/$(basename "$file")" || return 0
  done
}
