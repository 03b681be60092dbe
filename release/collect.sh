#!/usr/bin/env bash
# `release/collect.sh ARTIFACTS FOLDER`: takes from each job's artifact, which lies in a folder of its own name, what that job
# is there to make, and nothing else: one that brings another's file changes nothing. What is not there is noticed by
# whoever needs it.
set -euo pipefail
version=$("$(dirname "${BASH_SOURCE[0]}")/version.sh")
mkdir -p "$2"

# `take FILE FOLDER`
take() {
  if [ -f "$1" ] && [ ! -L "$1" ]; then mv "$1" "$2"; fi
}

for target in aarch64-apple-darwin aarch64-unknown-linux-musl x86_64-apple-darwin x86_64-unknown-linux-musl; do
  take "$1/samebits-$target/samebits-$version-$target" "$2"
done
windows=x86_64-pc-windows-msvc
take "$1/samebits-$windows/samebits-$version-$windows.exe" "$2"
take "$1/extras/samebits-$version.cdx.json" "$2"
take "$1/extras/samebits-$version-completions-and-man.tar.gz" "$2"
for file in SHA256SUMS SHA256SUMS.sigstore.json "samebits-$version.provenance.sigstore.json"; do
  take "$1/attested/$file" "$2"
done
