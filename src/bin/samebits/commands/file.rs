//! `verify-file`: who signed a file, by a bundle beside it.

use std::path::Path;

use anyhow::Context as _;
use samebits::digest::Digest;
use samebits::verify::{Artifact, Identity, Root, Trust, artifact};

use crate::Outcome;
use crate::args::VerifyFile;
use crate::output::FileVerification;
use crate::report::{BAD, GOOD, Outputs, Report, clean};
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn verify(outputs: &Outputs, args: &VerifyFile) -> Result<Outcome, Trouble> {
    let root = root(args)?;
    let expected = Identity::Keyless {
        issuer: args.issuer.clone(),
        subject: args.identity.clone(),
        root: root.name().clone(),
    };
    let (bytes, bundle) = (read(&args.file)?, read(&args.bundle)?);
    let judged = artifact(&bundle, Artifact::Bytes(&bytes), &Trust::default().with_roots(vec![root]));
    let mut report = FileVerification {
        schema: FileVerification::SCHEMA,
        verified: false,
        file: args.file.display().to_string(),
        digest: Digest::of(&bytes),
        predicate_type: None,
        reason: None,
    };
    let outcome = match judged {
        Ok(verified) if *verified.identity() == expected => {
            report.verified = true;
            report.predicate_type =
                verified.attestation().map(|attestation| attestation.predicate_type().to_owned());
            Outcome::Yes
        }
        Ok(verified) => {
            report.reason = Some(format!("signed by {}, expected {expected}", verified.identity()));
            Outcome::No
        }
        Err(rejected) => {
            report.reason = Some(rejected.reason.whole());
            if rejected.reason.is_untold() { Outcome::Untold } else { Outcome::No }
        }
    };
    outputs.emit(&report).map_err(undecided)?;
    Ok(outcome)
}

fn root(args: &VerifyFile) -> Result<Root, Trouble> {
    let Some(file) = &args.trusted_root else {
        return Root::public_good().map_err(undecided);
    };
    let named = |error: anyhow::Error| usage(error.context(format!("the root of trust {}", file.display())));
    let json = std::fs::read_to_string(file).map_err(|error| named(error.into()))?;
    let name = "given".parse().map_err(|error: samebits::verify::RootNameError| named(error.into()))?;
    Root::private(name, &json).map_err(|error| named(error.into()))
}

fn read(file: &Path) -> Result<Vec<u8>, Trouble> {
    std::fs::read(file).with_context(|| format!("{} cannot be read", file.display())).map_err(undecided)
}

impl Report for FileVerification {
    fn text(&self) -> String {
        let word = match (self.verified, &self.predicate_type) {
            (true, Some(kind)) => format!("{GOOD}verified{GOOD:#} {}: {}", clean(&self.file), clean(kind)),
            (true, None) => format!("{GOOD}verified{GOOD:#} {}", clean(&self.file)),
            (false, _) => format!("{BAD}not verified{BAD:#} {}", clean(&self.file)),
        };
        let why = self.reason.as_ref().map(|reason| format!("  because {}\n", clean(reason)));
        format!("{word}\n  {}\n{}", self.digest, why.unwrap_or_default())
    }
}
