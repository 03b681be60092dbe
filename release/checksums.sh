#!/usr/bin/env bash
# `release/checksums.sh FOLDER`: the SHA-256 of every binary of the release, as `sha256sum` writes them and as
# action/checksums.txt has them. All targets, or none.
set -euo pipefail
version=$("$(dirname "${BASH_SOURCE[0]}")/version.sh")
cd "$1"
assets=()
for target in aarch64-apple-darwin aarch64-unknown-linux-musl x86_64-apple-darwin x86_64-pc-windows-msvc.exe \
  x86_64-unknown-linux-musl; do
  assets+=("samebits-$version-$target")
done
sha256sum -- "${assets[@]}"
