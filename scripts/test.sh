# shellcheck shell=bash
# The test verb: format, every test binary, one closing line. Sourced, never run.

# check_format: lists the tracked C++ files that clang-format 14 would change.
check_format() {
  if ! git -C "$ROOT" rev-parse --git-dir >/dev/null 2>&1; then
    say "not a git checkout: the format is not checked"
    return 0
  fi
  (cd "$ROOT" && git ls-files -z -- '*.h' '*.cc' '*.cu' | xargs -0 -r -n 16 -P "$(nproc)" clang-format-14 --dry-run -Werror) >&2
}

# count_cases LOG: passed and failed test cases over all binaries of a ctest log. A binary that ends without Catch2's summary
# (a crash, say) counts as one case.
count_cases() {
  awk '
    / Testing: / { summary = 0 }
    /^All tests passed \(/ { for (i = 2; i <= NF; i++) if ($i == "test") passed += $(i - 1); summary = 1 }
    /^test cases:/ {
      for (i = 2; i <= NF; i++) {
        if ($i == "passed") passed += $(i - 1)
        if ($i == "failed" && $(i + 1) != "as") { failed += $(i - 1); named = 1 }
      }
      summary = 1
    }
    /^Test Passed\.$/ { if (!summary) passed++ }
    /^Test Failed\.$/ { if (!summary || !named) failed++; named = 0 }
    END { print passed + 0, failed + 0 }' "$1"
}

run_tests() {
  local status=0 passed failed
  say "checking the format"
  if ! check_format; then
    say "the format differs: run clang-format-14 -i over the files above"
    status=1
  fi
  say "testing"
  (cd "$BUILD" && ctest --output-on-failure --no-tests=error) || status=1
  read -r passed failed < <(count_cases "$BUILD/Testing/Temporary/LastTest.log")
  # A failure outside the test cases (format, a test that never started) must not close with "0 failed".
  if ((status != 0 && failed == 0)); then
    failed=1
  fi
  printf '%d passed, %d failed\n' "$passed" "$failed"
  return "$status"
}
