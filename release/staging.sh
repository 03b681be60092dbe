#!/usr/bin/env bash
# `release/staging.sh IMAGE ARCHITECTURE`: runs the image by its digest, without network and rights, and records what ran as
# the container engine reports it. That is all the staging there is of a program that somebody runs once.
set -euo pipefail
image=$1
architecture=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
policy=${SAMEBITS_POLICY:-$root/release/samebits.toml}
engine=${CONTAINER_ENGINE:-docker}

record() {
  "${SAMEBITS:?}" deployed "$image" --in staging --name "$architecture" --policy "$policy" \
    ${SAMEBITS_SIGN:+"$SAMEBITS_SIGN"} "$@"
}

"$engine" pull --quiet --platform "linux/$architecture" "$image" >/dev/null
said=$("$engine" run --rm --network none --read-only --cap-drop ALL --platform "linux/$architecture" "$image" --version) || said=
if [ "$said" != "samebits $("$root/release/version.sh")" ]; then
  record --failed
  echo "::error::the image says that it is: $said" >&2
  exit 1
fi
observed=$("$engine" image inspect --format '{{index .RepoDigests 0}}' "$image")
record --observed "${observed##*@}" --platform "linux/$architecture" --replicas 1
