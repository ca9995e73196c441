# shellcheck shell=bash
# Whether dist/ is older than what it is made from. Sourced by the launcher, so it must cost a few milliseconds only.

# sources_changed ROOT: true when there is no finished build, or a source file, or a folder of them (that is how a
# removed file shows), is newer than it. An installed copy without .git has no sources that change.
sources_changed() {
  [ -f "$1/dist/.build-stamp" ] || return 0
  [ -e "$1/.git" ] || return 1
  local folder places=("$1/deploy/build.mjs" "$1/package.json" "$1/tsconfig.json")
  for folder in proto shared controller agent gateway cli; do
    if [ -d "$1/$folder" ]; then places+=("$1/$folder"); fi
  done
  # Generated code is made by the build, not from elsewhere.
  [ -n "$(find "${places[@]}" -path "$1/shared/gen" -prune -o -newer "$1/dist/.build-stamp" -print -quit)" ]
}
