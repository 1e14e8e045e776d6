# shellcheck shell=bash
# Functions that the shell scripts share.

step() { printf '\n==> %s (after %d s)\n' "$*" "$SECONDS"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }
install() {
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}
# `need COMMAND PACKAGE…` installs the Debian packages if the command is missing.
need() { command -v "$1" >/dev/null || install "${@:2}"; }
