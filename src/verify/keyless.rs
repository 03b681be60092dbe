//! Signatures by certificate: the only place that knows the Sigstore crates, but for the TUF client in
//! `crate::roots`, which fetches roots and reads none.
//!
//! Guarantees: a [`Proof`] says who signed (certificate chain, SCT), when (a trusted time), and that a log or an
//! authority of the same [`Root`] vouches for it, by that root's own rules and no other's. What `sigstore-verify`
//! leaves open is closed here: every log entry needs a proof and a checkpoint whatever version the bundle claims,
//! proof and checkpoint agree in every field they share, the checkpoint is signed by the very log the entry names,
//! and the certificate names exactly one identity of a known kind and its issuer. Who makes which check of a log
//! entry stands in `log`.
//! Never does: I/O, TUF, policy. `sigstore-verify` reads the clock to refuse a log's times in the future: later runs
//! can only accept more than earlier ones, never less. A timestamp authority's it takes as they are: whoever asks for
//! an age compares them with a clock (`gate::predicates`).
//! Start at [`verify`]; [`vouched`] dates the signature of a key; [`keyed`] is for artifacts signed with a key and
//! logged.

use std::sync::Arc;

use jiff::Timestamp;
use sigstore_types as types;
use sigstore_types::bundle::VerificationMaterialContent as Material;
use sigstore_verify::{PublicKeyVerificationPolicy, VerificationPolicy, Verifier};

use super::author::Vouched;
use super::read::Object;
use super::{Artifact, Identity, Reason};
use crate::digest::{Digest, shorten};
use crate::key::PublicKey;

mod certificate;
pub(super) mod legacy;
mod log;
mod refusal;
mod root;
mod shape;

pub use certificate::Claims;
use certificate::Leaf;
use log::Log;
use root::{Inner, Rules};
pub use root::{Keys, Known, Root, RootError, RootName, RootNameError};

/// What the media type says, or how an older layout was converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V0_1,
    V0_2,
    V0_3,
    /// What [`legacy`] made of cosign's annotations; its log entries have a promise and no proof.
    Converted,
}

/// A bundle that is to be verified.
pub(super) struct Candidate<'a> {
    /// Strictly read.
    pub(super) object: &'a Object,
    pub(super) version: Version,
    /// What a message signature is over, or a subject of the statement.
    pub(super) artifact: Artifact<'a>,
}

/// Who signed and when, as proved under one root.
pub(super) struct Proof {
    pub(super) identity: Identity,
    pub(super) claims: Claims,
    pub(super) time: Timestamp,
}

/// Verifies a bundle signed by certificate: under one of the roots, by that root's own rules.
///
/// When none fits, the reason is of the root that could have issued the certificate.
pub(super) fn verify(candidate: &Candidate<'_>, roots: &[Root]) -> Result<Proof, Reason> {
    if roots.is_empty() {
        return Err(Reason::NoTrustedRoot);
    }
    let bundle = candidate.read()?;
    let chain: Vec<&[u8]> = match &bundle.verification_material.content {
        Material::Certificate(one) => vec![one.raw_bytes.as_bytes()],
        Material::X509CertificateChain { certificates } => {
            certificates.iter().map(|one| one.raw_bytes.as_bytes()).collect()
        }
        _ => Vec::new(),
    };
    let leaf = Leaf::read(&chain)?;

    // Every root on its own; the likely one first, for its refusal is the one to tell.
    let likely = |root: &&Root| root.0.could_have_issued(&leaf);
    let unlikely = |root: &&Root| !root.0.could_have_issued(&leaf);
    let mut first = None;
    for root in roots.iter().filter(likely).chain(roots.iter().filter(unlikely)) {
        match root.0.proves(&bundle, candidate, &leaf) {
            Ok(proof) => return Ok(proof),
            Err(reason) => first = first.or(Some(reason)),
        }
    }
    match first.filter(|_| roots.iter().any(|root| likely(&root))) {
        Some(reason) => Err(reason),
        None => Err(Reason::UnknownAuthority { issuer: leaf.issued_by(), roots: roots.len() }),
    }
}

/// What a certificate says of its holder, and until when it is good; nothing is proved.
pub(super) fn announced(der: &[u8], root: RootName) -> Result<(Identity, Claims, Timestamp), Reason> {
    let Leaf { subject, issuer, claims, not_after, .. } = Leaf::read(&[der])?;
    Ok((Identity::Keyless { issuer, subject, root }, claims, not_after))
}

