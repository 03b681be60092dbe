//! What a deploy job shows to say that the gate said yes: signed, bound to bytes and environment, good for a short time.
//!
//! Guarantees: a [`SignedPermit`] exists only if its bytes were signed by a key of the [`Trust`], are of this type and no
//! other, parse strictly, and do not contradict themselves. Never does: say whether its author may give permits, whether
//! the log has the record that it carries, or whether it is good here and now; that is asked in [`crate::gate::permit`].
//!
//! It is in neither lane of the ledger: it rests on a commit that is, which it carries with the proof ([`Logged`]), and
//! proves nothing once its time is over.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Direction, DraftError, PolicyVersion, Position, RecordError, Subjects, is_shaped, parse_subjects,
    payload, read, sign,
};
use crate::digest::shorten;
use crate::json;
use crate::policy::{EnvironmentName, ServiceName};
use crate::reference::Repository;
use crate::tlog::{Included, TlogProof};
use crate::verify::{self, Attestation, Author, Sign, Trust};

/// The predicate type.
pub const PERMIT: &str = "https://samebits.dev/permit/v0.2";

/// The type before that: it carried no record, so that who could sign it needed no ledger. It is no permit any more.
pub const BARE_PERMIT: &str = "https://samebits.dev/permit/v0.1";

/// Predicate `https://samebits.dev/permit/v0.2`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Permit {
    /// The service.
    pub service: ServiceName,
    /// Where the image may be deployed.
    pub environment: EnvironmentName,
    /// Where it is pulled from: the repository of the environment, without a tag.
    pub repository: Repository,
    /// Whether it was promoted forward or back.
    pub kind: Direction,
    /// The commit of the promotion that it rests on.
    pub record: Position,
    /// The origin of the log that has it.
    pub origin: String,
    /// The rules.
    pub policy: PolicyVersion,
    /// When it was given.
    pub issued_on: Timestamp,
    /// From then on it is void.
    pub valid_until: Timestamp,
    /// That commit, and the proof; without it nothing is permitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logged: Option<Logged>,
}

/// A record, and the proof that a log has it. A claim until the proof is verified.
///
/// The record is text and not base64: it is JSON whose weight is base64 already, and a permit has to fit into a variable
/// of the environment (128 KiB on Linux, `execve(2)`, `MAX_ARG_STRLEN`), whatever a log takes for an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Logged {
    /// The entry, byte by byte as the log has it.
    pub entry: String,
    /// Where it is in the log, and the signed checkpoint of that (C2SP tlog-proof).
    pub proof: TlogProof,
}

impl Logged {
    /// The record and its proof.
    pub fn new(entry: &Included, proof: TlogProof) -> Self {
        // A record is JSON (RFC 8259: UTF-8). Whatever is none would not be what was proved, and be refused.
        Self { entry: String::from_utf8_lossy(entry.bytes()).into_owned(), proof }
    }
}

/// A permit about to be signed.
#[derive(Clone, Debug)]
pub struct PermitDraft {
    /// The image, where it is pulled from, and its platform manifests.
    pub subjects: Subjects,
    /// What it says.
    pub permit: Permit,
}

impl PermitDraft {
    /// The signed bytes, as for a record.
    ///
    /// # Errors
    /// [`DraftError`] when there is no signature.
    pub fn sign(&self, signer: &dyn Sign) -> Result<Vec<u8>, DraftError> {
        sign(&self.subjects, PERMIT, serde_json::to_value(&self.permit)?, signer)
    }
}

/// A permit whose signature was checked.
#[derive(Clone, Debug)]
pub struct SignedPermit {
    author: Author,
    subjects: Subjects,
    permit: Permit,
}

impl SignedPermit {
    /// Reads bytes that are said to be a permit.
    ///
    /// # Errors
    /// [`RecordError`] when the signature is not by a key or under a root of `trust`, or the bytes are no permit.
    pub fn read(bytes: &[u8], trust: &Trust) -> Result<Self, RecordError> {
        // 1. Signature and in-toto Statement v1.
        let attestation = verify::permit(bytes, trust).map_err(RecordError::Rejected)?;
        // 2. This type and no other: a record by the same author is no permit.
        if attestation.predicate_type() != PERMIT {
            return Err(RecordError::Kind(shorten(attestation.predicate_type())));
        }
        // 3. The predicate, closed and strict, in the one spelling.
        let permit = predicate(&attestation)?;
        // 4. Subjects: one repository, the image first.
        let subjects = parse_subjects(&attestation)?;
        // 5. What it says twice it says alike, and it ends after it began.
        if subjects.image.repository != permit.repository {
            return Err(RecordError::Contradiction("its subjects are in another repository than it names"));
        }
        if permit.valid_until <= permit.issued_on {
            return Err(RecordError::Contradiction("it is void from the beginning"));
        }
        Ok(Self { author: attestation.author().clone(), subjects, permit })
    }

