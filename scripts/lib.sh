# shellcheck shell=bash
# What run.sh, test.sh and scripts/web.sh share: talking to a person, and finding or installing tools.
# Source it with the checkout as the current folder.

say() { printf '%s\n' "$*"; }
warn() { printf 'Note: %s\n' "$*" >&2; }
fail() {
  printf 'Cannot go on: %s\n' "$*" >&2
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# Tools installed by rustup lie here, also when the shell's profile does not say so.
PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

has_package() { dpkg-query --show --showformat='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

# apt_install PACKAGE... : installs the Debian packages that are not there yet.
apt_install() {
  local missing=() package as_root=()
  for package in "$@"; do
    has_package "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  has apt-get || fail "this needs ${missing[*]} (Debian's names), and there is no apt-get here to install them."
  if [ "$(id -u)" != 0 ]; then
    has sudo || fail "please install as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "Installing with apt: ${missing[*]}"
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}")
  "${as_root[@]}" "${install[@]}" </dev/null >/dev/null 2>&1 && return 0
  # The lists of a fresh machine are empty or old.
  "${as_root[@]}" apt-get update -q </dev/null >/dev/null || fail "apt-get update failed: is there a network?"
  "${as_root[@]}" "${install[@]}" </dev/null >/dev/null || fail "apt could not install ${missing[*]}."
}

# apt_install_servers PACKAGE... : the same for servers, which this machine does not start; the tests start their own.
apt_install_servers() {
  local policy=/usr/sbin/policy-rc.d package absent="" as_root=() code=0
  for package in "$@"; do
    has_package "$package" || absent=yes
  done
  [ -n "$absent" ] || return 0
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  if ! has_package postfix && has debconf-set-selections; then
    echo "postfix postfix/main_mailer_type select No configuration" | "${as_root[@]}" debconf-set-selections
  fi
  # Debian asks this program whether a service may be started: 101 is no.
  if [ -e "$policy" ]; then
    apt_install "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  (apt_install "$@") || code=1
  "${as_root[@]}" rm -f "$policy"
  return "$code"
}

need_cargo() {
  has cargo || fail "cargo is missing. Get Rust 1.95 or newer from https://rustup.rs and start this again."
  local version
  version=$(cargo --version | cut -d' ' -f2)
  [ "$(printf '%s\n1.95\n' "$version" | sort -V | head -n1)" = 1.95 ] ||
    fail "cargo $version is too old. \`rustup update stable\` brings 1.95 or newer."
}

# SQLite and a few checksums are C, compiled into our binary.
need_cc() {
  has cc || apt_install gcc libc6-dev
  has cc || fail "no C compiler named cc. Please install gcc."
}

# The web UI's tools ask for this much.
has_node() {
  has node && has npm && node -e '
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1)'
}

# npm_install FOLDER : npm ci, when the lock file is newer than what is installed.
npm_install() {
  local folder=$1
  [ "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ] && return 0
  say "Installing npm packages of $folder"
  # Newer npm 11 refuses a good lock file in `npm ci` when the registry lacks an optional package for
  # another platform (npm/cli issue 9846). `install --no-save` takes the same versions and keeps the lock file.
  local quiet=(--no-audit --no-fund --loglevel=error)
  (cd "$folder" && { npm ci "${quiet[@]}" 2>/dev/null || npm install --no-save "${quiet[@]}"; } </dev/null) || return 1
  # npm leaves it as it is when nothing had to change.
  touch "$folder/node_modules/.package-lock.json"
}
