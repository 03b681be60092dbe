#!/usr/bin/env bash
# Puts one samebits into this job, and says where: the release whose SHA-256 is committed beside this script (or given
# in `sha256`), else one built from this very commit. Nothing that was not checked gets on the PATH, or runs.
set -euo pipefail
. "${BASH_SOURCE[0]%/*}/common.sh"

version=${INPUT_VERSION:-}
sha256=${INPUT_SHA256:-}
from_source=${INPUT_BUILD_FROM_SOURCE:-}
provenance=${INPUT_PROVENANCE:-auto}
release_url=${INPUT_RELEASE_URL:-${GITHUB_SERVER_URL:-https://github.com}/${ACTION_REPOSITORY:-}/releases/download}
checksums=${BASH_SOURCE[0]%/*}/checksums.txt
# The job's own: another job on the same machine cannot change what was checked here.
home=${RUNNER_TEMP:?}/samebits-action

check_inputs() {
  if [ -n "$version" ] && ! [[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]]; then
    fail 2 "input version: $version is no version; write 1.2.3"
  fi
  if [ -n "$sha256" ] && ! [[ $sha256 =~ ^[0-9a-f]{64}$ ]]; then
    fail 2 "input sha256: $sha256 is no SHA-256 (64 digits, lower case)"
  fi
  if [ -n "$sha256" ] && [ -z "$version" ]; then
    fail 2 'input sha256: of which version? say it in the input version'
  fi
  case $provenance in
    auto | required) ;;
    *) fail 2 "input provenance: $provenance is neither auto nor required" ;;
  esac
  case $from_source in
    '' | false) ;;
    true)
      if [ -n "$version$sha256" ]; then
        fail 2 'input build-from-source: builds this commit of the action; leave out version and sha256'
      fi
      if [ "$provenance" = required ]; then
        fail 2 'input provenance: what is built here has none; leave it out, or use a release'
      fi ;;
    *) fail 2 "input build-from-source: $from_source is neither true nor false" ;;
  esac
}

# The release's name of this machine: Rust's.
target_here() {
  case ${RUNNER_OS:?}-${RUNNER_ARCH:?} in
    Linux-X64) target=x86_64-unknown-linux-musl ;;
    Linux-ARM64) target=aarch64-unknown-linux-musl ;;
    macOS-X64) target=x86_64-apple-darwin ;;
    macOS-ARM64) target=aarch64-apple-darwin ;;
    Windows-X64) target=x86_64-pc-windows-msvc ;;
    *) target=none ;;
  esac
  suffix=
  if [ "$RUNNER_OS" = Windows ]; then suffix=.exe; fi
}

# Sets `pinned` to the newest version that checksums.txt lists, the last one; empty where it lists none.
read_pinned() {
  local name
  if ! [ -r "$checksums" ]; then fail 3 "$checksums is missing"; fi
  pinned=
  while read -r _ name; do
    [[ $name =~ ^samebits-([0-9]+\.[0-9]+\.[0-9]+(-(alpha|beta|rc)[0-9.]*)?)- ]] ||
      fail 3 "checksums.txt: $name is no release"
    pinned=${BASH_REMATCH[1]}
  done < <(listed)
}

# The lines of checksums.txt that are not comments.
listed() {
  local line
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in '' | '#'*) ;; *) printf '%s\n' "$line" ;; esac
  done <"$checksums"
}

# Sets `expected`, the SHA-256 that the binary must have. `sha256` adds a version; it replaces none.
read_expected() {
  local digest name
  expected=
  while read -r digest name; do
    if [ "$name" = "$asset" ]; then expected=$digest; fi
  done < <(listed)
  if [ -z "$expected" ]; then
    expected=$sha256
  elif [ -n "$sha256" ] && [ "$sha256" != "$expected" ]; then
    fail 2 "input sha256: $asset is pinned in checksums.txt with $expected, not $sha256"
  fi
  if ! [[ $expected =~ ^[0-9a-f]{64}$ ]]; then
    fail 2 "checksums.txt does not know $asset: use a version that it lists, or say its sha256"
  fi
}

# Sets `previous`, the newest release that checksums.txt lists beside this one, its asset and SHA-256; empty where none is.
read_previous() {
  local digest name
  previous=
  while read -r digest name; do
    if [[ $name =~ ^samebits-(.+)-$target$suffix$ ]] && [ "${BASH_REMATCH[1]}" != "$version" ]; then
      previous=${BASH_REMATCH[1]} previous_asset=$name previous_digest=$digest
    fi
  done < <(listed)
}

digest_of() {
  local said
  if command -v sha256sum >/dev/null; then
    said=$(sha256sum <"$1")
  elif command -v shasum >/dev/null; then
    said=$(shasum -a 256 <"$1")
  else
    fail 3 'neither sha256sum nor shasum is here: the binary cannot be checked' >&2
  fi
  printf '%s' "${said%% *}"
}

# `download VERSION NAME FILE`: that file of that release.
download() {
  local proto='=https'
  case $release_url in
    https://*//releases/download) fail 2 'input release-url: say it, for the repository of the action is not known' ;;
    https://?*) ;;
    file:///?*) proto='=file' ;;
    *) fail 2 "input release-url: $release_url is neither https nor file" ;;
  esac
  curl --proto "$proto" --proto-redir '=https' --tlsv1.2 --retry 5 --connect-timeout 20 --fail --location --silent \
    --show-error --output "$3" -- "${release_url%/}/v$1/$2" ||
    fail 3 "could not download ${release_url%/}/v$1/$2"
}

