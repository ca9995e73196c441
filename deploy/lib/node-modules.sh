# shellcheck shell=bash
# npm packages, and the native ones among them. Those are compiled (half a minute to two), which begins before the other
# packages are there; what was compiled is kept in the user's cache folder and serves every checkout. Needs steps.sh and
# packages.sh.

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
native_is_sound() { ! grep -q RemoveEnvironmentCleanupHook "${1:-.}/node_modules/better-sqlite3/build/Release/better_sqlite3.node"; }

native_loads() {
  native_is_sound 2>/dev/null && node -e "
    const Database = require('better-sqlite3');
    new Database(':memory:').close();
    require('node-pty');
  " >/dev/null 2>&1
}

native_install() {
  must_write_checkout 'node_modules'
  # Where it failed, the compilation here fails too, and says why.
  settle 'native ahead' || true
  if ! native_loads; then
    native_from_cache || native_from_ahead || true
    if ! native_loads; then
      native_compile .
      native_loads || cannot 'better-sqlite3 and node-pty, compiled' 'they were built and do not load' 'npm rebuild --foreground-scripts better-sqlite3 node-pty'
    fi
    native_to_cache
  fi
  as_owner rm -rf "$NATIVE_AHEAD"
  native_stamp | as_owner tee node_modules/.nexus-native >/dev/null
}

readonly NATIVE_COMPILERS=(g++ make python3)
# -O2 is SQLite's own choice, and Debian's; with -O3, which node-gyp has for it, it takes half as long again. Nobody here
# uses full-text search and R-trees, a fifth of it.
readonly SQLITE_FLAGS=(-O2 -USQLITE_ENABLE_FTS3 -USQLITE_ENABLE_FTS3_PARENTHESIS -USQLITE_ENABLE_FTS4 -USQLITE_ENABLE_FTS5
  -USQLITE_ENABLE_RTREE -USQLITE_ENABLE_GEOPOLY)

# native_compile FOLDER: builds the two in FOLDER/node_modules.
native_compile() {
  local compilers
  compilers=$(missing_packages "${NATIVE_COMPILERS[@]}")
  # shellcheck disable=SC2086
  if [ -n "$compilers" ]; then install_packages $compilers; fi
  # Node's own headers spare node-gyp a download.
  local prefix options=(JOBS=max)
  prefix=$(dirname "$(dirname "$(node -p process.execPath)")")
  if [ -f "$prefix/include/node/node.h" ]; then options+=("npm_config_nodedir=$prefix"); fi
  options+=(CFLAGS="${SQLITE_FLAGS[*]}")
  # SQLite is one file, which one processor compiles. This way gcc leaves most of it to the link, and divides it there.
  if command -v gcc-ar >/dev/null && [ -z "${CC:-}${CXX:-}" ]; then
    options+=(AR=gcc-ar CFLAGS="${SQLITE_FLAGS[*]} -flto=2" LDFLAGS='-O2 -flto=2')
  fi
  # A bundle that a registry's site may offer is tried first by the package itself; both ways end here.
  native_rebuild "$1" "${options[@]}" -- better-sqlite3 node-pty
  if ! native_is_sound "$1"; then
    options+=(npm_config_build_from_source=true "CXXFLAGS=-include $PWD/deploy/native/object-wrap.h")
    native_rebuild "$1" "${options[@]}" -- better-sqlite3
  fi
}

# native_rebuild FOLDER VARIABLE=VALUE... -- PACKAGE...
native_rebuild() {
  local folder=$1 variables=()
  shift
  while [ "$1" != -- ]; do
    variables+=("$1")
    shift
  done
  shift
  logged as_owner env --chdir="$folder" "${variables[@]}" npm rebuild --no-progress --loglevel=error "$@"
}

# Beside the step that installs all packages: the two with what they need, by the same lock file, in a folder of their own.
readonly NATIVE_AHEAD=.cache/native

native_ahead_check() {
  { modules_check && native_check; } >/dev/null && return
  local entry package file
  for entry in "${NATIVE[@]}"; do
    read -r package file <<<"$entry"
    as_owner test -f "$(native_cache_folder "$package")/$(basename "$file")" || return 1
  done
}

native_ahead() {
  command -v npm >/dev/null && [ -w "$ROOT" ] && [ -z "$(missing_packages "${NATIVE_COMPILERS[@]}")" ] || return 1
  as_owner rm -rf "$NATIVE_AHEAD"
  as_owner mkdir -p "$NATIVE_AHEAD"
  as_owner cp package-lock.json .npmrc "$NATIVE_AHEAD/"
  # npm leaves out what the lock file has beyond these.
  as_owner node -e "
    const { dependencies } = JSON.parse(fs.readFileSync('package.json', 'utf8'));
    const wanted = Object.fromEntries(process.argv.slice(2).map((name) => [name, dependencies[name]]));
    fs.writeFileSync(process.argv[1], JSON.stringify({ private: true, dependencies: wanted }));
  " "$NATIVE_AHEAD/package.json" "${NATIVE[@]%% *}"
  logged as_owner env --chdir="$NATIVE_AHEAD" npm install --no-save --ignore-scripts --no-progress --loglevel=error
  native_compile "$NATIVE_AHEAD"
}

# By the lock file, which is there before the package is.
native_version() {
  awk -v "entry=\"node_modules/$1\":" '$1 == entry { is_it = 1 } is_it && $1 == "\"version\":" { gsub(/[",]/, "", $2); print $2; exit }' package-lock.json
}

# One folder for each pairing of version, Node ABI, processor and C library.
native_cache_folder() {
  local home version
  home=$(as_owner sh -c 'echo "${XDG_CACHE_HOME:-$HOME/.cache}"')
  version=$(native_version "$1")
  echo "$home/nexus/native/$1-$version-$NODE_ABI-$(ldd --version 2>/dev/null | sed -n '1s/.* //p')"
}

native_from_cache() {
  local entry package file folder
  for entry in "${NATIVE[@]}"; do
    read -r package file <<<"$entry"
    folder=$(native_cache_folder "$package")
    native_copy "$folder/$(basename "$file")" "node_modules/$package/$file" || return 1
  done
}

native_from_ahead() {
  local entry package file
  for entry in "${NATIVE[@]}"; do
    read -r package file <<<"$entry"
    native_copy "$NATIVE_AHEAD/node_modules/$package/$file" "node_modules/$package/$file" || return 1
  done
}

native_copy() {
  if ! as_owner test -f "$1"; then return 1; fi
  as_owner mkdir -p "$(dirname "$2")"
  as_owner install -m 0755 "$1" "$2"
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
