#!/usr/bin/env bash
# The demonstration: this machine's package changelogs, a frozen model, and what it knows before and after.
# Usage: demo.sh PROGRAM
set -euo pipefail

readonly PROGRAM="$1"
SCRIPTS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly SCRIPTS
source "$SCRIPTS/common.sh"

readonly DOCUMENTS=300
readonly NAMESPACE=changelogs
WORK="$(mktemp -d)"
SERVER=
readonly WORK

clean_up() {
  if [[ -n "$SERVER" ]]; then
    kill "$SERVER" 2>/dev/null || true
    wait "$SERVER" 2>/dev/null || true
  fi
  rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

heading() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[[ -t 1 ]] || heading() { printf '\n%s\n' "$*"; }

# json FIELD: one field of the JSON object on standard input, dots for nesting.
json() { python3 -c 'import functools, json, sys; print(functools.reduce(lambda o, k: o[k], sys.argv[1].split("."), json.load(sys.stdin)))' "$1"; }

start_service() {
  heading "1. A service in a temporary directory, on ports of its own"
  "$PROGRAM" serve --directory "$WORK/data" --port 0 --events-port 0 --ready-file "$WORK/ready.json" 2>"$WORK/serve.log" &
  SERVER=$!
  until [[ -s "$WORK/ready.json" ]]; do
    kill -0 "$SERVER" 2>/dev/null || fail "the service did not start: $(last_words "$WORK/serve.log")"
    sleep 0.1
  done
  ALLUVIUM_ENDPOINT="$(json endpoint <"$WORK/ready.json")"
  export ALLUVIUM_ENDPOINT
  echo "listening at $ALLUVIUM_ENDPOINT"
}

publish_changelogs() {
  heading "2. The newest $DOCUMENTS uploads in this machine's package changelogs become memories"
  "$PROGRAM" publish debian-changelogs --limit "$DOCUMENTS" --namespace "$NAMESPACE" --wait
}

# ask CODEC QUESTION EXPECTED: shows the answer; succeeds when its first line holds what the changelog says.
ask() {
  "$PROGRAM" ask "$2" --namespace "$NAMESPACE" --codec "$1" >"$WORK/answer"
  sed 's/^/     /' "$WORK/answer"
  head -n 1 "$WORK/answer" | grep -qiF -- "$3"
}

ask_questions() {
  heading "3. Questions only these documents answer: the bare model first, then with memories"
  python3 "$SCRIPTS/demo_questions.py" pick "$PROGRAM" "$NAMESPACE" >"$WORK/questions"
  [[ -s "$WORK/questions" ]] || fail "this machine's changelogs hold no entry to ask about"
  ASKED=0 BARE_RIGHT=0 MEMORY_RIGHT=0
  local id question expected
  while IFS=$'\t' read -r id question expected <&3; do
    ASKED=$((ASKED + 1))
    printf '\n%d) %s\n   the changelog says: %s\n' "$ASKED" "$question" "$expected"
    echo "   bare model:"
    ! ask none "$question" "$expected" || BARE_RIGHT=$((BARE_RIGHT + 1))
    echo "   with memories:"
    ! ask kv "$question" "$expected" || MEMORY_RIGHT=$((MEMORY_RIGHT + 1))
  done 3<"$WORK/questions"
}

replace_and_delete() {
  local id question expected
  IFS=$'\t' read -r id question expected < <(grep -F 'Who uploaded' "$WORK/questions")
  heading "4. Version 2 of one document says something else"
  python3 "$SCRIPTS/demo_questions.py" revise "$PROGRAM" "$NAMESPACE" "$id" "Grace Hopper" |
    "$PROGRAM" publish - --namespace "$NAMESPACE" --wait
  printf '%s (was: %s)\n' "$question" "$expected"
  CHANGED=no
  ! ask kv "$question" "Grace Hopper" || CHANGED=yes

  heading "5. The document is deleted"
  "$PROGRAM" documents delete "$id" --namespace "$NAMESPACE"
  GONE=yes
  ! "$PROGRAM" documents show "$id" --namespace "$NAMESPACE" >/dev/null 2>&1 || GONE=no
  printf '%s\n' "$question"
  ! ask kv "$question" "Grace Hopper" || GONE=no
  ! grep -qF -- "$id" "$WORK/answer" || GONE=no
}

report() {
  heading "6. Measured"
  "$PROGRAM" status
  printf 'right answers      bare model %d of %d, with memories %d of %d\n' "$BARE_RIGHT" "$ASKED" "$MEMORY_RIGHT" "$ASKED"
  printf 'replaced document  answer changed: %s\n' "$CHANGED"
  printf 'deleted document   gone: %s\n' "$GONE"
  printf 'whole demo         %d s\n' "$SECONDS"
}

stop_service() {
  kill -TERM "$SERVER"
  wait "$SERVER" || fail "the service did not stop cleanly: $(last_words "$WORK/serve.log")"
  SERVER=
}

start_service
publish_changelogs
ask_questions
replace_and_delete
report
stop_service
[[ "$GONE" == yes ]] || fail "the deleted document was still there"
