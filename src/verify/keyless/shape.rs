//! The members of a bundle, at every level (sigstore/protobuf-specs `sigstore_bundle.proto`,
//! `sigstore_rekor.proto`, `sigstore_common.proto`): none that the format does not have, and what each version of it
//! demands. The Sigstore crates ignore what they do not know.

use serde_json::Value;

use super::{Reason, Version};
use crate::digest::shorten;
use crate::verify::Part;
use crate::verify::read::{Object, Reader};

const READ: Reader = Reader(Part::Bundle);

/// How many of a kind one bundle may have; real ones have one.
const ENTRIES: usize = 4;
const TIMESTAMPS: usize = 4;
const CERTIFICATES: usize = 8;
/// A tree of 2^63 leaves has proofs of 63 hashes.
const HASHES: usize = 64;
const KINDS: [(&str, &str); 4] =
    [("hashedrekord", "0.0.1"), ("hashedrekord", "0.0.2"), ("dsse", "0.0.1"), ("intoto", "0.0.2")];
/// What Rekor v1 was given before (sigstore/rekor `pkg/types`): attestations by cosign before 2.2, signatures of keys by
/// other clients.
const OLD_KINDS: [(&str, &str); 2] = [("intoto", "0.0.1"), ("rekord", "0.0.1")];

/// Everything but the DSSE envelope, which has its own reader.
pub(super) fn check(bundle: &Object, version: Version) -> Result<(), Reason> {
    const MATERIAL: &str = "verificationMaterial";
    let material = READ.object(bundle, MATERIAL)?;
    let keys = ["certificate", "x509CertificateChain", "publicKey"];
    READ.only(
        material,
        MATERIAL,
        &["certificate", "x509CertificateChain", "publicKey", "tlogEntries", "timestampVerificationData"],
    )?;
    // 1. One signer, in the member its version has for it.
    let found: Vec<&'static str> = keys.into_iter().filter(|key| material.contains_key(*key)).collect();
    match (version, found.as_slice()) {
        (Version::V0_3, ["certificate"]) => certificate(READ.object(material, "certificate")?)?,
        (Version::V0_1 | Version::V0_2 | Version::Converted, ["x509CertificateChain"]) => {
            let chain = READ.object(material, "x509CertificateChain")?;
            READ.only(chain, "x509CertificateChain", &["certificates"])?;
            for one in objects(chain, "x509CertificateChain/certificates", CERTIFICATES)? {
                certificate(one?)?;
            }
        }
        (Version::V0_3 | Version::Converted, ["publicKey"]) => {
            READ.only(READ.object(material, "publicKey")?, "publicKey", &["hint"])?;
        }
        (Version::V0_1 | Version::V0_2 | Version::V0_3 | Version::Converted, _) => {
            return Err(Reason::BundleMaterial { found: found.join(", ") });
        }
    }
    // 2. Log entries.
    if material.contains_key("tlogEntries") {
        for one in objects(material, "tlogEntries", ENTRIES)? {
            entry(one?)?;
        }
    }
    // 3. Timestamps.
    if material.contains_key("timestampVerificationData") {
        let data = READ.object(material, "timestampVerificationData")?;
        READ.only(data, "timestampVerificationData", &["rfc3161Timestamps"])?;
        if data.contains_key("rfc3161Timestamps") {
            for one in objects(data, "timestampVerificationData/rfc3161Timestamps", TIMESTAMPS)? {
                let one = one?;
                READ.only(one, "rfc3161Timestamps/*", &["signedTimestamp"])?;
                READ.base64(one, "rfc3161Timestamps/*/signedTimestamp")?;
            }
        }
    }
    // 4. A message signature.
    if bundle.contains_key("messageSignature") {
        let message = READ.object(bundle, "messageSignature")?;
        READ.only(message, "messageSignature", &["messageDigest", "signature"])?;
        READ.base64(message, "messageSignature/signature")?;
        if message.contains_key("messageDigest") {
            let digest = READ.object(message, "messageSignature/messageDigest")?;
            READ.only(digest, "messageSignature/messageDigest", &["algorithm", "digest"])?;
            READ.text(digest, "messageSignature/messageDigest/algorithm")?;
            READ.base64(digest, "messageSignature/messageDigest/digest")?;
        }
    }
    Ok(())
}

