#!/usr/bin/env bash
# The REST API with plain curl: an account, a node, files, the file system, and out again.
#
#   docs/examples/rest-tour.sh URL USERNAME PASSWORD EMAIL
#
# The code that comes by mail is asked for on standard input. Creating a node is for administrators, and for users where
# the setting nodes-per-user allows it; without that the tour takes the nodes that are there.
set -euo pipefail

url=$1 username=$2 password=$3 email=$4
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

say() { printf '\n== %s\n' "$*" >&2; }
# One value out of a flat JSON answer.
value() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\)\"\{0,1\}.*/\1/p"; }
json() { curl --silent --show-error --fail-with-body --header 'Content-Type: application/json' "$@"; }
api() { curl --silent --show-error --fail-with-body --header "Authorization: Bearer $token" "$@"; }

say "register $username"
json "$url/auth/register/init" --data "{\"username\":\"$username\",\"password\":\"$password\",\"email\":\"$email\"}"
say "the code that was mailed to $email"
read -r code
token=$(json "$url/auth/register/verify" --data "{\"email\":\"$email\",\"code\":\"$code\"}" | value token)

say 'log in: password, then another code by mail'
json "$url/auth/login/init" --data "{\"username\":\"$username\",\"password\":\"$password\"}"
read -r code
token=$(json "$url/auth/login/verify" --data "{\"username\":\"$username\",\"code\":\"$code\"}" | value token)
api "$url/auth/whoami"

say 'a node'
if ! api "$url/api/nodes" --header 'Content-Type: application/json' \
  --data '{"name":"tour","memory_mb":128,"storage_size":268435456}'; then
  say 'the cluster lets its administrators alone create nodes; these are there'
fi
api "$url/api/nodes"

say 'a file: up, listed, down, compared'
head -c 3000000 /dev/urandom >"$folder/up"
id=$(api "$url/api/files/upload" --form "file=@$folder/up;filename=tour.bin" | value id)
api "$url/api/files"
api "$url/api/files/$id/download" --output "$folder/down"
cmp "$folder/up" "$folder/down"
api "$url/api/files/$id/download" --range 0-99 | cmp - <(head -c 100 "$folder/up")
api -X DELETE "$url/api/files/$id"

say 'the file system'
api "$url/api/fs/mkdir" --header 'Content-Type: application/json' --data '{"path":"/photos/2026","parents":true}'
api "$url/api/fs/upload" --form "file=@$folder/up" --form path=/photos/2026/cat.jpg
api "$url/api/fs/move" --header 'Content-Type: application/json' \
  --data '{"old_path":"/photos/2026/cat.jpg","new_path":"/photos/cat.jpg"}'
api "$url/api/fs/ls?path=/photos"
api "$url/api/fs/download?path=/photos/cat.jpg" --output "$folder/cat"
cmp "$folder/up" "$folder/cat"
api "$url/api/fs/quota"
api -X DELETE "$url/api/fs/delete?path=/photos&recursive=true"

say 'Python in a sandbox'
api "$url/api/lambda/run" --header 'Content-Type: application/json' \
  --data '{"code":"print(6 * event[\"n\"])","event":{"n":7}}' | tee "$folder/lambda"
grep -q '"stdout":"42' "$folder/lambda"

say 'out: the token is void from now on'
api -X POST "$url/auth/logout"
status=$(curl --silent --output /dev/null --write-out '%{http_code}' --header "Authorization: Bearer $token" "$url/api/files")
[ "$status" = 401 ]
say 'done'
