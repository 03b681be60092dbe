//! A bundle as the Sigstore crates take it, from what was read strictly (sigstore/protobuf-specs
//! `sigstore_bundle.proto`, `sigstore_rekor.proto`, `sigstore_common.proto`): at every level no members that the format
//! does not have, what each version of it demands, and one spelling of each value. The Sigstore crates ignore what they
//! do not know, and read several spellings.

use jiff::Timestamp;
use serde_json::Value;
use sigstore_types as types;
use sigstore_types::bundle::VerificationMaterialContent as Material;

use super::{Reason, Version};
use crate::digest::shorten;
use crate::verify::Part;
use crate::verify::dsse::{self, Envelope};
use crate::verify::read::{Object, Reader, last};

const READ: Reader = Reader(Part::Bundle);

/// How many of a kind one bundle may have; real ones have one.
const ENTRIES: usize = 4;
const TIMESTAMPS: usize = 4;
const CERTIFICATES: usize = 8;
/// A tree of 2^63 leaves has proofs of 63 hashes.
const HASHES: usize = 64;
/// What Rekor v1 was given before (sigstore/rekor `pkg/types`): attestations by cosign before 2.2, signatures of keys by
/// other clients.
const OLD_KINDS: [(&str, &str); 2] = [("intoto", "0.0.1"), ("rekord", "0.0.1")];

/// Reads all of it; each base64 is decoded once, here.
pub(super) fn read(bundle: &Object, version: Version) -> Result<types::Bundle, Reason> {
    const MATERIAL: &str = "verificationMaterial";
    let material = READ.object(bundle, MATERIAL)?;
    READ.only(
        material,
        MATERIAL,
        &["certificate", "x509CertificateChain", "publicKey", "tlogEntries", "timestampVerificationData"],
    )?;
    let media_type = READ.text(bundle, "mediaType")?.parse().map_err(malformed)?;
    let mut read = types::VerificationMaterial::new(signer(material, version)?);
    if material.contains_key("tlogEntries") {
        let entries = objects(material, "tlogEntries", ENTRIES)?;
        read = read.with_tlog_entries(entries.map(|one| entry(one?)).collect::<Result<_, _>>()?);
    }
    if material.contains_key("timestampVerificationData") {
        let data = READ.object(material, "timestampVerificationData")?;
        READ.only(data, "timestampVerificationData", &["rfc3161Timestamps"])?;
        if data.contains_key("rfc3161Timestamps") {
            let stamps = objects(data, "timestampVerificationData/rfc3161Timestamps", TIMESTAMPS)?;
            let stamps = stamps.map(|one| timestamp(one?)).collect::<Result<_, _>>()?;
            read = read.with_timestamp_verification_data(types::TimestampVerificationData::new(stamps));
        }
    }
    let content = match (bundle.contains_key("messageSignature"), bundle.contains_key("dsseEnvelope")) {
        (true, true) => return Err(Reason::TwoContents),
        (true, false) => types::SignatureContent::MessageSignature(message(bundle)?),
        (false, _) => {
            let (payload, signature, keyid) =
                Envelope::read(READ.object(bundle, "dsseEnvelope")?)?.into_parts();
            let signature =
                types::DsseSignature::new(signature.into(), types::KeyId::new(keyid.unwrap_or_default()));
            types::SignatureContent::DsseEnvelope(types::DsseEnvelope::new(
                dsse::PAYLOAD_TYPE,
                payload.into(),
                signature,
            ))
        }
    };
    Ok(types::Bundle::new(media_type, read, content))
}

/// One signer, in the member its version has for it.
fn signer(material: &Object, version: Version) -> Result<Material, Reason> {
    let keys = ["certificate", "x509CertificateChain", "publicKey"];
    let found: Vec<&'static str> = keys.into_iter().filter(|key| material.contains_key(*key)).collect();
    match (version, found.as_slice()) {
        (Version::V0_3, ["certificate"]) => {
            let der = certificate(READ.object(material, "certificate")?)?;
            Ok(Material::Certificate(types::CertificateContent::new(der)))
        }
        (Version::V0_1 | Version::V0_2 | Version::Converted, ["x509CertificateChain"]) => {
            let chain = READ.object(material, "x509CertificateChain")?;
            READ.only(chain, "x509CertificateChain", &["certificates"])?;
            let certificates = objects(chain, "x509CertificateChain/certificates", CERTIFICATES)?
                .map(|one| Ok(types::X509Certificate::new(certificate(one?)?)))
                .collect::<Result<_, _>>()?;
            Ok(Material::X509CertificateChain { certificates })
        }
        (Version::V0_3 | Version::Converted, ["publicKey"]) => {
            let key = READ.object(material, "publicKey")?;
            READ.only(key, "publicKey", &["hint"])?;
            let hint = READ.optional_text(key, "publicKey/hint")?.unwrap_or_default();
            Ok(Material::PublicKey(types::PublicKeyIdentifier::new(hint)))
        }
        (Version::V0_1 | Version::V0_2 | Version::V0_3 | Version::Converted, _) => {
            Err(Reason::BundleMaterial { found: found.join(", ") })
        }
    }
}

