# shellcheck shell=bash
# What every part of ./run shares: messages, the cache folder, checks of the machine. Sourced, never run.

readonly CACHE="${ALLUVIUM_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/alluvium}"
export ALLUVIUM_CACHE="$CACHE"

# Messages go to stderr, so that the output of ./run alluvium stays the program's own.
say() { printf '==> %s\n' "$*" >&2; }

fail() {
  printf 'run: %s\n' "$*" >&2
  exit 1
}

fail_usage() {
  printf 'run: %s\n' "$*" >&2
  exit 2
}

# require_machine: stops on systems the pinned binaries do not fit.
require_machine() {
  [[ "$(uname -s)" == Linux ]] || fail "Linux is needed, this is $(uname -s)"
  [[ "$(uname -m)" == x86_64 ]] || fail "an x86-64 processor is needed, this is $(uname -m)"
}

# require_free_mb FOLDER MB WHAT: stops when the disk that holds FOLDER has less room than that.
require_free_mb() {
  local folder="$1" wanted="$2" what="$3" free
  free=$(($(df -Pk "$folder" | awk 'NR == 2 {print $4}') / 1024))
  ((free >= wanted)) || fail "$what needs $wanted MB on the disk of $folder, $free MB are free"
}

# make_folder FOLDER: creates it, or stops and says so.
make_folder() {
  { mkdir -p "$1" 2>/dev/null && [[ -w "$1" ]]; } ||
    fail "cannot write to $1: set ALLUVIUM_CACHE to a folder that can be written"
}

# last_words LOG: the last line of a log that says something, for one-line failures.
last_words() { grep -v '^[[:space:]]*$' "$1" | tail -n 1 | cut -c 1-300; }
