//! Fulcio's certificates: one identity, its issuer, and what else the issuer said
//! (sigstore/fulcio `docs/certificate-specification.md`, `docs/oid-info.md`).
//!
//! Reads, does not verify: whether the certificate is anybody's is the chain's business.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, Utf8StringRef};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::time::Time;

use super::Reason;
use crate::digest::shorten;

/// `1.3.6.1.4.1.57264.1`, Fulcio's own.
const FULCIO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
/// The longest identity, issuer or claim, in bytes.
const LONGEST: usize = 4096;

/// What the identity's issuer said of the workload, in the certificate: proved like the identity itself.
///
/// The names are Fulcio's (`docs/oid-info.md`, extensions `1.3.6.1.4.1.57264.1.9` to `.24`); the deprecated ones
/// (`.2` to `.6`) are not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    /// `.9`: the build instructions that asked for the signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_signer_uri: Option<String>,
    /// `.10`: their commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_signer_digest: Option<String>,
    /// `.11`: `github-hosted`, `self-hosted`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner_environment: Option<String>,
    /// `.12`: the repository that was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_repository_uri: Option<String>,
    /// `.13`: the commit that was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_repository_digest: Option<String>,
    /// `.14`: the ref that was built, as in `refs/heads/main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_repository_ref: Option<String>,
    /// `.15`: the repository's id, which survives renaming.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_repository_identifier: Option<String>,
    /// `.16`: the repository's owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_repository_owner_uri: Option<String>,
    /// `.17`: the owner's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_repository_owner_identifier: Option<String>,
    /// `.18`: the top-level build instructions (the calling workflow).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_config_uri: Option<String>,
    /// `.19`: their commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_config_digest: Option<String>,
    /// `.20`: the event, as in `push` or `pull_request_target`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_trigger: Option<String>,
    /// `.21`: the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_invocation_uri: Option<String>,
    /// `.22`: `public`, `private` or `internal`, at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_repository_visibility: Option<String>,
    /// `.23`: the deployment environment the job named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_environment: Option<String>,
    /// `.24`: the token's `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_subject: Option<String>,
}

/// What a signing certificate says.
pub(super) struct Leaf {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) claims: Claims,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// DER names of the issuers of every certificate that came along.
    pub(super) issuers: Vec<Vec<u8>>,
    /// The leaf's own issuer; only a refusal puts it into words, for that is a search through all known OIDs.
    issuer_name: Name,
}

impl Leaf {
    /// Reads the first of these certificates, and of the others only what they must not be.
    pub(super) fn read(chain: &[&[u8]]) -> Result<Self, Reason> {
        let parsed = chain
            .iter()
            .map(|der| Certificate::from_der(der).map_err(|_| malformed("it is not one DER certificate")))
            .collect::<Result<Vec<_>, _>>()?;
        let [leaf, others @ ..] = parsed.as_slice() else {
            return Err(malformed("there is none"));
        };
        // Bundle specification: the chain MUST NOT contain the root, which is trusted for other reasons.
        if others.iter().any(|one| one.tbs_certificate.issuer == one.tbs_certificate.subject) {
            return Err(malformed("a root certificate came along"));
        }
        let extensions = leaf.tbs_certificate.extensions.as_deref().unwrap_or_default();
        // RFC 5280, section 4.2: one instance of an extension.
        for (at, one) in extensions.iter().enumerate() {
            if extensions.iter().skip(at + 1).any(|other| other.extn_id == one.extn_id) {
                return Err(malformed("it has one extension twice"));
            }
        }
        let issuer_name = |one: &Certificate| one.tbs_certificate.issuer.to_der().unwrap_or_default();
        Ok(Self {
            subject: subject(extensions)?,
            issuer: issuer(extensions)?,
            claims: claims(extensions)?,
            not_before: time(leaf.tbs_certificate.validity.not_before)?,
            not_after: time(leaf.tbs_certificate.validity.not_after)?,
            issuers: parsed.iter().map(issuer_name).collect(),
            issuer_name: leaf.tbs_certificate.issuer.clone(),
        })
    }

    /// The leaf's issuer for people, neutralised.
    pub(super) fn issued_by(&self) -> String {
        shorten(&self.issuer_name.to_string())
    }
}

fn time(time: Time) -> Result<Timestamp, Reason> {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok();
    seconds
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or_else(|| malformed("its validity cannot be read"))
}

fn malformed(detail: &str) -> Reason {
    Reason::CertificateMalformed { detail: detail.to_owned() }
}

