#!/usr/bin/env bash
# Builds OpenPoczta and starts the demo: a mail server with a filled mailbox, on loopback only.
# Arguments go to `openpoczta demo`, for example: ./run.sh --data ./mail
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

say "1/3 Looking for what the build needs: cargo and a C compiler"
need_cargo
need_cc

say "2/3 The web UI (npm, in web/)"
scripts/web.sh

say "3/3 The server (cargo build --release; the first time takes some minutes)"
cargo build --release -p server --bin openpoczta ||
  fail "the build failed; see above. If crates could not be fetched, check the network."

say "Starting the demo; Ctrl-C stops it"
exec "${CARGO_TARGET_DIR:-target}/release/openpoczta" demo "$@"