fn certificate(one: &Object) -> Result<types::DerCertificate, Reason> {
    READ.only(one, "certificate", &["rawBytes"])?;
    READ.base64(one, "certificate/rawBytes").map(types::DerCertificate::new)
}

fn timestamp(one: &Object) -> Result<types::Rfc3161Timestamp, Reason> {
    READ.only(one, "rfc3161Timestamps/*", &["signedTimestamp"])?;
    let token = READ.base64(one, "rfc3161Timestamps/*/signedTimestamp")?;
    Ok(types::Rfc3161Timestamp::new(token.into()))
}

fn message(bundle: &Object) -> Result<types::MessageSignature, Reason> {
    let message = READ.object(bundle, "messageSignature")?;
    READ.only(message, "messageSignature", &["messageDigest", "signature"])?;
    let read = types::MessageSignature::new(READ.base64(message, "messageSignature/signature")?.into());
    if !message.contains_key("messageDigest") {
        return Ok(read);
    }
    let digest = READ.object(message, "messageSignature/messageDigest")?;
    READ.only(digest, "messageSignature/messageDigest", &["algorithm", "digest"])?;
    let algorithm =
        READ.text(digest, "messageSignature/messageDigest/algorithm")?.parse().map_err(malformed)?;
    let digest = READ.base64(digest, "messageSignature/messageDigest/digest")?;
    Ok(read.with_message_digest(types::MessageDigest::new(algorithm, digest.into())))
}

fn entry(entry: &Object) -> Result<types::TransparencyLogEntry, Reason> {
    READ.only(
        entry,
        "tlogEntries/*",
        &[
            "logIndex",
            "logId",
            "kindVersion",
            "integratedTime",
            "inclusionPromise",
            "inclusionProof",
            "canonicalizedBody",
        ],
    )?;
    let index = index(entry, "tlogEntries/*/logIndex")?;
    let seconds = whole(entry, "tlogEntries/*/integratedTime")?.unwrap_or_default();
    let id = READ.object(entry, "tlogEntries/*/logId")?;
    READ.only(id, "tlogEntries/*/logId", &["keyId"])?;
    let id = types::LogId::new(READ.base64(id, "tlogEntries/*/logId/keyId")?.into());
    let kind = kind(READ.object(entry, "tlogEntries/*/kindVersion")?)?;
    let body = READ.base64(entry, "tlogEntries/*/canonicalizedBody")?;
    let mut read = types::TransparencyLogEntry::new(index, id, kind, body.into());
    // Protobuf: 0 and absent are one thing.
    if seconds != 0 {
        read = read.with_integrated_time(Timestamp::from_second(seconds).map_err(malformed)?);
    }
    if entry.contains_key("inclusionPromise") {
        let promise = READ.object(entry, "tlogEntries/*/inclusionPromise")?;
        READ.only(promise, "tlogEntries/*/inclusionPromise", &["signedEntryTimestamp"])?;
        let promise = READ.base64(promise, "tlogEntries/*/inclusionPromise/signedEntryTimestamp")?;
        read = read.with_inclusion_promise(types::InclusionPromise::new(promise.into()));
    }
    if entry.contains_key("inclusionProof") {
        read = read.with_inclusion_proof(proof(READ.object(entry, "tlogEntries/*/inclusionProof")?)?);
    }
    Ok(read)
}