/// Exactly one alternative name, an e-mail address or a URI.
fn subject(extensions: &[Extension]) -> Result<String, Reason> {
    let names = extensions
        .iter()
        .find(|extension| extension.extn_id == SUBJECT_ALT_NAME)
        .ok_or(Reason::CertificateIdentity { found: "none".to_owned() })?;
    let names = SubjectAltName::from_der(names.extn_value.as_bytes())
        .map_err(|_| malformed("its alternative name cannot be read"))?;
    let [name] = names.0.as_slice() else {
        return Err(Reason::CertificateIdentity { found: format!("{} names", names.0.len()) });
    };
    let refused = |found: &str| Err(Reason::CertificateIdentity { found: found.to_owned() });
    let (text, good) = match name {
        // The two kinds cannot be mistaken for one another, so that equal texts are one identity.
        GeneralName::Rfc822Name(name) => {
            (name.as_str(), name.as_str().contains('@') && !name.as_str().contains(':'))
        }
        GeneralName::UniformResourceIdentifier(name) => (name.as_str(), name.as_str().contains(':')),
        GeneralName::OtherName(_) => return refused("an otherName"),
        GeneralName::DnsName(_) => return refused("a DNS name"),
        GeneralName::IpAddress(_) => return refused("an IP address"),
        GeneralName::DirectoryName(_) | GeneralName::EdiPartyName(_) | GeneralName::RegisteredId(_) => {
            return refused("a name of another kind");
        }
    };
    match good && is_text(text) {
        true => Ok(text.to_owned()),
        false => refused(&format!("`{}`", shorten(text))),
    }
}

/// `.8`, or `.1` where there is no `.8`.
fn issuer(extensions: &[Extension]) -> Result<String, Reason> {
    let find = |number| extensions.iter().find(|extension| fulcio(extension) == Some(number));
    let text = match (find(8), find(1)) {
        (Some(extension), _) => utf8(extension),
        // The old extension is bare UTF-8.
        (None, Some(old)) => std::str::from_utf8(old.extn_value.as_bytes()).ok().map(str::to_owned),
        (None, None) => return Err(Reason::CertificateIssuer),
    };
    text.filter(|text| is_text(text)).ok_or_else(|| malformed("its issuer cannot be read"))
}

fn claims(extensions: &[Extension]) -> Result<Claims, Reason> {
    let mut claims = Claims::default();
    for extension in extensions {
        let slot = match fulcio(extension) {
            Some(9) => &mut claims.build_signer_uri,
            Some(10) => &mut claims.build_signer_digest,
            Some(11) => &mut claims.runner_environment,
            Some(12) => &mut claims.source_repository_uri,
            Some(13) => &mut claims.source_repository_digest,
            Some(14) => &mut claims.source_repository_ref,
            Some(15) => &mut claims.source_repository_identifier,
            Some(16) => &mut claims.source_repository_owner_uri,
            Some(17) => &mut claims.source_repository_owner_identifier,
            Some(18) => &mut claims.build_config_uri,
            Some(19) => &mut claims.build_config_digest,
            Some(20) => &mut claims.build_trigger,
            Some(21) => &mut claims.run_invocation_uri,
            Some(22) => &mut claims.source_repository_visibility,
            Some(23) => &mut claims.deployment_environment,
            Some(24) => &mut claims.token_subject,
            // The identity's own, the deprecated, the unknown.
            Some(_) | None => continue,
        };
        let text = utf8(extension).filter(|text| text.len() <= LONGEST);
        *slot = Some(text.ok_or_else(|| malformed("one of its claims cannot be read"))?);
    }
    Ok(claims)
}

/// The number behind Fulcio's arc, below 128: one byte in DER (X.690, section 8.19.2), and there are 24.
fn fulcio(extension: &Extension) -> Option<u8> {
    match extension.extn_id.as_bytes().strip_prefix(FULCIO.as_bytes()) {
        Some([number @ 0..0x80]) => Some(*number),
        Some(_) | None => None,
    }
}

fn utf8(extension: &Extension) -> Option<String> {
    Utf8StringRef::from_der(extension.extn_value.as_bytes()).ok().map(|text| text.as_str().to_owned())
}

