#!/bin/sh
# The end-to-end tests: the real binary, real clients, loopback only. Words choose tests: run.sh crash idle
# OPENPOCZTA=FILE tests another binary; E2E_SEED=N repeats a run of the crash test.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

if [ -z "${OPENPOCZTA:-}" ]; then
    OPENPOCZTA="${CARGO_TARGET_DIR:-$root/target}/debug/openpoczta"
    if [ ! -x "$OPENPOCZTA" ]; then
        echo "e2e: building the server"
        (cd "$root" && cargo build --quiet --package server)
    fi
fi
export OPENPOCZTA

if [ ! -d "$here/node_modules/playwright-core" ]; then
    echo "e2e: installing the letters and the browser driver from npm"
    (cd "$here" && npm ci --ignore-scripts --silent)
fi

export PYTHONDONTWRITEBYTECODE=1
exec python3 "$here/main.py" "$@"
