//! in-toto statements, v1 and v0.1 (in-toto/attestation `spec/v1/statement.md`).

use serde_json::Value;

use super::read::Reader;
use super::{Attestation, Part, Reason, Subject};
use crate::digest::{Digest, shorten};

const READ: Reader = Reader(Part::Statement);
const V1: &str = "https://in-toto.io/Statement/v1";
const V0_1: &str = "https://in-toto.io/Statement/v0.1";

/// Reads a statement. Unknown members are ignored, as the specification asks of consumers ("parsing rules"); what
/// is known is read strictly.
///
/// Other digests beside a subject's sha256 are not looked at: we hold no other digest to compare them with.
pub(super) fn read(bytes: &[u8]) -> Result<Attestation, Reason> {
    let mut statement = READ.document(bytes)?;
    // 1. _type
    match READ.text(&statement, "_type")? {
        V1 | V0_1 => {}
        found => return Err(Reason::StatementType { found: shorten(found) }),
    }
    // 2. predicateType and predicate, which is an object where there is one
    let predicate_type = READ.text(&statement, "predicateType")?.to_owned();
    let predicate = match statement.remove("predicate") {
        None => Value::Null,
        Some(predicate @ Value::Object(_)) => predicate,
        Some(_) => return Err(READ.wrong("predicate", "an object")),
    };
    // 3. subject: at least one, each by its sha256
    let subjects = READ
        .array(&statement, "subject")?
        .iter()
        .enumerate()
        .map(|(index, value)| subject(index, value))
        .collect::<Result<Vec<_>, _>>()?;
    if subjects.is_empty() {
        return Err(Reason::NoSubject);
    }
    Ok(Attestation { predicate_type, subjects, predicate })
}

fn subject(index: usize, value: &Value) -> Result<Subject, Reason> {
    let subject = value.as_object().ok_or_else(|| READ.wrong("subject/*", "an object"))?;
    let name = READ.optional_text(subject, "subject/*/name")?.map(str::to_owned);
    let digests = READ.object(subject, "subject/*/digest")?;
    if digests.values().any(|value| !value.is_string()) {
        return Err(READ.wrong("subject/*/digest/*", "a string"));
    }
    let Some(sha256) = digests.get("sha256").and_then(Value::as_str) else {
        let found = digests.keys().take(8).map(|algorithm| shorten(algorithm)).collect();
        return Err(Reason::SubjectWithoutSha256 { index, found });
    };
    let digest = Digest::from_hex(sha256).map_err(|source| Reason::SubjectDigest { index, source })?;
    Ok(Subject { name, digest })
}

/// The Sigstore crates want an artifact that the statement is about; ours is whatever the statement says it is.
/// Whether that is our image is the gate's question.
pub(super) fn about(statement: &Attestation) -> Result<Digest, Reason> {
    statement.subjects().first().map(|subject| subject.digest).ok_or(Reason::NoSubject)
}
