# shellcheck shell=bash
# Configure and compile. Sourced, never run.

readonly BUILD="$ROOT/build/release"

# configure: runs cmake when it has not run with these very arguments; later changes of CMake files ninja sees itself.
configure() {
  local arguments=(--preset release -DALLUVIUM_WERROR=OFF)
  [[ "${CI:-}" != true ]] || arguments=(--preset ci)
  arguments+=("-DALLUVIUM_CACHE=$CACHE")
  [[ -f "$BUILD/build.ninja" && "$(cat "$BUILD/.arguments" 2>/dev/null)" == "${arguments[*]}" ]] && return
  say "configuring (${arguments[*]})"
  local log
  log="$(mktemp)"
  if ! (cd "$ROOT" && cmake "${arguments[@]}" >"$log" 2>&1); then
    cat "$log" >&2
    fail "cmake cannot configure the build: $(grep -A 1 'CMake Error' "$log" | tail -n 1)"
  fi
  rm -f "$log"
  echo "${arguments[*]}" >"$BUILD/.arguments"
}

# build_program: everything from a bare machine to build/release/alluvium and the test binaries.
build_program() {
  require_machine
  install_build_packages
  fill_cache
  configure
  if [[ ! -x "$BUILD/alluvium" ]]; then
    require_free_mb "$ROOT" 600 "building"
    say "building; the first time takes minutes"
  fi
  # Ninja's own words are left out when there is nothing to do.
  ninja -C "$BUILD" | sed -u -e '/^ninja: Entering/d' -e '/^ninja: no work/d' -e '/^\[0\//d' >&2 ||
    fail "the build failed; what the compiler said is above"
}
