//! A client of the Sigstore conformance suite (`docs/cli_protocol.md` there): verifies bundles, signs nothing.
//!
//! ```text
//! conformance verify-bundle [--staging] --bundle FILE
//!     (--certificate-identity IDENTITY --certificate-oidc-issuer URL | --key PEM) [--trusted-root FILE] FILE_OR_DIGEST
//! ```
//!
//! Exit codes: 0 verified, 1 refused, 2 usage. `--staging` needs `--trusted-root`: no staging root is embedded.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use samebits::digest::Digest;
use samebits::key::PublicKey;
use samebits::verify::{Artifact, Identity, Root, Trust, artifact};

#[derive(Default)]
struct Options {
    bundle: Option<String>,
    identity: Option<String>,
    issuer: Option<String>,
    key: Option<String>,
    trusted_root: Option<String>,
    staging: bool,
    artifact: Option<String>,
}

#[allow(clippy::print_stderr)]
fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    match verify(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let command = arguments.next();
    ensure!(command.as_deref() == Some("verify-bundle"), "expected `verify-bundle`, found {command:?}");
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let slot = match argument.as_str() {
            "--staging" => {
                options.staging = true;
                continue;
            }
            "--bundle" => &mut options.bundle,
            "--certificate-identity" => &mut options.identity,
            "--certificate-oidc-issuer" => &mut options.issuer,
            "--key" => &mut options.key,
            "--trusted-root" => &mut options.trusted_root,
            flag if flag.starts_with("--") => bail!("unknown option `{flag}`"),
            _ => {
                ensure!(options.artifact.replace(argument).is_none(), "expected one artifact");
                continue;
            }
        };
        *slot = Some(arguments.next().with_context(|| format!("`{argument}` needs a value"))?);
    }
    Ok(options)
}

fn verify(options: &Options) -> anyhow::Result<()> {
    let root = match &options.trusted_root {
        Some(file) => {
            Root::private("conformance".parse()?, &fs::read_to_string(file).context(file.clone())?)?
        }
        None if options.staging => bail!("`--staging` needs `--trusted-root`"),
        None => Root::public_good()?,
    };
    let file = options.bundle.as_ref().context("`--bundle` is missing")?;
    let bundle = fs::read(file).context(file.clone())?;
    let given = options.artifact.as_ref().context("the artifact is missing")?;
    let bytes;
    let signed = match given.parse::<Digest>() {
        Ok(digest) if !Path::new(given).exists() => Artifact::Digest(digest),
        _ => {
            bytes = fs::read(given).context(given.clone())?;
            Artifact::Bytes(&bytes)
        }
    };
    match (&options.key, &options.identity, &options.issuer) {
        (Some(key), None, None) => {
            let key = PublicKey::from_pem(&fs::read_to_string(key).context(key.clone())?)?;
            let id = key.id();
            let verified = artifact(&bundle, signed, &Trust::new(vec![key]).with_roots(vec![root]))?;
            ensure!(*verified.identity() == Identity::Key { id }, "signed by {}", verified.identity());
        }
        (None, Some(subject), Some(issuer)) => {
            let expected = Identity::Keyless {
                issuer: issuer.clone(),
                subject: subject.clone(),
                root: root.name().clone(),
            };
            let verified = artifact(&bundle, signed, &Trust::default().with_roots(vec![root]))?;
            ensure!(*verified.identity() == expected, "signed by {}", verified.identity());
        }
        _ => bail!("expected `--key`, or `--certificate-identity` and `--certificate-oidc-issuer`"),
    }
    Ok(())
}
