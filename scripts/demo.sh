#!/usr/bin/env bash
# The demonstration: this machine's package changelogs, a frozen model, and what it knows before and after.
# Usage: demo.sh PROGRAM
set -euo pipefail

readonly PROGRAM="$1"
SCRIPTS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly SCRIPTS
# shellcheck source=scripts/common.sh
source "$SCRIPTS/common.sh"

readonly DOCUMENTS=300
readonly NAMESPACE=changelogs
readonly NEW_DAY=2019-05-17
WORK="$(mktemp -d)"
readonly WORK

clean_up() {
  # Everything they could still save is about to be deleted.
  jobs -p | xargs -r kill -KILL 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

heading() {
  if [[ -t 1 ]]; then
    printf '\n\033[1m%s\033[0m\n' "$*"
  else
    printf '\n%s\n' "$*"
  fi
}

# follow COMMAND...: runs it so that a signal to the demo is not held up until its end.
follow() {
  "$@" &
  wait "$!"
}

start_service() {
  heading "1. A service in a temporary directory, on ports of its own"
  "$PROGRAM" serve --directory "$WORK/data" --port 0 --events-port 0 --ready-file "$WORK/ready.json" 2>"$WORK/serve.log" &
  SERVER=$!
  until [[ -s "$WORK/ready.json" ]]; do
    kill -0 "$SERVER" 2>/dev/null || fail "the service did not start: $(last_words "$WORK/serve.log")"
    sleep 0.1
  done
  ALLUVIUM_ENDPOINT="$(python3 -c 'import json, sys; print(json.load(sys.stdin)["endpoint"])' <"$WORK/ready.json")"
  export ALLUVIUM_ENDPOINT
  echo "listening at $ALLUVIUM_ENDPOINT"
}

# All packages but the kernel's: its entries are as long as books, and reading them would take most of the time.
publish_changelogs() {
  heading "2. The newest $DOCUMENTS uploads in this machine's package changelogs become memories"
  local folder
  mkdir "$WORK/changelogs"
  for folder in /usr/share/doc/*; do
    [[ "$folder" == */linux-* ]] || ln -s "$folder" "$WORK/changelogs"
  done
  follow "$PROGRAM" publish "debian-changelogs:$WORK/changelogs" --limit "$DOCUMENTS" --namespace "$NAMESPACE" --wait
}

# forms EXPECTED: what is expected and, for a day, the ways changelogs write it.
forms() {
  printf '%s\n' "$1"
  if [[ "$1" =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]]; then
    LC_ALL=C date -u -d "$1" '+%d %b %Y%n%-d %b %Y%n%-d %B %Y'
  fi
}

# ask CODEC QUESTION EXPECTED: shows the answer; succeeds when its first line holds what is expected.
ask() {
  "$PROGRAM" ask "$2" --namespace "$NAMESPACE" --codec "$1" >"$WORK/answer"
  sed 's/^/     /' "$WORK/answer"
  head -n 1 "$WORK/answer" | grep -qiF -f <(forms "$3")
}

ask_questions() {
  heading "3. Questions only these documents answer: the bare model first, then with memories"
  python3 "$SCRIPTS/demo_questions.py" pick "$PROGRAM" "$NAMESPACE" >"$WORK/questions"
  [[ -s "$WORK/questions" ]] || fail "no entry to ask about: does this machine keep its package changelogs in /usr/share/doc?"
  ASKED=0 BARE_RIGHT=0 MEMORY_RIGHT=0
  local kind id question expected
  while IFS=$'\t' read -r kind id question expected <&3; do
    ASKED=$((ASKED + 1))
    printf '\n%d) %s\n   the changelog says: %s\n' "$ASKED" "$question" "$expected"
    echo "   bare model:"
    ! ask none "$question" "$expected" || BARE_RIGHT=$((BARE_RIGHT + 1))
    echo "   with memories:"
    if ask kv "$question" "$expected"; then
      MEMORY_RIGHT=$((MEMORY_RIGHT + 1))
      [[ "$kind" != date ]] || printf '%s\t%s\t%s\n' "$id" "$question" "$expected" >>"$WORK/known"
    fi
  done 3<"$WORK/questions"
  # The replaced document is one whose date was just named rightly; failing that, any that was asked about.
  awk -F '\t' -v OFS='\t' '$1 == "date" {print $2, $3, $4}' "$WORK/questions" >>"$WORK/known"
}

replace_and_delete() {
  local id question expected
  IFS=$'\t' read -r id question expected <"$WORK/known"
  heading "4. Version 2 of one document gives another day"
  python3 "$SCRIPTS/demo_questions.py" revise "$PROGRAM" "$NAMESPACE" "$id" "$NEW_DAY" >"$WORK/revision.jsonl"
  "$PROGRAM" publish "$WORK/revision.jsonl" --namespace "$NAMESPACE" --wait
  printf '\n%s (version 1: %s, version 2: %s)\n' "$question" "$expected" "$NEW_DAY"
  CHANGED=no
  ! ask kv "$question" "$NEW_DAY" || CHANGED=yes

  heading "5. The document is deleted"
  "$PROGRAM" documents delete "$id" --namespace "$NAMESPACE"
  GONE=yes
  ! "$PROGRAM" documents show "$id" --namespace "$NAMESPACE" >/dev/null 2>&1 || GONE=no
  printf '\n%s\n' "$question"
  ! ask kv "$question" "$NEW_DAY" || GONE=no
  ! grep -qF -- "$id " "$WORK/answer" || GONE=no
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
}

start_service
publish_changelogs
ask_questions
replace_and_delete
report
stop_service
[[ "$GONE" == yes ]] || fail "the deleted document was still there"
