#!/usr/bin/env bash
# `release/promote.sh IMAGE ENVIRONMENT`: our own image through our own gate. It says the pinned reference only on yes, and
# an image in production is then known by its version too.
set -euo pipefail
image=$1
environment=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
policy=${SAMEBITS_POLICY:-$root/release/samebits.toml}
pinned=$("${SAMEBITS:?}" promote "$image" --to "$environment" --policy "$policy" ${SAMEBITS_SIGN:+"$SAMEBITS_SIGN"})
if [ "$environment" = production ]; then
  # By digest: a tag is the end of a reference, and nothing of what it names.
  "$SAMEBITS" copy "$pinned" "${pinned%@*}:$("$root/release/version.sh")" --policy "$policy" >/dev/null
fi
printf '%s\n' "$pinned"
