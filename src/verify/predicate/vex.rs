//! OpenVEX v0.2.0 (openvex/spec, `OPENVEX-SPEC.md`; as an attestation: `ATTESTING.md`).

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::read::Place;
use super::{OPENVEX, PredicateError, is_version_of};
use crate::digest::{Digest, shorten};
use crate::verify::Attestation;

/// What a statement says of a vulnerability ("Status Labels").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VexStatus {
    /// It does no harm, and one of the five justifications says why ("Status Justifications").
    NotAffected,
    /// It does no harm, and only prose says why, which the specification discourages.
    NotAffectedInProse,
    /// It does harm.
    Affected,
    /// These bytes hold a fix.
    Fixed,
    /// Nobody knows yet.
    UnderInvestigation,
}

/// One statement about one product: vulnerability, status, time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VexStatement {
    /// The vulnerability's name and its aliases.
    pub names: Vec<String>,
    /// The digests of the product; `None` where the statement names no product and means the subjects.
    pub product: Option<Vec<Digest>>,
    /// The components of the product that are spoken of (`subcomponents`), as written; none for all of it.
    pub parts: BTreeSet<String>,
    /// The status.
    pub status: VexStatus,
    /// When that was known: the statement's time, else the document's.
    pub time: Timestamp,
}

/// An OpenVEX document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vex {
    /// The statements, in the order written; one that names several products is several.
    pub statements: Vec<VexStatement>,
    /// When the document was issued.
    pub issued: Timestamp,
}

impl Vex {
    /// Reads a document.
    ///
    /// # Errors
    /// [`PredicateError`] when it is of another kind, or any statement is incomplete: "a document with incomplete
    /// statements is not valid" ("Data Inheritance").
    pub fn read(attestation: &Attestation) -> Result<Self, PredicateError> {
        if !is_version_of(attestation.predicate_type(), OPENVEX) {
            let found = shorten(attestation.predicate_type());
            return Err(PredicateError::PredicateType { found, expected: "OpenVEX" });
        }
        let root = Place::root(attestation.predicate());
        // 1. the document: @context, @id, author, timestamp
        let context = root.need("@context")?;
        if !is_version_of(context.text()?, OPENVEX) {
            return Err(context.word(context.text()?, format!("`{OPENVEX}`, or a version of it")));
        }
        root.need("@id")?.text()?;
        root.need("author")?.text()?;
        let issued = root.need("timestamp")?.time()?;
        // 2. its statements
        let statements = root.need("statements")?.elements()?;
        let statements: Vec<Vec<_>> =
            statements.iter().map(|place| statement(place, issued)).collect::<Result<_, _>>()?;
        Ok(Self { statements: statements.concat(), issued })
    }

    /// Whether what is said last about a vulnerability in one of the products is that it does no harm. Of two
    /// statements of the same time, the one that says otherwise counts; one about some components takes back nothing
    /// that was said of others, or of the whole product: a scan does not tell in which component it found something.
    ///
    /// `subject` is the digest the attestation is about, which is the product where a statement names none; `also`
    /// is another digest of the same product (an index, for its platform manifests).
    pub fn clears(&self, vulnerability: &str, subject: Digest, also: Digest) -> bool {
        let about = |statement: &&VexStatement| {
            let product = statement.product.as_ref();
            statement.names.iter().any(|name| name == vulnerability)
                && product.is_none_or(|digests| digests.contains(&subject) || digests.contains(&also))
        };
        let about: Vec<&VexStatement> = self.statements.iter().filter(about).collect();
        let stands = |one: &&&VexStatement| !about.iter().any(|other| other.takes_back(one));
        !about.is_empty() && about.iter().filter(stands).all(|one| one.status == VexStatus::NotAffected)
    }
}

impl VexStatement {
    /// Said later, of everything that the other one is about.
    fn takes_back(&self, other: &Self) -> bool {
        let covers = self.parts.is_empty() || !other.parts.is_empty() && self.parts.is_superset(&other.parts);
        covers && self.time > other.time
    }
}