/// Verifies an artifact's signature by one of the keys, logged in a log of one of the roots.
pub(super) fn keyed(
    candidate: &Candidate<'_>,
    keys: &[PublicKey],
    roots: &[Root],
) -> Result<(Digest, Vouched), Reason> {
    let bundle = candidate.read()?;
    let mut first = None;
    for root in roots.iter().filter(|root| root.0.rules == Rules::Logged) {
        if let Err(reason) = root.0.log_of(&bundle, candidate.version) {
            first = first.or(Some(reason));
            continue;
        }
        for key in keys {
            match root.0.vouches(&bundle, candidate, key) {
                Ok(time) => return Ok((key.id(), Vouched::from([(root.name().clone(), time)]))),
                Err(reason) => first = first.or(Some(reason)),
            }
        }
    }
    Err(match keys.is_empty() {
        true => Reason::NoTrustedKey { trusted: 0, hint: None },
        false => first.unwrap_or(Reason::NoTrustedRoot),
    })
}

/// Under which of the roots something beside the signature of this key says when it was made: each root on its own.
///
/// What is there must hold: under a root, one entry or timestamp that is wrong is as good as none.
pub(super) fn vouched(candidate: &Candidate<'_>, key: &PublicKey, roots: &[Root]) -> Result<Vouched, Reason> {
    let bundle = candidate.read()?;
    let mut vouched = Vouched::new();
    let mut why = None;
    for root in roots {
        match root.0.vouches(&bundle, candidate, key) {
            Ok(time) => drop(vouched.insert(root.name().clone(), time)),
            // Of a root that has nothing to do with it there is nothing to tell.
            Err(reason @ (Reason::UnknownLog { .. } | Reason::LogEntryUnexpected)) => {
                why = why.or(Some(reason))
            }
            Err(reason) => why = Some(reason),
        }
    }
    match vouched.is_empty() {
        true => Err(why.unwrap_or(Reason::NoTrustedRoot)),
        false => Ok(vouched),
    }
}

impl Candidate<'_> {
    /// From what was read already, not from the text again: one reading cannot differ from itself.
    fn read(&self) -> Result<types::Bundle, Reason> {
        shape::read(self.object, self.version)
    }
}

impl Inner {
    /// Steps as in sigstore/architecture-docs `client-spec.md`, section "Verification".
    fn proves(
        &self,
        bundle: &types::Bundle,
        candidate: &Candidate<'_>,
        leaf: &Leaf,
    ) -> Result<Proof, Reason> {
        // 1. What this root's rules demand is there: a log entry, or a timestamp and no log entry.
        let (verifier, policy, ours) = self.asked(bundle, candidate.version)?;
        // 2. Time, chain, SCT, log, signature, and that the log entry is about this very signature.
        let result = verifier
            .verify(artifact(candidate.artifact)?, bundle, &policy)
            .map_err(|error| refusal::of_certificate(error, leaf))?;
        // 3. What of the log is left to us: proof and checkpoint (`log` says who does which step).
        if let Some(log) = ours {
            bundle.verification_material.tlog_entries.iter().try_for_each(|entry| log.includes(entry))?;
        }
        // 4. The absence of an error is weak evidence that a check ran.
        if !result.certificate_verified() {
            return Err(skipped("the certificate"));
        }
        if !result.sct_verified() && self.rules != Rules::GitHub {
            return Err(skipped("the certificate's timestamp"));
        }
        let log_verified = match ours {
            Some(_) => log::dated(&result, bundle),
            None => result.tlog_verified(),
        };
        if !log_verified && self.rules == Rules::Logged {
            return Err(skipped("the log"));
        }
        if result.identity().map(|name| name.as_str()) != Some(&leaf.subject)
            || result.issuer() != Some(&leaf.issuer)
        {
            return Err(Reason::CertificateMalformed {
                detail: "two readings of its identity differ".to_owned(),
            });
        }
        // 5. All times are within the certificate's life; the earliest is the one that hurts.
        let time = result.verified_timestamps().iter().min().copied().ok_or(Reason::TimeMissing)?;
        let identity = Identity::Keyless {
            issuer: leaf.issuer.clone(),
            subject: leaf.subject.clone(),
            root: self.name.clone(),
        };
        Ok(Proof { identity, claims: leaf.claims.clone(), time })
    }

