#!/usr/bin/env bash
# `release/cosign.sh ARGUMENT…`: runs cosign, of the one version there is here, built from its source: Go checks the module
# against its checksum database.
set -euo pipefail
version=3.1.3
bin=${RUNNER_TEMP:-/tmp}/cosign-$version
if [ ! -x "$bin/cosign" ]; then
  GOBIN=$bin GOFLAGS=-trimpath go install "github.com/sigstore/cosign/v3/cmd/cosign@v$version"
fi
exec "$bin/cosign" "$@"
