#!/usr/bin/env bash
# `release/sbom.sh FOLDER`: what the binary is made of, as CycloneDX 1.5, from the lock file. The same for every target.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$1
cyclonedx=0.5.9
version=$(release/version.sh)
bin=${RUNNER_TEMP:-/tmp}/cargo-cyclonedx-$cyclonedx
if [ ! -x "$bin/bin/cargo-cyclonedx" ]; then
  cargo install --quiet --locked --root "$bin" "cargo-cyclonedx@$cyclonedx"
fi
cargo metadata --locked --format-version 1 >/dev/null
# It writes beside Cargo.toml and puts `.json` behind the name.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} PATH=$bin/bin:$PATH \
  cargo cyclonedx --quiet --format json --spec-version 1.5 --all --target all --override-filename "samebits-$version.cdx"
mkdir -p "$folder"
mv "samebits-$version.cdx.json" "$folder/"
printf '%s\n' "$folder/samebits-$version.cdx.json"
