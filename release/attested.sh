#!/usr/bin/env bash
# `release/attested.sh SUMS FILE…`: each FILE is, by its name and its bytes, one of those that were attested.
set -euo pipefail
sums=$1
shift
for file in "$@"; do
  said=$(sha256sum <"$file")
  if ! grep -qxF "${said%% *}  ${file##*/}" "$sums"; then
    echo "::error::$file is not what was attested" >&2
    exit 1
  fi
done
