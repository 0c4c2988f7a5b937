# shellcheck shell=bash
# Debian packages: asks dpkg what is there, and apt only for what is not. Sourced, never run.

# missing_packages NAME...: prints those that are not installed, one a line.
missing_packages() {
  local installed
  installed="$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p' || true)"
  comm -23 <(printf '%s\n' "$@" | sort -u) <(sort -u <<<"$installed")
}

# as_root COMMAND...: runs it with the rights apt needs.
as_root() {
  if ((EUID == 0)); then
    "$@"
  else
    sudo "$@"
  fi
}

# install_packages NAME...: makes sure that all of them are installed.
install_packages() {
  command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
    fail "this is not a Debian system: install what scripts/packages.txt names, then build with 'cmake --preset release'"
  local missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]} > 0)) || return 0

  ((EUID == 0)) || command -v sudo >/dev/null ||
    fail "these packages are missing, and only root can install them: ${missing[*]}"
  require_free_mb /var/cache/apt 1500 "installing packages"
  say "installing ${#missing[@]} packages: ${missing[*]}"
  local log
  log="$(mktemp)"
  export DEBIAN_FRONTEND=noninteractive
  if ! as_root apt-get update -q >"$log" 2>&1; then
    fail "apt cannot fetch its lists (is there a network?): $(last_words "$log")"
  fi
  if ! as_root apt-get install -q -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
    fail "apt cannot install ${missing[*]}: $(last_words "$log")"
  fi
  rm -f "$log"
}

# install_build_packages: what building and testing need.
install_build_packages() {
  local wanted
  mapfile -t wanted <"$SCRIPTS/packages.txt"
  install_packages "${wanted[@]}"
}
