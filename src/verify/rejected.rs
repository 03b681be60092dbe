//! Why bytes are not evidence: a closed list with stable codes.

use std::fmt;

use jiff::Timestamp;

use crate::digest::{Digest, DigestError};
use crate::json::JsonError;

/// Bytes that are no evidence, and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("evidence {evidence} was rejected")]
pub struct Rejected {
    /// The digest of the bytes, as found.
    pub evidence: Digest,
    /// The first thing that was wrong.
    #[source]
    pub reason: Reason,
    /// What the bytes say of themselves, where that could be read.
    pub claim: Box<Claim>,
}

/// What rejected bytes say of themselves. **Unverified**: for explaining a refusal, never for a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The `predicateType`, shortened and without control characters.
    pub predicate_type: Option<String>,
    /// The hint (bundle) or key id (envelope), shortened and without control characters.
    pub hint: Option<String>,
    /// The subjects' digests.
    pub subjects: Vec<Digest>,
}

/// Which of the nested documents a reason speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The Sigstore bundle.
    Bundle,
    /// The DSSE envelope.
    Envelope,
    /// The in-toto statement.
    Statement,
    /// The simple signing payload.
    SimpleSigning,
    /// The annotations beside a legacy signature.
    Annotation,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bundle => "bundle",
            Self::Envelope => "DSSE envelope",
            Self::Statement => "in-toto statement",
            Self::SimpleSigning => "simple signing payload",
            Self::Annotation => "annotations",
        })
    }
}

