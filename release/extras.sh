#!/usr/bin/env bash
# `release/extras.sh BINARY FOLDER`: completions and manual pages, in one archive. The same binary gives the same bytes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/archive.sh"
binary=$1
folder=$2
version=$("$(dirname "${BASH_SOURCE[0]}")/version.sh")
name=samebits-$version-completions-and-man
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$folder" "$work/$name/completions"
"$binary" man "$work/$name/man/man1" >/dev/null
"$binary" completions bash >"$work/$name/completions/samebits.bash"
"$binary" completions zsh >"$work/$name/completions/_samebits"
"$binary" completions fish >"$work/$name/completions/samebits.fish"
"$binary" completions powershell >"$work/$name/completions/samebits.ps1"
archive "$work" "$name" | gzip --no-name --best >"$folder/$name.tar.gz"
printf '%s\n' "$folder/$name.tar.gz"