    /// Who verifies the bundle, what it is asked for, and the log whose proofs and checkpoints are verified here because
    /// it is not asked for them.
    fn asked(
        &self,
        bundle: &types::Bundle,
        version: Version,
    ) -> Result<(&Verifier, VerificationPolicy, Option<&Log>), Reason> {
        let stamped = !bundle.verification_material.timestamp_verification_data.rfc3161_timestamps.is_empty();
        let logged = !bundle.verification_material.tlog_entries.is_empty();
        let any = VerificationPolicy::any_identity;
        match self.rules {
            Rules::Logged => {
                let log = self.log_of(bundle, version)?;
                Ok(match log::are_dated(bundle) {
                    true => (&*log.verifier, any().skip_tlog_unsafe(), Some(log)),
                    false => (&*log.verifier, any(), None),
                })
            }
            Rules::Stamped | Rules::GitHub if logged => Err(Reason::LogEntryUnexpected),
            Rules::Stamped | Rules::GitHub if !stamped => Err(Reason::TimeMissing),
            Rules::Stamped => Ok((&*self.without_log, any().skip_tlog_unsafe(), None)),
            Rules::GitHub => Ok((&*self.without_log, any().skip_tlog_unsafe().skip_sct(), None)),
        }
    }

    /// The time of a signature by this key: a log entry, a timestamp, or both, bound to this very signature. A log of
    /// the second version vouches without a time.
    fn vouches(
        &self,
        bundle: &types::Bundle,
        candidate: &Candidate<'_>,
        key: &PublicKey,
    ) -> Result<Option<Timestamp>, Reason> {
        let stamped = !bundle.verification_material.timestamp_verification_data.rfc3161_timestamps.is_empty();
        let logged = !bundle.verification_material.tlog_entries.is_empty();
        let spki = types::DerPublicKey::from_pem(&key.to_pem()).map_err(refusal::types)?;
        let by = PublicKeyVerificationPolicy::new(spki);
        // 1. What this root can check: its rules ask for no log where a timestamp of its own is enough to date a key.
        let (verifier, policy) = match (self.rules, logged, stamped) {
            (_, false, false) => return Err(Reason::Undated),
            (Rules::Logged, true, _) => (&*self.log_of(bundle, candidate.version)?.verifier, by),
            (Rules::Stamped | Rules::GitHub, true, _) => return Err(Reason::LogEntryUnexpected),
            (Rules::Logged | Rules::Stamped | Rules::GitHub, false, true) => {
                (&*self.without_log, by.skip_tlog_unsafe())
            }
        };
        // 2. Log, timestamps, signature, and that the log entry is about this very signature and key.
        let result =
            verifier.verify(artifact(candidate.artifact)?, bundle, &policy).map_err(refusal::reason)?;
        // 3. The absence of an error is weak evidence that a check ran.
        let time = result.verified_timestamps().iter().min().copied();
        match (logged, time) {
            (true, _) if !result.tlog_verified() => Err(skipped("the log")),
            (false, None) => Err(Reason::TimeMissing),
            (true | false, time) => Ok(time),
        }
    }

    /// The one log that every entry of the bundle names.
    fn log_of(&self, bundle: &types::Bundle, version: Version) -> Result<&Log, Reason> {
        let entries = &bundle.verification_material.tlog_entries;
        let first = entries.first().ok_or(Reason::LogEntryMissing)?;
        for entry in entries {
            agrees(entry, version)?;
        }
        let id = first.log_id.key_id.as_bytes();
        if entries.iter().any(|entry| entry.log_id.key_id.as_bytes() != id) {
            return Err(Reason::LogDisagrees { member: "logId", with: "another entry's" });
        }
        match self.logs.iter().find(|log| log.is_of(first)) {
            Some(log) => Ok(log),
            None => Err(Reason::UnknownLog { found: shorten(&first.log_id.key_id.to_string()) }),
        }
    }
}

/// An entry has all that was promised, and says nothing that its own checkpoint does not say.
fn agrees(entry: &types::TransparencyLogEntry, version: Version) -> Result<(), Reason> {
    let disagrees = |member, with| Err(Reason::LogDisagrees { member, with });
    let tiled = entry.kind_version == types::KindVersion::HashedRekordV002;
    // Bundle specification: v0.1 has a promise (SET).
    if matches!(version, Version::V0_1 | Version::Converted) && entry.inclusion_promise.is_none() {
        return Err(Reason::LogPromiseMissing);
    }
    if version == Version::Converted {
        return Ok(());
    }
    // v0.2 and later have a proof and a checkpoint. We ask v0.1 for them too: else any bundle could be relabelled
    // as v0.1 and lose them.
    let proof = entry.inclusion_proof.as_ref().ok_or(Reason::LogProofMissing)?;
    let checkpoint = proof.checkpoint.checkpoint().ok_or(Reason::CheckpointMissing)?;
    if proof.tree_size != checkpoint.tree_size() {
        return disagrees("treeSize", "its checkpoint");
    }
    if proof.root_hash != *checkpoint.root_hash() {
        return disagrees("rootHash", "its checkpoint");
    }
    if proof.log_index.get() >= checkpoint.tree_size() {
        return disagrees("inclusionProof/logIndex", "its checkpoint");
    }
    match tiled {
        // Rekor v2: one tree per log, no promise, no time.
        true if entry.log_index != proof.log_index => disagrees("logIndex", "its proof"),
        true if entry.inclusion_promise.is_some() => disagrees("inclusionPromise", "its kind"),
        true if entry.integrated_time.is_some() => disagrees("integratedTime", "its kind"),
        // Rekor v1: the global index counts the shards before this one, too.
        false if entry.log_index.get() < proof.log_index.get() => disagrees("logIndex", "its proof"),
        true | false => Ok(()),
    }
}

