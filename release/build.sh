#!/usr/bin/env bash
# `release/build.sh TARGET FOLDER`: a release's binary for TARGET, under the name that action/install.sh asks for. What is
# too large, not static where it should be, or does not say its version, is none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=$1
folder=$2
version=$(release/version.sh)
largest=$((20 * 1024 * 1024))
suffix=
case $target in
  *-windows-*) suffix=.exe ;;
  *-linux-musl) export "CC_${target//-/_}=musl-gcc" ;;
esac
# aws-lc's assembly for Windows, assembled by them: runners have no NASM.
export AWS_LC_SYS_PREBUILT_NASM=1

cargo build --locked --profile dist --bin samebits --target "$target"
mkdir -p "$folder"
asset=$folder/samebits-$version-$target$suffix
cp "${CARGO_TARGET_DIR:-target}/$target/dist/samebits$suffix" "$asset"

size=$(($(wc -c <"$asset")))
if [ "$size" -gt "$largest" ]; then
  echo "::error::$asset has $size bytes; at most $largest were promised" >&2
  exit 1
fi
case $target in
  *-linux-musl)
    headers=$(readelf --program-headers --wide "$asset")
    case $headers in
      *INTERP*)
        echo "::error::$asset is not static" >&2
        exit 1 ;;
    esac ;;
esac
said=$("$asset" --version)
if [ "$said" != "samebits $version" ]; then
  echo "::error::$asset says that it is $said" >&2
  exit 1
fi
printf '%s: %d bytes\n' "$asset" "$size"
