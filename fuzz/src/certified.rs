//! What stands in a real bundle by certificate, of which all but one part is honest.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::digest::Digest;
use samebits::verify::{self, Artifact, Root, SignedArtifact, Trust, Verified};
use serde_json::{Value, json};

use super::{base64, conformance, public_good, refused, seeds};

/// A bundle that is accepted as it is.
struct Base {
    bundle: Value,
    trust: Trust,
}

impl Base {
    fn read(bundle: &[u8], root: Root) -> Self {
        let bundle = serde_json::from_slice(bundle).expect("a bundle of the vectors");
        Self { bundle, trust: Trust::new(Vec::new()).with_roots(vec![root]) }
    }

    fn verdict(&self, bundle: &Value) -> Option<Verified<SignedArtifact>> {
        let bytes = bundle.to_string();
        let artifact = Artifact::Digest(Digest::of(seeds::ARTIFACT));
        verify::artifact(bytes.as_bytes(), artifact, &self.trust)
            .inspect_err(|rejected| refused(rejected, bytes.as_bytes()))
            .ok()
    }
}

/// Rekor v1, a promise and a proof, no timestamp; the public instance.
static LOGGED: LazyLock<Base> = LazyLock::new(|| Base::read(seeds::LOGGED, public_good()));

/// Rekor v2 and a timestamp, where the suite is at hand.
static STAMPED: LazyLock<Option<Base>> = LazyLock::new(|| {
    let folder = conformance()?.join("rekor2-happy-path");
    let root = std::fs::read_to_string(folder.join("trusted_root.json")).ok()?;
    let root = Root::private("suite".parse().ok()?, &root).ok()?;
    Some(Base::read(&std::fs::read(folder.join("bundle.sigstore.json")).ok()?, root))
});

/// Any bytes as a timestamp token beside an honest signature, log entry and certificate.
pub fn timestamp(input: &[u8]) {
    let stamped = |base: &Base| {
        let mut bundle = base.bundle.clone();
        let token = json!({ "signedTimestamp": STANDARD.encode(input) });
        bundle["verificationMaterial"]["timestampVerificationData"] = json!({ "rfc3161Timestamps": [token] });
        base.verdict(&bundle)
    };
    assert!(stamped(&LOGGED).is_none(), "no authority ever saw this signature");
    if let Some((base, verified)) = STAMPED.as_ref().and_then(|base| Some((base, stamped(base)?))) {
        let honest = base.verdict(&base.bundle).expect("the suite's own bundle");
        assert_eq!(*verified, *honest);
        assert_eq!(verified.author(), honest.author(), "a time that no authority stated");
    }
}

/// Any bytes as a certificate, its extensions, or one of them: the first byte says which.
///
/// Nothing but the certificate as it was issued is ever accepted.
pub fn certificate_extension(input: &[u8]) {
    let Some((kind, value)) = input.split_first() else { return };
    let Some(changed) = certificate(*kind, value) else { return };
    let mut bundle = LOGGED.bundle.clone();
    bundle["verificationMaterial"]["certificate"] = json!({ "rawBytes": STANDARD.encode(&changed) });
    let accepted = LOGGED.verdict(&bundle).is_some();
    assert_eq!(accepted, changed == honest(), "accepted, or refused, for what was not signed");
}

/// The bundle's own certificate.
pub(super) fn honest() -> Vec<u8> {
    base64(&LOGGED.bundle["verificationMaterial"]["certificate"]["rawBytes"]).expect("a certificate")
}

/// How the first byte of an input is read.
pub(super) const WHOLE: u8 = 255;
pub(super) const ALL: u8 = 254;
pub(super) const NAME: u8 = 0;
/// Where Fulcio's extensions end.
pub(super) const LAST: u8 = 24;

const SUBJECT_ALT_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x11];

/// The honest certificate with one part replaced, and lengths that fit.
fn certificate(kind: u8, value: &[u8]) -> Option<Vec<u8>> {
    let honest = honest();
    let [tbs, rest @ ..] = &parts(contents(&honest)?)[..] else { return None };
    let [fields @ .., extensions] = &parts(contents(tbs)?)[..] else { return None };
    let extensions = contents(contents(extensions)?)?;
    let extensions = match kind {
        WHOLE => return Some(value.to_vec()),
        ALL => value.to_vec(),
        NAME => replaced(extensions, SUBJECT_ALT_NAME, value),
        1..=LAST => replaced(extensions, &fulcio(kind), value),
        _ => return None,
    };
    let extensions = tlv(0xa3, &tlv(0x30, &extensions));
    let tbs = tlv(0x30, &[fields.concat(), extensions].concat());
    Some(tlv(0x30, &[tbs, rest.concat()].concat()))
}

/// `1.3.6.1.4.1.57264.1.N`
pub(super) fn fulcio(number: u8) -> Vec<u8> {
    tlv(0x06, &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, number])
}

/// The extension with this identifier has another value; it is added where there is none.
fn replaced(extensions: &[u8], id: &[u8], value: &[u8]) -> Vec<u8> {
    let one = |head: &[u8]| tlv(0x30, &[head, &tlv(0x04, value)].concat());
    let mut found = false;
    let mut all: Vec<Vec<u8>> = Vec::new();
    for extension in parts(extensions) {
        match contents(extension).filter(|inside| inside.starts_with(id)) {
            Some(inside) => {
                found = true;
                let parts = parts(inside);
                all.push(one(&parts[..parts.len() - 1].concat()));
            }
            None => all.push(extension.to_vec()),
        }
    }
    if !found {
        all.push(one(id));
    }
    all.concat()
}

/// The value of one extension of the honest certificate, or all extensions.
pub(super) fn honest_value(id: Option<&[u8]>) -> Option<Vec<u8>> {
    let honest = honest();
    let tbs = *parts(contents(&honest)?).first()?;
    let extensions = contents(contents(parts(contents(tbs)?).last()?)?)?;
    let Some(id) = id else { return Some(extensions.to_vec()) };
    let extension =
        parts(extensions).into_iter().find(|one| contents(one).is_some_and(|it| it.starts_with(id)))?;
    Some(contents(parts(contents(extension)?).last()?)?.to_vec())
}

/// The subject alternative name's.
pub(super) fn honest_name() -> Option<Vec<u8>> {
    honest_value(Some(SUBJECT_ALT_NAME))
}

/// One DER value.
pub(super) fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    let mut bytes = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        0x100..0x1_0000 => vec![tag, 0x82, (length >> 8) as u8, length as u8],
        _ => vec![tag, 0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8],
    };
    bytes.extend_from_slice(value);
    bytes
}

/// Header and whole length of the DER value in front.
fn lengths(der: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*der.get(1)?);
    let (header, length) = match first {
        0..0x80 => (2, first),
        _ => {
            let more = first & 0x7f;
            let bytes = der.get(2..2 + more)?;
            (2 + more, bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    };
    Some((header, header + length)).filter(|(_, end)| *end <= der.len())
}

/// What is inside of one DER value.
fn contents(der: &[u8]) -> Option<&[u8]> {
    let (header, end) = lengths(der)?;
    der.get(header..end)
}

/// DER values one after another.
fn parts(mut der: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((_, end)) = lengths(der) {
        let (one, rest) = der.split_at(end);
        parts.push(one);
        der = rest;
    }
    parts
}