/// Why bytes are no evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not strict JSON: duplicate keys, trailing bytes, too large, too deep, …
    #[error("the {part} is not strict JSON")]
    Json {
        /// Which document.
        part: Part,
        /// What is wrong with it.
        source: JsonError,
    },
    /// A member that must be there is not.
    #[error("the {part} has no `{member}`")]
    Missing {
        /// Which document.
        part: Part,
        /// The member's path.
        member: &'static str,
    },
    /// A member of another type than the format gives it, or empty where it must not be.
    #[error("`{member}` of the {part}: expected {expected}")]
    WrongType {
        /// Which document.
        part: Part,
        /// The member's path.
        member: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// A member the format does not have, where members carry trust.
    #[error("the {part} has an unknown member `{found}` in `{within}`")]
    UnknownMember {
        /// Which document.
        part: Part,
        /// The object it stands in.
        within: &'static str,
        /// Its name.
        found: String,
    },
    /// Not standard base64 with padding (RFC 4648, section 4).
    #[error("`{member}` of the {part} is not standard base64 with padding")]
    Base64 {
        /// Which document.
        part: Part,
        /// The member's path.
        member: &'static str,
    },
    /// An older bundle format, which a newer bundle could be relabelled as to skip checks.
    #[error("bundle version `{found}` is not read: expected `{expected}`", expected = super::bundle::MEDIA_TYPE)]
    BundleVersion {
        /// The media type.
        found: String,
    },
    /// Not a bundle.
    #[error("media type `{found}` is not a bundle's: expected `{expected}`", expected = super::bundle::MEDIA_TYPE)]
    MediaType {
        /// The media type.
        found: String,
    },
    /// A certificate, or a log entry, where no root of trust was given.
    #[error("signed with a certificate, and no root of trust is given")]
    NoTrustedRoot,
    /// None of the roots has issued the certificate.
    #[error("the certificate was issued by `{issuer}`, which is in none of the {roots} roots of trust")]
    UnknownAuthority {
        /// The issuer's name, unverified and neutralised.
        issuer: String,
        /// How many roots were tried.
        roots: usize,
    },
    /// The signer is not in the member that the bundle's version has for it.
    #[error(
        "the verification material is `{found}`: expected `x509CertificateChain` in v0.1 and v0.2, one of `certificate` and `publicKey` in v0.3"
    )]
    BundleMaterial {
        /// The members found.
        found: String,
    },
    /// A bundle with an envelope and a message signature: which is it?
    #[error("the bundle has a DSSE envelope and a message signature: expected one of them")]
    TwoContents,
    /// More of a kind than any real bundle has.
    #[error("the bundle has {found} `{member}`, at most {limit} are read")]
    TooMany {
        /// What there are too many of.
        member: &'static str,
        /// How many there are.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Well formed JSON that is no bundle.
    #[error("the bundle is malformed: {detail}")]
    BundleMalformed {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// The certificate cannot be read, or is not what Fulcio issues.
    #[error("the certificate is malformed: {detail}")]
    CertificateMalformed {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// Not exactly one identity of a kind that is compared.
    #[error("the certificate's identity is {found}: expected exactly one URI or e-mail address")]
    CertificateIdentity {
        /// What it is instead.
        found: String,
    },
    /// Nobody says who vouches for the identity.
    #[error("the certificate does not say who issued its identity (Fulcio extension 1.8, or 1.1)")]
    CertificateIssuer,
    /// It does not lead to the root's authorities, or may not sign.
    #[error("the certificate does not lead to an authority of the root: {detail}")]
    CertificateChain {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// No authority of the root was one at the time.
    #[error("no certificate authority of the root was valid at {time}, when it was signed")]
    CertificateAuthorityTime {
        /// The trusted time.
        time: Timestamp,
    },
    /// Signed before the certificate was valid.
    #[error("signed before the certificate was valid, which was from {not_before}")]
    CertificateNotYetValid {
        /// The certificate's `notBefore`.
        not_before: Timestamp,
    },
    /// Signed after the certificate was valid.
    #[error("signed after the certificate had expired, which was at {not_after}")]
    CertificateExpired {
        /// The certificate's `notAfter`.
        not_after: Timestamp,
    },
    /// No certificate transparency log of the root has seen the certificate.
    #[error("the certificate is not in a certificate transparency log of the root (SCT): {detail}")]
    CertificateTimestamp {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// The signature is not the certificate's over this content.
    #[error("the signature is not by the certificate: {detail}")]
    SignatureInvalid {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// Signed, about something else.
    #[error("the bundle is about another artifact: {detail}")]
    ArtifactMismatch {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// The digest alone cannot be verified with this kind of key.
    #[error("the artifact's bytes are needed, not only its digest: {detail}")]
    BytesNeeded {
        /// Why, neutralised.
        detail: String,
    },
    /// The root has logs, and the bundle no entry.
    #[error("the bundle has no transparency log entry")]
    LogEntryMissing,
    /// The root has no logs, so nobody could check the entry.
    #[error("the bundle has a transparency log entry, and the root has no log to check it with")]
    LogEntryUnexpected,
    /// An entry of another kind than those that can be bound to a signature.
    #[error(
        "log entries of kind `{found}` are not read: expected hashedrekord 0.0.1 or 0.0.2, dsse 0.0.1, intoto 0.0.2"
    )]
    LogEntryKind {
        /// Kind and version.
        found: String,
    },
    /// A kind of entry that was written once, and that nothing here can bind to a signature: `sigstore-verify` checks
    /// chain and SCT at the time of entries it knows, and offers neither without them.
    #[error(
        "log entries of kind `{found}` (of 2021 to 2023) are not verified: attest again with cosign 2.2 or later, which writes dsse 0.0.1"
    )]
    LogEntryUnsupported {
        /// Kind and version.
        found: String,
    },
    /// The entry's body cannot be read.
    #[error("the log entry is malformed: {detail}")]
    LogEntryMalformed {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// An entry of another signature, artifact, key or certificate.
    #[error("the log entry is about another signature: {detail}")]
    LogEntryMismatch {
        /// What differs, neutralised.
        detail: String,
    },
    /// The entry is in a log that the root does not name.
    #[error("the log `{found}` is not in the root of trust")]
    UnknownLog {
        /// The log id, neutralised.
        found: String,
    },
    /// A bundle v0.1 without the log's promise.
    #[error("the log entry has no inclusion promise (SET), which its version has")]
    LogPromiseMissing,
    /// The log's promise does not hold.
    #[error("the log's inclusion promise (SET) is wrong: {detail}")]
    LogPromise {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// No proof that the entry is in the log; a newer bundle relabelled as v0.1 would have none.
    #[error("the log entry has no inclusion proof")]
    LogProofMissing,
    /// The proof proves nothing.
    #[error("the log entry's inclusion proof is wrong: {detail}")]
    LogProof {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// A proof towards nothing that anybody signed.
    #[error("the inclusion proof has no checkpoint")]
    CheckpointMissing,
    /// The checkpoint is not the log's.
    #[error("the log's checkpoint is wrong: {detail}")]
    Checkpoint {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// Two members of an entry that say the same thing differ.
    #[error("`{member}` of the log entry disagrees with {with}")]
    LogDisagrees {
        /// The member.
        member: &'static str,
        /// What it disagrees with.
        with: &'static str,
    },
    /// The log's time is not within the certificate's life, or is in the future.
    #[error("the log's time is wrong: {detail}")]
    LogTime {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// A key alone: it says who signed, and nothing says when.
    #[error("signed with a key, without a log entry or timestamp")]
    Undated,
    /// Nobody who is trusted says when it was signed.
    #[error("no trusted time: neither a log's promise (SET) nor a timestamp (RFC 3161)")]
    TimeMissing,
    /// A timestamp that no authority of the root made over this signature.
    #[error("the timestamp (RFC 3161) is wrong: {detail}")]
    Timestamp {
        /// What is wrong, neutralised.
        detail: String,
    },
    /// A timestamp of an authority that was none at the time.
    #[error("the timestamp's authority was not valid at {time}")]
    TimestampAuthorityTime {
        /// The timestamp's time.
        time: Timestamp,
    },
    /// What the Sigstore crates refuse for a reason that has no name here.
    #[error("refused by sigstore-verify: {detail}")]
    Sigstore {
        /// Its words, neutralised.
        detail: String,
    },
    /// A signature over an artifact's bytes instead of a statement about it, where no artifact is at hand.
    #[error("a message signature, not a statement: expected a DSSE envelope")]
    MessageSignature,
    /// Not exactly one signature.
    #[error("{found} signatures in the envelope: expected exactly one")]
    SignatureCount {
        /// How many there are.
        found: usize,
    },
    /// The envelope carries something else than an in-toto statement.
    #[error("payload type `{found}`: expected `{expected}`", expected = super::dsse::PAYLOAD_TYPE)]
    PayloadType {
        /// The payload type.
        found: String,
    },
    /// The envelope hints at a trusted key, but neither this key nor another trusted one made the signature:
    /// the statement was changed after signing, or the hint is false.
    #[error("the signature is not by key {key}, which it names, nor by another trusted key")]
    BadSignature {
        /// The trusted key that was named.
        key: Digest,
    },
    /// None of the trusted keys made this signature.
    #[error("none of the {trusted} trusted keys made this signature{}", named(.hint))]
    NoTrustedKey {
        /// How many keys were tried.
        trusted: usize,
        /// The key the envelope names, unverified.
        hint: Option<String>,
    },
    /// Not an in-toto statement of a known version.
    #[error("statement type `{found}`: expected `https://in-toto.io/Statement/v1` or `…/v0.1`")]
    StatementType {
        /// The `_type`.
        found: String,
    },
    /// A statement about nothing.
    #[error("the statement has no subject")]
    NoSubject,
    /// A subject that is not named by its sha256 digest.
    #[error("subject {index} is named by {}, not by sha256", list(.found))]
    SubjectWithoutSha256 {
        /// The position in `subject`, from 0.
        index: usize,
        /// The algorithms it is named by.
        found: Vec<String>,
    },
    /// A subject whose sha256 is spelled wrongly.
    #[error("the digest of subject {index} is wrong")]
    SubjectDigest {
        /// The position in `subject`, from 0.
        index: usize,
        /// What is wrong with it.
        source: DigestError,
    },
    /// A simple signing payload of another tool, or of another meaning.
    #[error("simple signing type `{found}`: expected `{expected}`", expected = super::simple_signing::TYPE)]
    SimpleSigningType {
        /// The `critical.type`.
        found: String,
    },
}

fn named(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!(" (it names `{hint}`)")).unwrap_or_default()
}

fn list(found: &[String]) -> String {
    if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
}

impl Reason {
    /// Whether other roots of trust, or a clock that is right, might have believed it: then the signature is neither good
    /// nor wrong, and where it may be a no, it is not to be passed over.
    pub fn is_untold(&self) -> bool {
        matches!(
            self,
            Self::NoTrustedRoot
                | Self::UnknownAuthority { .. }
                | Self::UnknownLog { .. }
                | Self::LogTime { .. }
                | Self::CertificateAuthorityTime { .. }
                | Self::TimestampAuthorityTime { .. }
        )
    }

    /// Whether it is of the form alone: whoever signed it, nobody can read it.
    pub fn is_form(&self) -> bool {
        matches!(
            self,
            Self::Json { .. }
                | Self::Missing { .. }
                | Self::WrongType { .. }
                | Self::UnknownMember { .. }
                | Self::Base64 { .. }
                | Self::BundleVersion { .. }
                | Self::MediaType { .. }
                | Self::BundleMaterial { .. }
                | Self::TwoContents
                | Self::TooMany { .. }
                | Self::BundleMalformed { .. }
                | Self::MessageSignature
                | Self::SignatureCount { .. }
                | Self::PayloadType { .. }
                | Self::StatementType { .. }
                | Self::NoSubject
                | Self::SubjectWithoutSha256 { .. }
                | Self::SubjectDigest { .. }
        )
    }

    /// The reason with what led to it, on one line.
    pub fn whole(&self) -> String {
        let mut whole = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            whole = format!("{whole}: {cause}");
            source = cause.source();
        }
        whole
    }

    /// A stable code for machines, kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json { .. } => "not-strict-json",
            Self::Missing { .. } => "missing-member",
            Self::WrongType { .. } => "wrong-type",
            Self::UnknownMember { .. } => "unknown-member",
            Self::Base64 { .. } => "not-base64",
            Self::BundleVersion { .. } => "bundle-version",
            Self::MediaType { .. } => "not-a-bundle",
            Self::NoTrustedRoot => "no-trusted-root",
            Self::UnknownAuthority { .. } => "unknown-authority",
            Self::BundleMaterial { .. } => "bundle-material",
            Self::TwoContents => "two-contents",
            Self::TooMany { .. } => "too-many",
            Self::BundleMalformed { .. } => "bundle-malformed",
            Self::CertificateMalformed { .. } => "certificate-malformed",
            Self::CertificateIdentity { .. } => "certificate-identity",
            Self::CertificateIssuer => "certificate-issuer",
            Self::CertificateChain { .. } => "certificate-chain",
            Self::CertificateAuthorityTime { .. } => "certificate-authority-time",
            Self::CertificateNotYetValid { .. } => "certificate-not-yet-valid",
            Self::CertificateExpired { .. } => "certificate-expired",
            Self::CertificateTimestamp { .. } => "certificate-sct",
            Self::SignatureInvalid { .. } => "signature-invalid",
            Self::ArtifactMismatch { .. } => "artifact-mismatch",
            Self::BytesNeeded { .. } => "bytes-needed",
            Self::LogEntryMissing => "log-entry-missing",
            Self::LogEntryUnexpected => "log-entry-unexpected",
            Self::LogEntryKind { .. } => "log-entry-kind",
            Self::LogEntryUnsupported { .. } => "log-entry-unsupported",
            Self::LogEntryMalformed { .. } => "log-entry-malformed",
            Self::LogEntryMismatch { .. } => "log-entry-mismatch",
            Self::UnknownLog { .. } => "unknown-log",
            Self::LogPromiseMissing => "log-promise-missing",
            Self::LogPromise { .. } => "log-promise",
            Self::LogProofMissing => "log-proof-missing",
            Self::LogProof { .. } => "log-proof",
            Self::CheckpointMissing => "log-checkpoint-missing",
            Self::Checkpoint { .. } => "log-checkpoint",
            Self::LogDisagrees { .. } => "log-disagrees",
            Self::LogTime { .. } => "log-time",
            Self::Undated => "undated",
            Self::TimeMissing => "time-missing",
            Self::Timestamp { .. } => "timestamp",
            Self::TimestampAuthorityTime { .. } => "timestamp-authority-time",
            Self::Sigstore { .. } => "sigstore",
            Self::MessageSignature => "message-signature",
            Self::SignatureCount { .. } => "signature-count",
            Self::PayloadType { .. } => "payload-type",
            Self::BadSignature { .. } => "bad-signature",
            Self::NoTrustedKey { .. } => "no-trusted-key",
            Self::StatementType { .. } => "statement-type",
            Self::NoSubject => "no-subject",
            Self::SubjectWithoutSha256 { .. } => "subject-without-sha256",
            Self::SubjectDigest { .. } => "subject-digest",
            Self::SimpleSigningType { .. } => "simple-signing-type",
        }
    }
}