    /// Who signed it.
    pub fn author(&self) -> &Author {
        &self.author
    }

    /// What it is about.
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// What it says.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }
}

/// Whether bytes say that they are a permit, of whatever version: a claim, for whoever may write over an old one.
pub fn is_permit(bytes: &[u8]) -> bool {
    let statement = payload(bytes).and_then(|payload| json::parse(&payload, json::Limits::default()).ok());
    let kind = statement.as_ref().and_then(|statement| statement.get("predicateType")?.as_str());
    kind.is_some_and(|kind| [PERMIT, BARE_PERMIT].contains(&kind))
}

fn predicate(attestation: &Attestation) -> Result<Permit, RecordError> {
    let permit: Permit = read(attestation)?;
    let written = serde_json::to_value(&permit);
    let written = written.map_err(|error| RecordError::Predicate(shorten(&error.to_string())))?;
    match is_shaped(attestation.predicate(), &written) {
        true => Ok(permit),
        false => Err(RecordError::Spelling("an array for an object, or an object for a word")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::digest::Digest;
    use crate::key::{Algorithm, PrivateKey};
    use crate::verify::sign_statement;

    fn statement() -> Value {
        let digest = Digest::of(b"index");
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                { "name": "registry.example/prod/shop", "digest": { "sha256": digest.hex() } },
                { "name": "registry.example/prod/shop", "digest": { "sha256": Digest::of(b"amd64").hex() } },
            ],
            "predicateType": PERMIT,
            "predicate": {
                "service": "shop",
                "environment": "production",
                "repository": "registry.example/prod/shop",
                "kind": "promote",
                "record": { "index": 7, "leafHash": digest },
                "origin": "test.example/log",
                "policy": {
                    "uri": "samebits.toml",
                    "digest": { "sha256": digest.hex() },
                    "keys": { "keys/release.pub": digest },
                },
                "issuedOn": "2030-03-01T09:00:00Z",
                "validUntil": "2030-03-01T10:00:00Z",
            },
        })
    }

    fn key() -> PrivateKey {
        PrivateKey::generate(Algorithm::Ed25519).unwrap()
    }

    fn read_text(text: &str) -> Result<SignedPermit, RecordError> {
        let key = key();
        let bytes = sign_statement(text.as_bytes(), &key).unwrap();
        SignedPermit::read(&bytes, &Trust::new(vec![key.public()]))
    }

    fn read_with(pointer: &str, value: Option<Value>) -> Result<SignedPermit, RecordError> {
        let mut statement = statement();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        let object = statement.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => drop(object.insert(member.to_owned(), value)),
            None => drop(object.remove(member).unwrap()),
        }
        read_text(&statement.to_string())
    }

    #[test]
    fn what_is_signed_is_read_back() {
        let read = read_text(&statement().to_string()).unwrap();
        let draft = PermitDraft { subjects: read.subjects().clone(), permit: read.permit().clone() };
        assert_eq!(
            draft.subjects.image.to_string(),
            format!("registry.example/prod/shop@{}", Digest::of(b"index"))
        );
        let key = key();
        let bytes = draft.sign(&key).unwrap();
        assert!(!bytes.contains(&b'\n'), "one line");
        assert!(is_permit(&bytes) && !is_permit(&bytes[1..]) && !is_permit(b"{}"));
        let again = SignedPermit::read(&bytes, &Trust::new(vec![key.public()])).unwrap();
        assert_eq!((again.permit(), again.subjects()), (read.permit(), read.subjects()));
        assert_eq!(again.author().identity(), &verify::Identity::Key { id: key.public().id() });
    }

    #[test]
    fn b9_a_member_that_is_missing_or_unknown_is_refused() {
        let members: Vec<String> = statement()["predicate"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(members.len(), 9);
        for member in members {
            let pointer = format!("/predicate/{member}");
            assert!(matches!(read_with(&pointer, None), Err(RecordError::Predicate(_))), "without {member}");
            let wrong = read_with(&pointer, Some(json!(17)));
            assert!(matches!(wrong, Err(RecordError::Predicate(_))), "{member}: {wrong:?}");
        }
        for pointer in
            ["/predicate/valid", "/predicate/record/size", "/predicate/policy/x", "/predicate/validuntil"]
        {
            let unknown = read_with(pointer, Some(json!("x")));
            assert!(matches!(unknown, Err(RecordError::Predicate(_))), "{pointer}: {unknown:?}");
        }
    }

    #[test]
    fn b9_what_stands_twice_is_refused() {
        let text = statement().to_string();
        let until = "\"validUntil\":\"2030-03-01T10:00:00Z\"";
        assert_eq!(text.matches(until).count(), 1);
        let twice = text.replace(until, &format!("{until},\"validUntil\":\"2031-03-01T10:00:00Z\""));
        assert!(matches!(read_text(&twice), Err(RecordError::Rejected(_))), "{twice}");
    }

    #[test]
    fn b9_another_spelling_is_refused() {
        let policy = statement()["predicate"]["policy"].clone();
        let array = json!([policy["uri"], policy["digest"], policy["keys"]]);
        for (pointer, value) in [
            ("/predicate/policy", array),
            ("/predicate/record", json!([7, Digest::of(b"index")])),
            ("/predicate/kind", json!({ "promote": null })),
            ("/predicate", json!([])),
        ] {
            assert!(read_with(pointer, Some(value.clone())).is_err(), "{pointer} {value}");
        }
        for (pointer, value) in [
            ("/predicate/environment", json!("Production")),
            ("/predicate/environment", json!("")),
            ("/predicate/service", json!("shop ")),
            ("/predicate/repository", json!("registry.example/prod/shop:v1")),
            ("/predicate/kind", json!("Promote")),
            ("/predicate/validUntil", json!("tomorrow")),
            ("/predicate/policy/digest", json!({ "sha512": "00" })),
        ] {
            let wrong = read_with(pointer, Some(value.clone()));
            assert!(matches!(wrong, Err(RecordError::Predicate(_))), "{pointer} {value}: {wrong:?}");
        }
    }

    #[test]
    fn a_permit_that_contradicts_itself_is_refused() {
        for (pointer, value) in [
            ("/predicate/repository", json!("registry.example/prod/api")),
            ("/predicate/validUntil", json!("2030-03-01T09:00:00Z")),
            ("/predicate/validUntil", json!("2030-03-01T08:59:59Z")),
        ] {
            let wrong = read_with(pointer, Some(value.clone()));
            assert!(matches!(wrong, Err(RecordError::Contradiction(_))), "{pointer} {value}: {wrong:?}");
        }
        let digest = Digest::of(b"x").hex();
        for subject in [
            json!([{ "digest": { "sha256": digest } }]),
            json!([{ "name": "registry.example/prod/shop:v1", "digest": { "sha256": digest } }]),
            json!([
                { "name": "registry.example/prod/shop", "digest": { "sha256": digest } },
                { "name": "registry.example/prod/api", "digest": { "sha256": digest } },
            ]),
        ] {
            let wrong = read_with("/subject", Some(subject.clone()));
            assert!(matches!(wrong, Err(RecordError::Subjects(_))), "{subject}: {wrong:?}");
        }
        assert!(matches!(read_with("/subject", Some(json!([]))), Err(RecordError::Rejected(_))));
    }

    #[test]
    fn e13_another_type_is_no_permit_whoever_signed_it() {
        for other in [
            "https://samebits.dev/promotion/v0.1",
            BARE_PERMIT,
            "https://samebits.dev/permit/v0.2/",
            "https://slsa.dev/verification_summary/v1",
        ] {
            let wrong = read_with("/predicateType", Some(json!(other)));
            assert!(matches!(&wrong, Err(RecordError::Kind(found)) if found == other), "{other}: {wrong:?}");
        }
    }

    #[test]
    fn e13_a_signature_by_somebody_else_is_refused() {
        let bytes = sign_statement(statement().to_string().as_bytes(), &key()).unwrap();
        let wrong = SignedPermit::read(&bytes, &Trust::new(vec![key().public()]));
        assert!(matches!(wrong, Err(RecordError::Rejected(_))), "{wrong:?}");
    }
}
