//! Bills of materials: SPDX 2 and 3, CycloneDX 1 (in-toto/attestation, `spdx2.md`, `spdx3.md`, `cyclonedx.md`).
//!
//! Read is what says of which format and version a document is and when it was made; what it lists is not judged.

use jiff::Timestamp;

use super::read::Place;
use super::{CYCLONEDX, PredicateError, SPDX, earlier, is_version_of};
use crate::digest::shorten;
use crate::verify::Attestation;

/// A format of a bill of materials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SPDX.
    Spdx,
    /// CycloneDX.
    CycloneDx,
}

/// A bill of materials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sbom {
    /// The format.
    pub format: Format,
    /// The version of the format, as in `2.3`.
    pub version: String,
    /// When it says it was made; of several times the earliest.
    pub created: Option<Timestamp>,
}

impl Sbom {
    /// Reads what a bill of materials says of itself.
    ///
    /// # Errors
    /// [`PredicateError`] when it is of another kind, is not of the version its predicate type names, or lacks what
    /// every document of its format has.
    pub fn read(attestation: &Attestation) -> Result<Self, PredicateError> {
        let root = Place::root(attestation.predicate());
        let found = attestation.predicate_type();
        if is_version_of(found, CYCLONEDX) {
            return cyclonedx(&root, found.strip_prefix(CYCLONEDX).unwrap_or_default());
        }
        if !is_version_of(found, SPDX) {
            return Err(PredicateError::PredicateType {
                found: shorten(found),
                expected: "SPDX or CycloneDX",
            });
        }
        match found.strip_prefix(SPDX).unwrap_or_default() {
            named if named.starts_with("/v3") => spdx_3(&root, named),
            named => spdx_2(&root, named),
        }
    }
}

/// SPDX 2.3, section 6 "Document creation information": `SPDXID`, `spdxVersion`, `creationInfo.created` are required.
fn spdx_2(root: &Place<'_>, named: &str) -> Result<Sbom, PredicateError> {
    let id = root.need("SPDXID")?;
    if id.text()? != "SPDXRef-DOCUMENT" {
        return Err(id.word(id.text()?, "`SPDXRef-DOCUMENT`"));
    }
    let place = root.need("spdxVersion")?;
    let version = place.text()?;
    let good = version.strip_prefix("SPDX-").filter(|version| version.starts_with("2."));
    let Some(good) = good else { return Err(place.word(version, "`SPDX-2.…`")) };
    agrees(&place, version, good, named)?;
    let created = root.need("creationInfo")?.need("created")?.time()?;
    Ok(Sbom { format: Format::Spdx, version: good.to_owned(), created: Some(created) })
}

/// SPDX 3.0, "Serialization": `@context` names the version, `@graph` holds the elements and their `CreationInfo`.
fn spdx_3(root: &Place<'_>, named: &str) -> Result<Sbom, PredicateError> {
    let context = root.need("@context")?;
    let uri = context.text()?;
    let version = uri
        .strip_prefix("https://spdx.org/rdf/")
        .and_then(|rest| rest.strip_suffix("/spdx-context.jsonld"))
        .filter(|version| version.starts_with("3."));
    let Some(version) = version else {
        return Err(context.word(uri, "`https://spdx.org/rdf/3.…/spdx-context.jsonld`"));
    };
    agrees(&context, uri, version, named)?;
    let graph = root.need("@graph")?;
    let elements = graph.elements()?;
    if elements.is_empty() {
        return Err(graph.wrong("an array that is not empty"));
    }
    let mut created = None;
    for element in &elements {
        let kind = element.need("type")?;
        if kind.text()? == "CreationInfo" {
            created = earlier(created, Some(element.need("created")?.time()?));
        }
    }
    Ok(Sbom { format: Format::Spdx, version: version.to_owned(), created })
}

/// CycloneDX 1.6, "bom": `bomFormat` and `specVersion` are required, `metadata.timestamp` is not.
fn cyclonedx(root: &Place<'_>, named: &str) -> Result<Sbom, PredicateError> {
    let format = root.need("bomFormat")?;
    if format.text()? != "CycloneDX" {
        return Err(format.word(format.text()?, "`CycloneDX`"));
    }
    let place = root.need("specVersion")?;
    let version = place.text()?;
    if !version.starts_with("1.") {
        return Err(place.word(version, "`1.…`"));
    }
    agrees(&place, version, version, named)?;
    let stamp = match root.member("metadata")? {
        Some(metadata) => metadata.member("timestamp")?,
        None => None,
    };
    let created = stamp.map(|stamp| stamp.time()).transpose()?;
    Ok(Sbom { format: Format::CycloneDx, version: version.to_owned(), created })
}

/// The version in the predicate type, where there is one (`/v2.3`, or only `/v3`), is the document's.
fn agrees(place: &Place<'_>, text: &str, version: &str, named: &str) -> Result<(), PredicateError> {
    let Some(wanted) = named.strip_prefix("/v") else { return Ok(()) };
    let same = version.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    match same {
        true => Ok(()),
        false => Err(place.word(text, format!("version {} as the predicate type says", shorten(wanted)))),
    }
}