fn kind(kind: &Object) -> Result<types::KindVersion, Reason> {
    READ.only(kind, "tlogEntries/*/kindVersion", &["kind", "version"])?;
    let (kind, version) = (
        READ.text(kind, "tlogEntries/*/kindVersion/kind")?,
        READ.text(kind, "tlogEntries/*/kindVersion/version")?,
    );
    match (kind, version) {
        ("hashedrekord", "0.0.1") => Ok(types::KindVersion::HashedRekordV001),
        ("hashedrekord", "0.0.2") => Ok(types::KindVersion::HashedRekordV002),
        ("dsse", "0.0.1") => Ok(types::KindVersion::DsseV001),
        ("intoto", "0.0.2") => Ok(types::KindVersion::IntotoV002),
        old if OLD_KINDS.contains(&old) => {
            Err(Reason::LogEntryUnsupported { found: format!("{kind} {version}") })
        }
        (kind, version) => Err(Reason::LogEntryKind { found: shorten(&format!("{kind} {version}")) }),
    }
}

fn proof(proof: &Object) -> Result<types::InclusionProof, Reason> {
    READ.only(
        proof,
        "tlogEntries/*/inclusionProof",
        &["logIndex", "rootHash", "treeSize", "hashes", "checkpoint"],
    )?;
    const SIZE: &str = "tlogEntries/*/inclusionProof/treeSize";
    let index = index(proof, "tlogEntries/*/inclusionProof/logIndex")?;
    let size = whole(proof, SIZE)?.and_then(|size| u64::try_from(size).ok());
    let size = size.ok_or(Reason::Missing { part: Part::Bundle, member: SIZE })?;
    let root = READ.text(proof, "tlogEntries/*/inclusionProof/rootHash")?;
    let root = hash(root, "tlogEntries/*/inclusionProof/rootHash")?;
    let mut hashes = Vec::new();
    if proof.contains_key("hashes") {
        const PATH: &str = "tlogEntries/*/inclusionProof/hashes/*";
        let found = READ.array(proof, "tlogEntries/*/inclusionProof/hashes")?;
        few("tlogEntries/*/inclusionProof/hashes", found.len(), HASHES)?;
        for one in found {
            hashes.push(hash(one.as_str().ok_or_else(|| READ.wrong(PATH, "a string"))?, PATH)?);
        }
    }
    let mut checkpoint = types::CheckpointData::default();
    if proof.contains_key("checkpoint") {
        let note = READ.object(proof, "tlogEntries/*/inclusionProof/checkpoint")?;
        READ.only(note, "tlogEntries/*/inclusionProof/checkpoint", &["envelope"])?;
        if let Some(note) = READ.optional_text(note, "tlogEntries/*/inclusionProof/checkpoint/envelope")? {
            checkpoint = types::CheckpointData::new(note).map_err(malformed)?;
        }
    }
    Ok(types::InclusionProof::new(index, root, size, hashes, checkpoint))
}

/// A hash in base64, which is the format's spelling; the Sigstore crates would read hexadecimal, too.
fn hash(text: &str, path: &'static str) -> Result<types::Sha256Hash, Reason> {
    types::Sha256Hash::try_from(READ.decode(text, path)?.as_slice()).map_err(malformed)
}

fn index(within: &Object, path: &'static str) -> Result<types::LogIndex, Reason> {
    types::LogIndex::try_from(whole(within, path)?.unwrap_or_default()).map_err(malformed)
}

/// A 64-bit number in its one spelling: protobuf's JSON writes a string.
fn whole(within: &Object, path: &'static str) -> Result<Option<i64>, Reason> {
    let Some(value) = within.get(last(path)) else { return Ok(None) };
    let number = value.as_str().and_then(|text| {
        let number = text.parse::<i64>().ok()?;
        (number >= 0 && number.to_string() == text).then_some(number)
    });
    number.map(Some).ok_or_else(|| READ.wrong(path, "a whole number in a string"))
}

fn malformed(error: impl std::error::Error) -> Reason {
    Reason::BundleMalformed { detail: shorten(&error.to_string()) }
}

fn few(member: &'static str, found: usize, limit: usize) -> Result<(), Reason> {
    match found > limit {
        true => Err(Reason::TooMany { member, found, limit }),
        false => Ok(()),
    }
}

fn objects<'a>(
    within: &'a Object,
    path: &'static str,
    limit: usize,
) -> Result<impl Iterator<Item = Result<&'a Object, Reason>>, Reason> {
    let array = READ.array(within, path)?;
    few(path, array.len(), limit)?;
    Ok(array.iter().map(move |one: &Value| one.as_object().ok_or_else(|| READ.wrong(path, "objects"))))
}
