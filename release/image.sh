#!/usr/bin/env bash
# `release/image.sh VERSION ROOTS FOLDER ARCH=BINARY…`: the container image, as an OCI layout in FOLDER under the tag VERSION
# (OCI image-spec 1.1). One static binary, the certificates that it trusts, a home and a /tmp; no shell, no libc, nobody's
# rights. Made with tar and gzip, so that nothing else has to be trusted, and the same input is the same image.
# Says the digest of the index.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/archive.sh"
version=$1
roots=$2
layout=$3
shift 3
source=${IMAGE_SOURCE:-https://github.com/samebits/samebits}
user=65532
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$layout/blobs/sha256"

# `blob FILE`: puts it into the layout and sets `digest` and `size`.
blob() {
  local said
  said=$(sha256sum <"$1")
  digest=${said%% *}
  size=$(($(wc -c <"$1")))
  mv "$1" "$layout/blobs/sha256/$digest"
}

# `layer OWNER FOLDER NAME…`: adds to `layers` and `diffs`.
layer() {
  local said
  OWNER=$1 archive "${@:2}" >"$work/layer.tar"
  said=$(sha256sum <"$work/layer.tar")
  diffs+="${diffs:+,}\"sha256:${said%% *}\""
  gzip --no-name -6 "$work/layer.tar"
  blob "$work/layer.tar.gz"
  layers+="${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$digest\",\"size\":$size}"
}

# `platform ARCHITECTURE BINARY`: adds to `manifests`.
platform() {
  local files=$work/$1 home=$work/$1-home layers='' diffs=''
  install -D -m 0755 "$2" "$files/usr/bin/samebits"
  install -D -m 0644 "$roots" "$files/etc/ssl/certs/ca-certificates.crt"
  # A directory that is not listed is the runtime's to invent.
  mkdir -m 1777 "$files/tmp"
  chmod 0755 "$files" "$files"/{usr,usr/bin,etc,etc/ssl,etc/ssl/certs}
  layer 0 "$files" etc tmp usr
  mkdir -p "$home/home/samebits"
  chmod 0755 "$home/home"
  chmod 0700 "$home/home/samebits"
  layer "$user" "$home" home
  cat >"$work/config.json" <<CONFIG
{"architecture":"$1","os":"linux","config":{"User":"$user:$user","Env":["HOME=/home/samebits","SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],"Entrypoint":["/usr/bin/samebits"],"WorkingDir":"/home/samebits","Labels":{$labels}},"rootfs":{"type":"layers","diff_ids":[$diffs]}}
CONFIG
  blob "$work/config.json"
  cat >"$work/manifest.json" <<MANIFEST
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$digest","size":$size},"layers":[$layers],"annotations":{$labels}}
MANIFEST
  blob "$work/manifest.json"
  manifests+="${manifests:+,}{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:$digest\",\"size\":$size,\"platform\":{\"architecture\":\"$1\",\"os\":\"linux\"}}"
}

labels="\"org.opencontainers.image.licenses\":\"Apache-2.0\",\"org.opencontainers.image.source\":\"$source\",\"org.opencontainers.image.title\":\"samebits\",\"org.opencontainers.image.version\":\"$version\""
manifests=
for given in "$@"; do
  platform "${given%%=*}" "${given#*=}"
done
cat >"$work/index.json" <<INDEX
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[$manifests],"annotations":{$labels}}
INDEX
blob "$work/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
cat >"$layout/index.json" <<INDEX
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:$digest","size":$size,"annotations":{"org.opencontainers.image.ref.name":"$version"}}]}
INDEX
printf 'sha256:%s\n' "$digest"
