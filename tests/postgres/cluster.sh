#!/usr/bin/env bash
# Makes an empty PostgreSQL database for a test and prints its URL. It lies in a private cluster on 127.0.0.1, in a
# temporary folder, synced like a real one. The cluster is started by the first who asks and lives as long as the
# process OWNER_PID does; then it is stopped and its folder removed, however that process ended.
#
#   tests/postgres/cluster.sh OWNER_PID            postgres://openpoczta:...@127.0.0.1:PORT/t123
#   tests/postgres/cluster.sh OWNER_PID drop URL   removes that database; who is still connected is thrown out
#   tests/postgres/cluster.sh OWNER_PID restart    as after a crash: everybody is thrown out, the log is replayed
#   tests/postgres/cluster.sh OWNER_PID tls CERTIFICATE KEY   switches TLS on with these files, or changes them
#
# The last two are for who has a cluster of its own: a test whose OWNER_PID is itself.
# Tests of one run share one cluster: OWNER_PID is the test runner.
set -euo pipefail

owner=${1:?"usage: tests/postgres/cluster.sh OWNER_PID [drop URL | restart | tls CERTIFICATE KEY]"}
folder=${TMPDIR:-/tmp}/openpoczta-postgres-$(id -u)-$owner

fail() {
  printf 'No PostgreSQL for this test: %s\n' "$*" >&2
  exit 1
}

# PostgreSQL refuses to run as root.
if [ "$(id -u)" = 0 ]; then
  as_user=(runuser -u postgres --)
else
  as_user=()
fi

# Debian keeps the server's programs out of PATH, one folder for each version: the newest is taken.
for programs in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -Vr) "$(dirname "$(command -v initdb || echo /initdb)")"; do
  [ -x "$programs/initdb" ] && [ -x "$programs/postgres" ] && break
  programs=""
done
[ -n "$programs" ] || fail "its server is not installed. Type: sudo apt-get install postgresql-15"
[ "$(id -u)" != 0 ] || id postgres >/dev/null 2>&1 || fail "there is no user postgres to run it as. Type: apt-get install postgresql-15"

# Called in a process of its own: waits for the owner's end, then takes everything away.
watch() {
  while kill -0 "$owner" 2>/dev/null; do sleep 0.5; done
  "${as_user[@]}" "$programs/pg_ctl" stop --silent --mode=immediate --pgdata="$folder/data" || true
  rm -rf "$folder" "$folder.lock"
}

start() {
  rm -rf "$folder"
  mkdir -m 700 "$folder"
  (umask 077 && od -An -tx8 -N16 /dev/urandom | tr -d ' \n' >"$folder/password")
  [ "$(id -u)" != 0 ] || chown -R postgres: "$folder"
  cd "$folder"
  "${as_user[@]}" "$programs/initdb" --pgdata=data --username=openpoczta --pwfile=password --no-sync \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >initdb.log 2>&1 || fail "initdb: $(tail -n 3 initdb.log)"
  # Who asked for the address of a free port is not alone in the world: a port taken meanwhile means another try.
  local port try
  for try in 1 2 3 4 5; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    "${as_user[@]}" "$programs/pg_ctl" start --silent --wait --timeout=60 --pgdata=data --log=server.log \
      --options="-c listen_addresses=127.0.0.1 -p $port -c unix_socket_directories='$folder' -c fsync=on \
        -c max_connections=300 -c shared_buffers=32MB -c max_wal_size=256MB" >/dev/null 2>&1 </dev/null 9>&- && break
    [ "$try" != 5 ] || fail "it did not start: $(tail -n 5 server.log)"
  done
  printf 'postgres://openpoczta:%s@127.0.0.1:%s/postgres\n' "$(cat password)" "$port" >url.new
  mv url.new url
  export -f watch
  export owner folder programs
  # A session of its own with nothing open, so that the test runner does not wait for it.
  as_user_text="${as_user[*]}" setsid bash -c 'read -ra as_user <<<"$as_user_text"; watch' \
    >/dev/null 2>&1 </dev/null 9>&- &
}

kill -0 "$owner" 2>/dev/null || fail "there is no process $owner to live as long as"
exec 9>"$folder.lock"
flock 9
# A folder whose server is not running is left from a machine that went down.
if ! { [ -s "$folder/url" ] && "${as_user[@]}" "$programs/pg_ctl" status --pgdata="$folder/data" >/dev/null; }; then
  start >&2
fi
flock -u 9
server=$(cat "$folder/url")
psql=("$programs/psql" --quiet --no-psqlrc --set=ON_ERROR_STOP=1 "$server")

if [ "${2:-}" = drop ]; then
  "${psql[@]}" --command="DROP DATABASE IF EXISTS ${3##*/} WITH (FORCE)"
elif [ "${2:-}" = restart ]; then
  # It keeps the options it was started with, and one is a path from here.
  cd "$folder"
  "${as_user[@]}" "$programs/pg_ctl" restart --silent --wait --timeout=60 --mode=immediate --pgdata="$folder/data" \
    --log="$folder/server.log" >/dev/null 2>&1 </dev/null || fail "it did not start again: $(tail -n 5 "$folder/server.log")"
elif [ "${2:-}" = tls ]; then
  install -m 600 "$3" "$folder/data/server.crt"
  install -m 600 "$4" "$folder/data/server.key"
  [ "$(id -u)" != 0 ] || chown postgres: "$folder/data/server.crt" "$folder/data/server.key"
  "${psql[@]}" --command="ALTER SYSTEM SET ssl = on"
  "${psql[@]}" --command="SELECT pg_reload_conf()" >/dev/null
else
  name=t$$_$RANDOM
  "${psql[@]}" --command="CREATE DATABASE $name"
  printf '%s\n' "${server%/*}/$name"
fi
