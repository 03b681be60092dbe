#!/usr/bin/env bash
# `release/version.sh [TAG]`: the version in Cargo.toml. With a tag it has to be that version's, and the policy's for it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
if [ $# -gt 0 ]; then
  if [ "$1" != "v$version" ]; then
    printf '::error::the tag is %s, and Cargo.toml has version %s\n' "$1" "$version" >&2
    exit 1
  fi
  # Three identities and their sources, the builder, the ref.
  if [ "$(grep -c "refs/tags/v$version\"" "$root/release/samebits.toml")" != 8 ]; then
    printf '::error::release/samebits.toml lets in another tag than v%s: see release/README.md\n' "$version" >&2
    exit 1
  fi
  # The key in the repository is nobody's: it shows the form.
  if grep -q 'samebits.dev/releases+73c1c70c' "$root/release/samebits.toml"; then
    echo '::error::release/samebits.toml has no ledger key of its own yet: see release/README.md' >&2
    exit 1
  fi
fi
printf '%s\n' "$version"
