#!/usr/bin/env bash
# Runs one verb with the inputs as they are: one argument each, never read by a shell. Its exit code is the step's; it
# writes outputs, summary and annotations itself.
set -euo pipefail
. "${BASH_SOURCE[0]%/*}/common.sh"

# `required: true` in action.yml is a word to the reader; the runner does not enforce it.
required() {
  if [ -z "$2" ]; then fail 2 "input $1 is required${3:-}, and is empty"; fi
}

command=${INPUT_COMMAND:-}
image=${INPUT_IMAGE:-}
to=${INPUT_TO:-}
required command "$command"
case $command in
  check | promote | approve) flag=--to ;;
  deployed | removed) flag=--in ;;
  verify) flag=--to ;;
  *) fail 2 "input command: $command is none of check, promote, deployed, removed, approve, verify" ;;
esac
required image "$image"
if [ "$command" != verify ]; then required to "$to" " by $command"; fi
if [ -z "${SAMEBITS_BINARY:-}" ]; then fail 3 'samebits was not installed'; fi

# `--flag=VALUE` and `--` keep a value that begins with a dash a value.
args=("$command")
if [ -n "$to" ]; then args+=("$flag=$to"); fi
if [ -n "${INPUT_POLICY:-}" ]; then args+=("--policy=$INPUT_POLICY"); fi
if [ -n "${INPUT_LEDGER:-}" ]; then args+=("--ledger=$INPUT_LEDGER"); fi
if [ -n "${INPUT_SERVICE:-}" ]; then args+=("--service=$INPUT_SERVICE"); fi
if [ -n "${INPUT_KEYLESS:-}" ]; then args+=("--keyless=$INPUT_KEYLESS"); fi
# Said, so that it is trouble where the outputs of the step cannot be written. `verify` decides nothing and has none.
if [ "$command" != verify ]; then args+=(--output=github); fi
while IFS= read -r line; do
  if [ -n "$line" ]; then args+=("--output=$line"); fi
done <<<"${INPUT_OUTPUT:-}"
exec "$SAMEBITS_BINARY" "${args[@]}" -- "$image"