/// Something that can be compared and shown.
fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use x509_cert::der::asn1::{Any, Ia5String, OctetString, Utf8StringRef};
    use x509_cert::ext::pkix::name::OtherName;

    use super::*;

    /// A real leaf; what is read here is not verified here, so that it can be changed and encoded again.
    fn real() -> Certificate {
        let bundle = include_bytes!("../../../tests/vectors/conformance/happy-path-intoto-in-dsse-v3.json");
        let bundle: serde_json::Value = serde_json::from_slice(bundle).unwrap();
        let raw = bundle["verificationMaterial"]["certificate"]["rawBytes"].as_str().unwrap();
        Certificate::from_der(&STANDARD.decode(raw).unwrap()).unwrap()
    }

    fn read(change: impl FnOnce(&mut Vec<Extension>)) -> Result<Leaf, Reason> {
        let mut certificate = real();
        change(certificate.tbs_certificate.extensions.as_mut().unwrap());
        Leaf::read(&[&certificate.to_der().unwrap()])
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Vec<Extension>), code: &str) {
        assert_eq!(read(change).map(|_| ()).unwrap_err().code(), code);
    }

    fn number(number: u32) -> ObjectIdentifier {
        FULCIO.push_arc(number).unwrap()
    }

    fn set(extensions: &mut [Extension], id: ObjectIdentifier, value: Vec<u8>) {
        let extension = extensions.iter_mut().find(|extension| extension.extn_id == id).unwrap();
        extension.extn_value = OctetString::new(value).unwrap();
    }

    fn named(names: Vec<GeneralName>) -> impl FnOnce(&mut Vec<Extension>) {
        move |extensions| set(extensions, SUBJECT_ALT_NAME, SubjectAltName(names).to_der().unwrap())
    }

    fn uri(text: &str) -> GeneralName {
        GeneralName::UniformResourceIdentifier(Ia5String::new(text).unwrap())
    }

    fn email(text: &str) -> GeneralName {
        GeneralName::Rfc822Name(Ia5String::new(text).unwrap())
    }

    #[test]
    fn b6_exactly_one_name_of_a_kind_that_is_compared() {
        let subject = |names| read(named(names)).map(|leaf| leaf.subject);
        assert_eq!(subject(vec![uri("https://a/b")]).unwrap(), "https://a/b");
        assert_eq!(subject(vec![email("me@acme.example")]).unwrap(), "me@acme.example");
        let other = GeneralName::OtherName(OtherName {
            type_id: number(7),
            value: Any::encode_from(&Utf8StringRef::new("me!acme").unwrap()).unwrap(),
        });
        for names in [
            vec![other.clone()],
            vec![uri("https://a/b"), other],
            vec![uri("https://a/b"), uri("https://a/c")],
            vec![email("me@acme.example"), uri("https://a/b")],
            vec![],
            vec![GeneralName::DnsName(Ia5String::new("a.example").unwrap())],
            // One kind in the other's clothes, nothing, and what steers a terminal.
            vec![uri("me@acme.example")],
            vec![email("https://a@b")],
            vec![uri("")],
            vec![uri("https://a/\u{1b}[2J")],
            vec![uri("https://a/ b")],
        ] {
            refused(named(names), "certificate-identity");
        }
        refused(|all| all.retain(|one| one.extn_id != SUBJECT_ALT_NAME), "certificate-identity");
        refused(|all| set(all, SUBJECT_ALT_NAME, vec![1, 2, 3]), "certificate-malformed");
    }

    #[test]
    fn b6_the_newer_issuer_counts_and_the_older_only_where_it_is_absent() {
        let issuer = |change: fn(&mut Vec<Extension>)| read(change).map(|leaf| leaf.issuer);
        let real = "https://token.actions.githubusercontent.com";
        assert_eq!(issuer(|_| {}).unwrap(), real);
        assert_eq!(issuer(|all| set(all, number(1), b"https://evil.example".to_vec())).unwrap(), real);
        assert_eq!(issuer(|all| all.retain(|one| one.extn_id != number(8))).unwrap(), real);
        refused(|all| all.retain(|one| ![number(8), number(1)].contains(&one.extn_id)), "certificate-issuer");
        // A newer one that cannot be read is not an absent one.
        refused(|all| set(all, number(8), b"https://bare.example".to_vec()), "certificate-malformed");
        refused(|all| set(all, number(8), vec![0x0c, 0]), "certificate-malformed");
    }

    #[test]
    fn b9_what_cannot_be_read_or_stands_twice_is_refused() {
        refused(|all| set(all, number(14), b"refs/heads/main".to_vec()), "certificate-malformed");
        refused(|all| set(all, number(20), vec![0x0c, 1, 0xff]), "certificate-malformed");
        let twice = |all: &mut Vec<Extension>| {
            let one = all.iter().find(|one| one.extn_id == number(14)).unwrap().clone();
            all.push(one);
        };
        refused(twice, "certificate-malformed");
        // Unknown extensions are the chain's business, and absent claims are absent.
        let leaf = read(|all| all.retain(|one| one.extn_id != number(14))).map(|leaf| leaf.claims).unwrap();
        assert_eq!(leaf.source_repository_ref, None);
        assert!(leaf.source_repository_uri.is_some());
        assert_eq!(Leaf::read(&[]).map(|_| ()).unwrap_err().code(), "certificate-malformed");
        let mut root = real();
        root.tbs_certificate.issuer = root.tbs_certificate.subject.clone();
        let (leaf, root) = (real().to_der().unwrap(), root.to_der().unwrap());
        assert!(Leaf::read(&[&leaf, &leaf]).is_ok());
        assert_eq!(Leaf::read(&[&leaf, &root]).map(|_| ()).unwrap_err().code(), "certificate-malformed");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            let _ = Leaf::read(&[&bytes]);
            let mut real = real().to_der().unwrap();
            let at = at.index(real.len());
            real[at] = byte;
            let _ = Leaf::read(&[&real]);
        }
    }
}
