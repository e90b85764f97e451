#!/usr/bin/env bash
# Builds the web UI into web/dist when its sources are newer. Without Node it says so and leaves it out.
#   scripts/web.sh          build; a missing Node is a note, not a failure
#   scripts/web.sh check    types, lint, size budget and build; everything must be there
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

what=${1:-build}
stamp=web/node_modules/.openpoczta-$what

give_up() {
  [ "$what" = check ] && fail "$1"
  warn "$1 The server will work without its web page."
  exit 0
}

# True when a file of the UI is newer than its last good build.
is_old() {
  [ -f web/dist/index.html ] && [ -f "$stamp" ] || return 0
  [ -n "$(find web -path web/node_modules -prune -o -path web/dist -prune -o -newer "$stamp" -print -quit)" ]
}

has_node || give_up "Node 20.19 or newer with npm is missing, so the web UI cannot be built."
npm_install web || give_up "npm could not install the packages of the web UI."
if is_old; then
  say "Building the web UI"
  (cd web && npm run --silent "$what" </dev/null) || give_up "the web UI does not build; see above."
  # The check builds too.
  touch "$stamp" web/node_modules/.openpoczta-build
fi
