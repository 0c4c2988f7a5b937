# shellcheck shell=bash
# Programs the benchmarks compare with, in a Python environment of their own inside the cache. Sourced, never run.

install_peers() {
  local folder="$CACHE/peers" pins="$SCRIPTS/pins/peers.txt" log
  if ! cmp -s "$pins" "$folder/.pins"; then
    require_machine
    make_folder "$CACHE"
    require_free_mb "$CACHE" 1500 "the peers' environment"
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3 python3-venv
    say "installing $(paste -sd ' ' "$pins") into $folder"
    log="$(mktemp)"
    rm -rf "$folder"
    python3 -m venv "$folder" >"$log" 2>&1 || fail "cannot make a Python environment in $folder: $(last_words "$log")"
    "$folder/bin/python" -m pip install --quiet --requirement "$pins" >"$log" 2>&1 ||
      fail "cannot install the peers (is there a network?): $(grep '^ERROR' "$log" | tail -n 1 | cut -c 1-300)"
    cp "$pins" "$folder/.pins"
    rm -f "$log"
  fi
  say "the peers are in $folder"
}
