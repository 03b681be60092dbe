//! `verify-file`: a file and a bundle about it, and nothing of images.

use std::path::PathBuf;

use clap::Args;

use super::{present, present_text};

pub(super) const HELP: &str = "\
Offline, and without a policy file: the file's SHA-256 has to be what the bundle
signs, or a subject of the statement in it, and the certificate has to name
exactly this identity and issuer, under the Sigstore project's root as it is in
this program, or that of --trusted-root. The bundle is one, as GitHub's
attestations and `cosign sign-blob --bundle` write it.
Exit code 1: it is not so. 3: another root of trust might know the signer.

EXAMPLE
  samebits verify-file samebits-0.1.0-x86_64-unknown-linux-musl \\
      --bundle samebits-0.1.0.provenance.sigstore.json \\
      --issuer https://token.actions.githubusercontent.com \\
      --identity https://github.com/acme/x/.github/workflows/r.yml@refs/tags/v1";

#[derive(Debug, Args)]
pub(crate) struct VerifyFile {
    /// The file.
    #[arg(value_name = "FILE", value_parser = present)]
    pub(crate) file: PathBuf,
    /// The Sigstore bundle about it.
    #[arg(long, value_name = "FILE", value_parser = present)]
    pub(crate) bundle: PathBuf,
    /// Who has to have signed it, compared exactly: the identity in the certificate.
    #[arg(long, value_name = "IDENTITY", value_parser = present_text)]
    pub(crate) identity: String,
    /// Who has to vouch for that identity, compared exactly: its OIDC issuer.
    #[arg(long, value_name = "URL", value_parser = present_text)]
    pub(crate) issuer: String,
    /// A Sigstore instance of one's own: its trusted_root.json, instead of the public one's.
    #[arg(long, value_name = "FILE", value_parser = present)]
    pub(crate) trusted_root: Option<PathBuf>,
}
