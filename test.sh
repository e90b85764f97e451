#!/usr/bin/env bash
# Installs what the tests need, then runs every test. CI runs this, and nothing else.
# One target folder, dev profile only. Each stage says its name and how long it took.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

summary=()
current=""
started=$SECONDS

finish() {
  local code=$?
  [ ${#summary[@]} -eq 0 ] || printf '%s\n' "" "Stage                 seconds" "${summary[@]}"
  if [ "$code" = 0 ]; then
    say "All passed in $((SECONDS - started)) s."
  else
    say "Failed in stage: ${current:-start} (after $((SECONDS - started)) s). What it said is above."
  fi
}
trap finish EXIT

# stage NAME COMMAND... : runs the command under a headline and notes its time.
stage() {
  current=$1
  shift
  local from=$SECONDS
  printf "\n== %s\n" "$current"
  "$@" </dev/null
  summary+=("$(printf '%-20s %8d' "$current" "$((SECONDS - from))")")
}

tools() {
  need_cargo
  need_cc
  has python3 || apt_install python3
  has_node || fail "Node 20.19 or newer with npm is missing; the web UI and its tests need it."
  has chromium || apt_install chromium
  has openssl || apt_install openssl
  has curl || apt_install curl
  # Mail programs that talk to the server; see tests/e2e/test_clients.py and test_deliver.py.
  apt_install isync libsasl2-modules offlineimap3 fetchmail getmail6 mpop procmail maildrop
  # Dialogues with XCLIENT and over a Unix socket; see tests/e2e/test_mx.py.
  apt_install swaks
  # The far ends of outgoing mail: Postfix's sink, and a name server with a zone of its own; see tests/e2e/test_outgoing.py.
  apt_install_servers nsd postfix
  # In front of us, as proxy and with our mail as its storage; see tests/e2e/test_dovecot_front.py.
  apt_install_servers dovecot-imapd dovecot-pop3d
  # A virus scanner, with a signature of the test's own; see tests/e2e/clamav.py.
  apt_install_servers clamav-daemon
  # The tests start a cluster of their own; any version from 13 on will do.
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || has initdb || apt_install postgresql-15
  if ! cargo nextest --version >/dev/null 2>&1; then
    say "Installing cargo-nextest (some minutes, once)"
    cargo install cargo-nextest --locked --quiet || fail "cargo could not install cargo-nextest."
  fi
  npm_install tests/e2e || fail "npm could not install the packages of tests/e2e."
  python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
}

python_package() {
  cargo xtask wheel --dev
  # Each test file says what it holds the package to; the stubs are checked against the module there.
  (cd crates/python && ../../.venv/bin/python -m pytest)
}

e2e() {
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/e2e/requirements.txt ||
    fail "pip could not install the mail client of tests/e2e/requirements.txt: is there a network?"
  cargo build --workspace --bins --quiet
  tests/e2e/run.sh
}

stage "tools" tools
stage "fmt" cargo fmt --all --check
stage "tidy" cargo xtask tidy
# Before the server is compiled: its binary carries the page.
stage "web" scripts/web.sh check
stage "clippy" cargo clippy --quiet --workspace --all-targets -- -D warnings
stage "tests" cargo nextest run --workspace --no-fail-fast
stage "doctests" cargo test --quiet --doc --workspace
stage "python" python_package
stage "e2e" e2e