fn artifact(artifact: Artifact<'_>) -> Result<types::Artifact<'_>, Reason> {
    Ok(match artifact {
        Artifact::Bytes(bytes) => types::Artifact::from_blob(bytes),
        Artifact::Digest(digest) => {
            types::Artifact::from_digest(types::Sha256Hash::from_hex(&digest.hex()).map_err(refusal::types)?)
        }
    })
}

fn skipped(what: &str) -> Reason {
    Reason::Sigstore { detail: format!("{what} was not checked") }
}

/// Made once per root and log: keys are parsed here, not per bundle.
fn verifier(root: &sigstore_trust_root::TrustedRoot) -> Result<Arc<Verifier>, RootError> {
    Verifier::new(root)
        .map(Arc::new)
        .map_err(|error| RootError::Unusable { detail: shorten(&error.to_string()) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::json::{self, Limits};
    use crate::verify::tests::leaves;

    /// One of each layout: chain, certificate, key; statement, message; promise, timestamp.
    const BUNDLES: [(&str, Version); 4] = [
        (include_str!("../../tests/vectors/conformance/happy-path-v0.1.json"), Version::V0_1),
        (include_str!("../../tests/vectors/conformance/happy-path-intoto-in-dsse-v3.json"), Version::V0_3),
        (include_str!("../../tests/vectors/conformance/managed-key-happy-path.json"), Version::V0_3),
        (include_str!("../../tests/vectors/cosign/attest-p256.bundle.json"), Version::V0_3),
    ];

    /// Both readings of one text: as it is read here, and as the Sigstore crates read it.
    fn read_twice(text: &str, version: Version) -> (Result<types::Bundle, Reason>, Option<types::Bundle>) {
        let value = json::parse(text.as_bytes(), Limits::default()).unwrap();
        (shape::read(value.as_object().unwrap(), version), types::Bundle::from_json(text).ok())
    }

    #[test]
    fn b9_a_hash_has_one_spelling() {
        let (text, version) = BUNDLES[1];
        let proof = "/verificationMaterial/tlogEntries/0/inclusionProof";
        for path in [format!("{proof}/rootHash"), format!("{proof}/hashes/0")] {
            let mut bundle: Value = serde_json::from_str(text).unwrap();
            let hash = bundle.pointer_mut(&path).unwrap();
            let bytes = types::SignatureBytes::from_base64(hash.as_str().unwrap()).unwrap().into_bytes();
            *hash = Digest::from_bytes(bytes.try_into().unwrap()).hex().into();
            let (ours, theirs) = read_twice(&bundle.to_string(), version);
            // The Sigstore crates read the same hash.
            assert_eq!(theirs, types::Bundle::from_json(text).ok());
            assert_eq!(ours.unwrap_err().code(), "bundle-malformed");
        }
    }

    #[test]
    fn b9_what_was_read_strictly_is_what_the_text_says() {
        let values =
            [json!(null), json!(0), json!(1.5), json!(""), json!("AA"), json!("1"), json!([]), json!({})];
        let (mut compared, mut read) = (0, 0);
        for (text, version) in BUNDLES {
            let (ours, theirs) = read_twice(text, version);
            assert_eq!(ours.ok(), Some(theirs.unwrap()), "{text}");
            let original: Value = serde_json::from_str(text).unwrap();
            let mut paths = Vec::new();
            leaves(&original, "", &mut paths);
            // The leaves, and what holds them.
            let all = paths.iter().flat_map(|path| {
                path.char_indices()
                    .skip(1)
                    .filter(|(_, one)| *one == '/')
                    .map(|(at, _)| &path[..at])
                    .chain([&**path])
            });
            for path in all {
                for value in &values {
                    let mut changed = original.clone();
                    *changed.pointer_mut(path).unwrap() = value.clone();
                    let (ours, theirs) = read_twice(&changed.to_string(), version);
                    // Never another thing, and never what is no bundle.
                    if let Ok(ours) = ours {
                        assert_eq!(Some(ours), theirs, "{path}: {value}");
                        read += 1;
                    }
                    compared += 1;
                }
            }
        }
        assert!(compared > 1000 && (100..200).contains(&read), "{read} of {compared}");
    }
}