fn statement(place: &Place<'_>, issued: Timestamp) -> Result<Vec<VexStatement>, PredicateError> {
    // 1. vulnerability.name, required; aliases
    let vulnerability = place.need("vulnerability")?;
    let mut names = vec![vulnerability.need("name")?.text()?.to_owned()];
    if let Some(aliases) = vulnerability.member("aliases")? {
        names.extend(aliases.texts()?);
    }
    // 2. status, and why
    let status = status(place)?;
    // 3. time: the statement's own overrides the document's ("Timestamps")
    let time = place.member("timestamp")?.map(|time| time.time()).transpose()?.unwrap_or(issued);
    // 4. products: named here, or those of the encapsulating document; v0.0.1 has the components beside them
    let beside = parts(place)?;
    let one = |product, parts| VexStatement { names: names.clone(), product, parts, status, time };
    let Some(products) = place.member("products")? else { return Ok(vec![one(None, beside)]) };
    let mut statements = Vec::new();
    for place in products.elements()? {
        // OpenVEX v0.0.1 spelled a product as its identifier alone.
        let within = if place.is_string() { BTreeSet::new() } else { parts(&place)? };
        statements.push(one(Some(product(&place)?), beside.union(&within).cloned().collect()));
    }
    Ok(statements)
}

/// `subcomponents`, as written.
fn parts(place: &Place<'_>) -> Result<BTreeSet<String>, PredicateError> {
    let Some(parts) = place.member("subcomponents")? else { return Ok(BTreeSet::new()) };
    Ok(parts.elements()?.iter().map(|part| part.value().to_string()).collect())
}

fn status(place: &Place<'_>) -> Result<VexStatus, PredicateError> {
    const JUSTIFICATIONS: [&str; 5] = [
        "component_not_present",
        "vulnerable_code_not_present",
        "vulnerable_code_not_in_execute_path",
        "vulnerable_code_cannot_be_controlled_by_adversary",
        "inline_mitigations_already_exist",
    ];
    let status = place.need("status")?;
    match status.text()? {
        "affected" => Ok(VexStatus::Affected),
        "fixed" => Ok(VexStatus::Fixed),
        "under_investigation" => Ok(VexStatus::UnderInvestigation),
        "not_affected" => match place.member("justification")? {
            Some(why) if JUSTIFICATIONS.contains(&why.text()?) => Ok(VexStatus::NotAffected),
            Some(why) => Err(why.word(why.text()?, JUSTIFICATIONS.join(", "))),
            None => {
                place.need("impact_statement")?.text()?;
                Ok(VexStatus::NotAffectedInProse)
            }
        },
        found => Err(status.word(found, "not_affected, affected, fixed or under_investigation")),
    }
}

/// The SHA-256 digests a product is addressed by: in `hashes`, in `@id` and in `identifiers.purl` where that is a
/// purl of type `oci`. A product by name and version alone is nobody's digest.
fn product(place: &Place<'_>) -> Result<Vec<Digest>, PredicateError> {
    // OpenVEX v0.0.1 spelled a product as its identifier alone.
    if place.is_string() {
        return Ok(place.text().ok().and_then(in_purl).into_iter().collect());
    }
    let mut digests = Vec::new();
    if let Some(id) = place.member("@id")? {
        digests.extend(in_purl(id.text()?));
    }
    if let Some(identifiers) = place.member("identifiers")?
        && let Some(purl) = identifiers.member("purl")?
    {
        digests.extend(in_purl(purl.text()?));
    }
    if let Some(hashes) = place.member("hashes")?
        && let Some(Value::String(hex)) = hashes.member("sha-256")?.map(|hash| hash.value().clone())
    {
        digests.extend(Digest::from_hex(&hex).ok());
    }
    Ok(digests)
}

/// `pkg:oci/NAME@sha256:HEX` or `…@sha256%3AHEX`, with or without qualifiers (purl-spec, type `oci`).
fn in_purl(purl: &str) -> Option<Digest> {
    let version = purl.strip_prefix("pkg:oci/")?.split_once('@')?.1;
    let version = version.split(['?', '#']).next()?;
    let hex = version.strip_prefix("sha256:").or_else(|| version.strip_prefix("sha256%3A"));
    let hex = hex.or_else(|| version.strip_prefix("sha256%3a"))?;
    Digest::from_hex(hex).ok()
}
