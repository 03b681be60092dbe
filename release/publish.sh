#!/usr/bin/env bash
# `release/publish.sh FOLDER`: makes the release of TAG from FOLDER: all that a release has, as it was attested, or nothing.
set -euo pipefail
version=$("$(dirname "${BASH_SOURCE[0]}")/version.sh")
cd "$1"
sha256sum --check --strict --quiet SHA256SUMS
binaries=()
while read -r _ name; do binaries+=("$name"); done <SHA256SUMS
assets=("${binaries[@]}" SHA256SUMS SHA256SUMS.sigstore.json "samebits-$version.provenance.sigstore.json"
  "samebits-$version.cdx.json" "samebits-$version-completions-and-man.tar.gz")
for asset in "${assets[@]}"; do
  if [ ! -s "$asset" ]; then
    echo "::error::$asset is missing: nothing is published" >&2
    exit 1
  fi
done
gh release create "${TAG:?}" --verify-tag --title "samebits $version" \
  --notes "The image, as samebits promoted it: \`${IMAGE:?no promotion said yes}\`" -- "${assets[@]}"