fn certificate(one: &Object) -> Result<(), Reason> {
    READ.only(one, "certificate", &["rawBytes"])?;
    READ.base64(one, "certificate/rawBytes").map(drop)
}

fn entry(entry: &Object) -> Result<(), Reason> {
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
    whole(entry, "tlogEntries/*/logIndex")?;
    whole(entry, "tlogEntries/*/integratedTime")?;
    let id = READ.object(entry, "tlogEntries/*/logId")?;
    READ.only(id, "tlogEntries/*/logId", &["keyId"])?;
    READ.base64(id, "tlogEntries/*/logId/keyId")?;
    let kind = READ.object(entry, "tlogEntries/*/kindVersion")?;
    READ.only(kind, "tlogEntries/*/kindVersion", &["kind", "version"])?;
    let (kind, version) = (
        READ.text(kind, "tlogEntries/*/kindVersion/kind")?,
        READ.text(kind, "tlogEntries/*/kindVersion/version")?,
    );
    if OLD_KINDS.contains(&(kind, version)) {
        return Err(Reason::LogEntryUnsupported { found: format!("{kind} {version}") });
    }
    if !KINDS.contains(&(kind, version)) {
        return Err(Reason::LogEntryKind { found: shorten(&format!("{kind} {version}")) });
    }
    READ.base64(entry, "tlogEntries/*/canonicalizedBody")?;
    if entry.contains_key("inclusionPromise") {
        let promise = READ.object(entry, "tlogEntries/*/inclusionPromise")?;
        READ.only(promise, "tlogEntries/*/inclusionPromise", &["signedEntryTimestamp"])?;
        READ.base64(promise, "tlogEntries/*/inclusionPromise/signedEntryTimestamp")?;
    }
    if entry.contains_key("inclusionProof") {
        let proof = READ.object(entry, "tlogEntries/*/inclusionProof")?;
        READ.only(
            proof,
            "tlogEntries/*/inclusionProof",
            &["logIndex", "rootHash", "treeSize", "hashes", "checkpoint"],
        )?;
        whole(proof, "tlogEntries/*/inclusionProof/logIndex")?;
        whole(proof, "tlogEntries/*/inclusionProof/treeSize")?;
        READ.base64(proof, "tlogEntries/*/inclusionProof/rootHash")?;
        if proof.contains_key("hashes") {
            let hashes = READ.array(proof, "tlogEntries/*/inclusionProof/hashes")?;
            few("tlogEntries/*/inclusionProof/hashes", hashes.len(), HASHES)?;
            for hash in hashes {
                let hash = hash
                    .as_str()
                    .ok_or_else(|| READ.wrong("tlogEntries/*/inclusionProof/hashes/*", "a string"))?;
                READ.decode(hash, "tlogEntries/*/inclusionProof/hashes/*")?;
            }
        }
        if proof.contains_key("checkpoint") {
            let checkpoint = READ.object(proof, "tlogEntries/*/inclusionProof/checkpoint")?;
            READ.only(checkpoint, "tlogEntries/*/inclusionProof/checkpoint", &["envelope"])?;
        }
    }
    Ok(())
}

/// A 64-bit number in its one spelling: protobuf's JSON writes a string; absent is 0.
fn whole(within: &Object, path: &'static str) -> Result<(), Reason> {
    match READ.optional_text(within, path)? {
        Some(text) if text.parse::<i64>().is_ok_and(|number| number >= 0 && number.to_string() == text) => {
            Ok(())
        }
        Some(_) => Err(READ.wrong(path, "a whole number in a string")),
        None => Ok(()),
    }
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