# `verify_provenance FILE`: that the release workflow of the action's repository built it. The checksum is the root of
# trust; this is beside it. By the release pinned before, where there is one: by gh else.
verify_provenance() {
  read_previous
  if [ -n "$previous" ] && [ -n "${ACTION_REPOSITORY:-}" ]; then
    by_previous "$1"
  else
    by_gh "$1"
  fi
}

# Its checksum is pinned as well: it runs only if it is that.
by_previous() {
  local folder=$home/$previous_digest bundle=samebits-$version.provenance.sigstore.json found
  mkdir -p "$folder"
  download "$previous" "$previous_asset" "$folder/previous$suffix"
  found=$(digest_of "$folder/previous$suffix")
  if [ "$found" != "$previous_digest" ]; then
    rm -f "$folder/previous$suffix"
    fail 3 "$previous_asset from $release_url has SHA-256 $found, not $previous_digest"
  fi
  chmod 755 "$folder/previous$suffix"
  download "$version" "$bundle" "$folder/$bundle"
  "$folder/previous$suffix" verify-file "--bundle=$folder/$bundle" \
    --issuer=https://token.actions.githubusercontent.com \
    "--identity=https://github.com/$ACTION_REPOSITORY/.github/workflows/release.yml@refs/tags/v$version" -- "$1" >&2 ||
    fail 3 "$asset: samebits $previous could not verify that $ACTION_REPOSITORY built it"
  echo "samebits: provenance verified by samebits $previous: built by $ACTION_REPOSITORY"
}

by_gh() {
  local missing=
  if ! command -v gh >/dev/null; then
    missing='gh is not installed'
  elif [ -z "${GH_TOKEN:-}" ]; then
    missing='there is no github-token'
  elif [ -z "${ACTION_REPOSITORY:-}" ]; then
    missing='the repository of the action is not known'
  fi
  if [ -z "$missing" ]; then
    gh attestation verify "$1" --repo "$ACTION_REPOSITORY" >&2 ||
      fail 3 "$asset: gh could not verify that $ACTION_REPOSITORY built it"
    echo "samebits: provenance verified by gh: built by $ACTION_REPOSITORY"
  elif [ "$provenance" = required ]; then
    fail 3 "provenance is required and cannot be verified: $missing"
  else
    echo "samebits: provenance NOT verified: $missing; the checksum was"
  fi
}

# Sets `binary`. What lies in the cache is copied first and hashed then, so that nobody changes it in between.
install_release() {
  asset=samebits-$version-$target$suffix
  if [ "$target" = none ]; then
    fail 2 "there is no release for $RUNNER_OS on $RUNNER_ARCH: set build-from-source to true"
  fi
  read_expected
  local folder=$home/$expected cached='' found from=cache
  if [ -n "${RUNNER_TOOL_CACHE:-}" ]; then cached=$RUNNER_TOOL_CACHE/samebits/$version/$expected/samebits$suffix; fi
  mkdir -p "$folder"
  fresh=$folder/fresh$suffix
  if [ -n "$cached" ] && [ -e "$cached" ]; then
    cp "$cached" "$fresh"
  else
    from=$release_url
    download "$version" "$asset" "$fresh"
  fi
  found=$(digest_of "$fresh")
  if [ "$found" != "$expected" ]; then
    rm -f "$fresh"
    if [ "$from" = cache ]; then
      fail 3 "$cached was changed in the cache: its SHA-256 is $found, not $expected; find out by whom, then delete it"
    fi
    fail 3 "$asset from $from has SHA-256 $found, not $expected"
  fi
  if [ "$from" != cache ] || [ "$provenance" = required ]; then verify_provenance "$fresh"; fi
  if [ "$from" != cache ] && [ -n "$cached" ]; then keep; fi
  chmod 755 "$fresh"
  binary=$folder/samebits$suffix
  mv -f "$fresh" "$binary"
  found=$("$binary" --version)
  if [ "$found" != "samebits $version" ]; then fail 3 "$asset says that it is $found"; fi
  echo "samebits: $version, SHA-256 $expected, from ${from}"
}

# Into the cache, whole or not at all. A cache that cannot be written costs the next job a download, and no more.
keep() {
  { mkdir -p "${cached%/*}" && cp "$fresh" "$cached.$$" && mv -f "$cached.$$" "$cached"; } ||
    echo "samebits: could not be kept in $RUNNER_TOOL_CACHE"
}

# Sets `binary`. From the action's own folder: a `.cargo/config.toml` of the repository that is promoted would be obeyed.
build() {
  command -v cargo >/dev/null || fail 2 'no release is pinned and cargo is not installed: set up Rust before this step'
  echo 'samebits: building this commit of the action; a release would be faster'
  (cd "${GITHUB_ACTION_PATH:?}" && cargo install --locked --path "$GITHUB_ACTION_PATH" --bin samebits \
    --root "$home/source" --target-dir "$home/target") || fail 3 'samebits did not build'
  binary=$home/source/bin/samebits$suffix
  "$binary" --version
}

check_inputs
target_here
read_pinned
if [ -z "$version" ] && [ "$from_source" != true ]; then
  version=$pinned
  if [ -z "$version" ] && [ "$from_source" = false ]; then
    fail 2 'input build-from-source: is false, and this commit of the action pins no release; say version and sha256'
  fi
fi
if [ -n "$version" ]; then
  install_release
elif [ "$provenance" = required ]; then
  fail 2 'input provenance: is required, and this commit of the action pins no release; say version and sha256'
else
  build
fi
printf '%s\n' "${binary%/*}" >>"${GITHUB_PATH:?}"
printf 'binary=%s\n' "$binary" >>"${GITHUB_OUTPUT:?}"
