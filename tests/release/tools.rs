//! Programs that a runner has and this machine has not, or that would reach for the world: as small as the workflow lets
//! them be. What they are not asked for today ends them with 64.

use std::path::Path;

use crate::runner::executable;

/// Where a stand-in finds what it stands for; `write` puts each in its place.
pub(super) struct Real<'a> {
    pub(super) version: &'a str,
    /// This build's samebits.
    pub(super) samebits: &'a str,
    /// cosign, and where its Sigstore's documents lie.
    pub(super) cosign: &'a Path,
    pub(super) documents: &'a Path,
    /// The configuration of git that knows the ledger's server.
    pub(super) gitconfig: &'a Path,
    /// Where `gh` publishes.
    pub(super) published: &'a Path,
}

const TOOLS: [(&str, &str); 9] = [
    ("sudo", "exec \"$@\""),
    ("apt-get", "case $1 in update | install) ;; *) exit 64 ;; esac"),
    ("rustup", "[ \"$1 $2 $3\" = \"toolchain install ${RUSTUP_TOOLCHAIN:?}\" ] || exit 64"),
    ("cargo", CARGO),
    // No program that is interpreted, in words.
    ("readelf", "[ \"$1 $2\" = '--program-headers --wide' ] && [ -s \"$3\" ]"),
    ("go", GO),
    (
        "cosign-of-the-world",
        "verb=$1; shift\nexec @cosign@ \"$verb\" --signing-config=@documents@/signing_config.json \\\n  \
      --trusted-root=@documents@/trusted_root.json \"$@\"",
    ),
    ("docker", DOCKER),
    ("gh", GH),
];

/// `build` makes what release/README.md calls a binary, `install` and `cyclonedx` an SBOM that is none.
const CARGO: &str = r#"case "$*" in
  'build --locked --profile dist --bin samebits --target '*)
    target=$8
    suffix=
    case $target in *-windows-*) suffix=.exe ;; esac
    folder=${CARGO_TARGET_DIR:-target}/$target/dist
    mkdir -p "$folder"
    { echo '#!/bin/sh'
      case $target in
        *-unknown-linux-musl) echo "exec '@samebits@' \"\$@\" # $target" ;;
        *) echo "echo 'samebits @version@' # $target" ;;
      esac
    } >"$folder/samebits$suffix"
    chmod +x "$folder/samebits$suffix" ;;
  'install --quiet --locked --root '*' cargo-cyclonedx@'*) mkdir -p "$5/bin" ;;
  'metadata --locked --format-version 1') ;;
  'cyclonedx --quiet --format json --spec-version 1.5 --all --target all --override-filename '*)
    [ -n "$SOURCE_DATE_EPOCH" ] && echo sbom >"${11}.json" ;;
  *) exit 64 ;;
esac"#;

const GO: &str = r#"case "$*" in
  'install github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3')
    mkdir -p "$GOBIN" && cp "$(command -v cosign-of-the-world)" "$GOBIN/cosign" ;;
  *) exit 64 ;;
esac"#;

/// What is run is what was pulled; without a login nothing is.
const DOCKER: &str = r#"kept=$HOME/images
case "$*" in
  "login @host@ --username octocat --password-stdin")
    read -r token && [ "$token" = a-token ] && touch "$HOME/logged-in" ;;
  'pull --quiet --platform linux/'*)
    [ -e "$HOME/logged-in" ] || exit 1
    mkdir -p "$kept/root"
    skopeo --insecure-policy --override-arch "${4#linux/}" copy --quiet --src-tls-verify=false \
      "docker://$5" "dir:$kept/pulled" >&2
    for layer in "$kept"/pulled/*; do gzip -dc "$layer" 2>/dev/null | tar -x -C "$kept/root" 2>/dev/null || true; done
    echo "$5" >"$kept/name" ;;
  'run --rm --network none --read-only --cap-drop ALL --platform linux/'*' --version')
    [ "${10}" = "$(cat "$kept/name")" ] && exec "$kept/root/usr/bin/samebits" --version ;;
  'image inspect --format {{index .RepoDigests 0}} '*) cat "$kept/name" ;;
  *) exit 64 ;;
esac"#;

const GH: &str = r#"[ "${GH_TOKEN:?}" = a-token ]
case "$1 $2" in
  'auth setup-git') cp @gitconfig@ "$HOME/.gitconfig" ;;
  'release create')
    [ "$GH_REPO" = samebits/samebits ] && [ "$4 $5" = '--verify-tag --title' ] && [ "$7" = --notes ] && [ "$9" = -- ]
    git rev-parse --quiet --verify "refs/tags/$3" >/dev/null
    mkdir "@published@/$3"
    printf '%s\n' "$8" >"@published@/notes"
    tag=$3
    shift 9
    cp -- "$@" "@published@/$tag/" ;;
  *) exit 64 ;;
esac"#;

/// Puts every stand-in into `folder`.
pub(super) fn write(folder: &Path, host: &str, real: &Real<'_>) {
    let places = [
        ("@cosign@", real.cosign.display().to_string()),
        ("@documents@", real.documents.display().to_string()),
        ("@gitconfig@", real.gitconfig.display().to_string()),
        ("@host@", host.to_owned()),
        ("@published@", real.published.display().to_string()),
        ("@samebits@", real.samebits.to_owned()),
        ("@version@", real.version.to_owned()),
    ];
    for (name, script) in TOOLS {
        let script = places.iter().fold(script.to_owned(), |script, (name, is)| script.replace(name, is));
        let file = folder.join(name);
        std::fs::write(&file, format!("#!/bin/sh\nset -eu\n{script}\n")).unwrap();
        executable(&file);
    }
}
