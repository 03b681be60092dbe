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
  permit | deployed | removed) flag=--in ;;
  verify) flag=--to ;;
  *) fail 2 "input command: $command is none of check, promote, permit, deployed, removed, approve, verify" ;;
esac
required image "$image"
if [ "$command" != verify ]; then required to "$to" " by $command"; fi
case ${INPUT_PERMIT:-} in
  '' | false) ;;
  true)
    if [ "$command" != promote ]; then fail 2 "input permit: promote gives permits, and command is $command"; fi
    if [ -z "${RUNNER_TEMP:-}" ]; then fail 3 'RUNNER_TEMP is not set, so there is no place for a permit'; fi
    ;;
  *) fail 2 "input permit: ${INPUT_PERMIT:-} is neither true nor false" ;;
esac
if [ -z "${SAMEBITS_BINARY:-}" ]; then fail 3 'samebits was not installed'; fi

# `--flag=VALUE` and `--` keep a value that begins with a dash a value.
args=("$command")
if [ "$command" = permit ]; then args+=(verify); fi
if [ -n "$to" ]; then args+=("$flag=$to"); fi
if [ -n "${INPUT_POLICY:-}" ]; then args+=("--policy=$INPUT_POLICY"); fi
if [ -n "${INPUT_LEDGER:-}" ]; then args+=("--ledger=$INPUT_LEDGER"); fi
if [ -n "${INPUT_SERVICE:-}" ]; then args+=("--service=$INPUT_SERVICE"); fi
if [ -n "${INPUT_KEYLESS:-}" ]; then args+=("--keyless=$INPUT_KEYLESS"); fi
# The step's output has it; the file is a later step's. One of an earlier step does not outlive the question.
if [ "${INPUT_PERMIT:-}" = true ]; then args+=("--permit=$RUNNER_TEMP/samebits-permit.json"); fi
# Said, so that it is trouble where the outputs of the step cannot be written. `verify` decides nothing and has none.
if [ "$command" != verify ]; then args+=(--output=github); fi
while IFS= read -r line; do
  if [ -n "$line" ]; then args+=("--output=$line"); fi
done <<<"${INPUT_OUTPUT:-}"
exec "$SAMEBITS_BINARY" "${args[@]}" -- "$image"
