//! SLSA provenance, v1 and v0.2: who built it, from what.
//!
//! Guarantees: a [`Provenance`] has one builder, one source and one build type; where a statement names its source,
//! branch or commit in several places, all places agree, or there is a [`ProvenanceError::Contradiction`].
//! Never does: pick between two answers, verify signatures (it reads an attestation already verified), compare with
//! what was expected (the gate compares, exactly). Start at [`Provenance::read`].
//!
//! A source URI is normalised as SPDX download locations are written, and no further: `git+` in front is taken off,
//! `@` and what follows it is the reference. `https://github.com/acme/shop.git` and `https://github.com/acme/shop` are
//! two sources.

use serde_json::Value;

use super::Attestation;
use crate::digest::shorten;

/// The `predicateType` of SLSA provenance v1.
pub const V1: &str = "https://slsa.dev/provenance/v1";
/// The `predicateType` of SLSA provenance v0.2.
pub const V0_2: &str = "https://slsa.dev/provenance/v0.2";

/// What a builder says of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The builder's identity, a URI: `runDetails.builder.id` (v1), `builder.id` (v0.2).
    pub builder: String,
    /// Where the source came from, a URI without `git+` and without reference.
    pub source: String,
    /// The branch or tag that was built, as the builder spells it (`refs/heads/main`).
    pub reference: Option<String>,
    /// The commit that was built: 40 or 64 lowercase hexadecimal digits.
    pub commit: Option<String>,
    /// How to read the builder's parameters, a URI: `buildType`.
    pub build_type: String,
}

/// What places in a provenance can disagree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// The source repository.
    Source,
    /// The branch or tag.
    Reference,
    /// The commit.
    Commit,
}

impl std::fmt::Display for Aspect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Reference => "reference",
            Self::Commit => "commit",
        })
    }
}

/// Why a verified attestation says nothing usable about a build. Members are JSON pointers into the predicate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvenanceError {
    /// Another kind of statement.
    #[error("predicate type `{found}` is not SLSA provenance: expected `{V1}` or `{V0_2}`")]
    PredicateType {
        /// The predicate type.
        found: String,
    },
    /// A member that must be there is not.
    #[error("the provenance has no `{member}`")]
    Missing {
        /// The member.
        member: &'static str,
    },
    /// A member that is no text, or an empty one.
    #[error("`{member}` of the provenance: expected a string that is not empty")]
    NotText {
        /// The member.
        member: &'static str,
    },
    /// No place names the source.
    #[error(
        "the provenance names no source: expected `externalParameters` with `workflow`, `source`, `configSource` or \
         `buildConfigSource`, or a first resolved dependency `git+…`"
    )]
    NoSource,
    /// A source that is no URI.
    #[error(
        "`{member}` of the provenance is `{found}`: expected a URI `[git+]https://HOST/REPOSITORY[@REFERENCE]`"
    )]
    SourceUri {
        /// The member.
        member: &'static str,
        /// What it says.
        found: String,
    },
    /// A commit that is no full Git object id.
    #[error("`{member}` of the provenance is `{found}`: expected 40 or 64 lowercase hexadecimal digits")]
    Commit {
        /// The member.
        member: &'static str,
        /// What it says.
        found: String,
    },
    /// Two places say two things, and which one is true is not ours to guess.
    #[error(
        "the provenance contradicts itself: {aspect} is `{one}` in `{first}` and `{other}` in `{second}`"
    )]
    Contradiction {
        /// What they disagree about.
        aspect: Aspect,
        /// The first place.
        first: &'static str,
        /// What it says.
        one: String,
        /// The second place.
        second: &'static str,
        /// What it says.
        other: String,
    },
}

impl ProvenanceError {
    /// A stable code for machines, kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PredicateType { .. } => "not-provenance",
            Self::Missing { .. } => "provenance-missing-member",
            Self::NotText { .. } => "provenance-not-text",
            Self::NoSource => "provenance-without-source",
            Self::SourceUri { .. } => "provenance-source-uri",
            Self::Commit { .. } => "provenance-commit",
            Self::Contradiction { .. } => "provenance-contradiction",
        }
    }
}

impl Provenance {
    /// Reads SLSA provenance from an attestation.
    ///
    /// # Errors
    /// [`ProvenanceError`] when the attestation is of another kind, a member is missing or malformed, or two places
    /// disagree.
    pub fn read(attestation: &Attestation) -> Result<Self, ProvenanceError> {
        let predicate = attestation.predicate();
        match attestation.predicate_type() {
            V1 => v1(predicate),
            V0_2 => v0_2(predicate),
            found => Err(ProvenanceError::PredicateType { found: shorten(found) }),
        }
    }
}

/// The member at a path: RFC 6901 without escapes, of which our paths have none. Nothing is copied: a flood of
/// provenance is read in the time of one decision.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let (mut value, mut rest) = (value, path.strip_prefix('/')?);
    loop {
        // Members are short: counting bytes is faster here than any search.
        let end = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
        let member = &rest[..end];
        value = match value {
            Value::Object(members) => members.get(member)?,
            Value::Array(items) => items.get(member.parse::<usize>().ok()?)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
        match rest.get(end + 1..) {
            Some(further) => rest = further,
            None => return Some(value),
        }
    }
}

/// SLSA v1.0, `provenance/v1`: what the builder was asked for stands in `externalParameters`, in a shape of its
/// `buildType`; what it fetched stands in `resolvedDependencies`.
fn v1(predicate: &Value) -> Result<Provenance, ProvenanceError> {
    let builder = text(predicate, "/runDetails/builder/id")?;
    let build_type = text(predicate, "/buildDefinition/buildType")?;
    let mut found = Found::default();

    // 1. what was asked for. GitHub's `workflow/v1` and slsa-github-generator (`workflow`), Google Cloud Build
    //    (`buildConfigSource`): repository and reference apart.
    const WORKFLOW: [&str; 2] = [
        "/buildDefinition/externalParameters/workflow/repository",
        "/buildDefinition/externalParameters/workflow/ref",
    ];
    const BUILD_CONFIG: [&str; 2] = [
        "/buildDefinition/externalParameters/buildConfigSource/repository",
        "/buildDefinition/externalParameters/buildConfigSource/ref",
    ];
    let asked = at(predicate, "/buildDefinition/externalParameters");
    let has = |shape: &str| asked.is_some_and(|asked| asked.get(shape).is_some());
    for ([repository, reference], _) in [(WORKFLOW, "workflow"), (BUILD_CONFIG, "buildConfigSource")]
        .into_iter()
        .filter(|(_, shape)| has(shape))
    {
        if let Some(uri) = optional_text(predicate, repository)? {
            let (source, inside) = split(repository, uri)?;
            found.source.agree(Aspect::Source, repository, source)?;
            if let Some(inside) = inside {
                found.reference.agree(Aspect::Reference, repository, inside)?;
            }
            if let Some(stated) = optional_text(predicate, reference)? {
                found.reference.agree(Aspect::Reference, reference, stated)?;
            }
        }
    }
    // 2. the same as a resource descriptor or a URI (slsa-github-generator, GitLab, BuildKit).
    const SOURCE: &str = "/buildDefinition/externalParameters/source";
    if has("source") {
        if let Some(Value::String(_)) = at(predicate, SOURCE) {
            found.uri(SOURCE, text(predicate, SOURCE)?)?;
        }
        found.resource(
            predicate,
            [
                "/buildDefinition/externalParameters/source/uri",
                "/buildDefinition/externalParameters/source/digest/gitCommit",
                "/buildDefinition/externalParameters/source/digest/sha1",
            ],
        )?;
    }
    if has("configSource") {
        found.resource(
            predicate,
            [
                "/buildDefinition/externalParameters/configSource/uri",
                "/buildDefinition/externalParameters/configSource/digest/gitCommit",
                "/buildDefinition/externalParameters/configSource/digest/sha1",
            ],
        )?;
    }
    // 3. what was fetched. The first dependency is the source by convention of all the builders above: if it is a Git
    //    repository, it must be the one that was asked for.
    const FIRST: [&str; 3] = [
        "/buildDefinition/resolvedDependencies/0/uri",
        "/buildDefinition/resolvedDependencies/0/digest/gitCommit",
        "/buildDefinition/resolvedDependencies/0/digest/sha1",
    ];
    let first_is_git = optional_text(predicate, FIRST[0])?.is_some_and(|uri| uri.starts_with("git+"));
    if first_is_git {
        found.resource(predicate, FIRST)?;
    }
    found.same_source(predicate, "/buildDefinition/resolvedDependencies", usize::from(first_is_git))?;
    found.provenance(builder, build_type).ok_or(ProvenanceError::NoSource)
}

/// SLSA v0.2: the source is `invocation.configSource`.
fn v0_2(predicate: &Value) -> Result<Provenance, ProvenanceError> {
    const CONFIG: [&str; 3] = [
        "/invocation/configSource/uri",
        "/invocation/configSource/digest/sha1",
        "/invocation/configSource/digest/gitCommit",
    ];
    let builder = text(predicate, "/builder/id")?;
    let build_type = text(predicate, "/buildType")?;
    let mut found = Found::default();
    found.resource(predicate, CONFIG)?;
    found.same_source(predicate, "/materials", 0)?;
    found.provenance(builder, build_type).ok_or(ProvenanceError::Missing { member: CONFIG[0] })
}

/// What was found so far, and where.
#[derive(Default)]
struct Found<'v> {
    source: Agreed<'v>,
    reference: Agreed<'v>,
    commit: Agreed<'v>,
}

/// Where it was said first, and what.
#[derive(Default)]
struct Agreed<'v>(Option<(&'static str, &'v str)>);

impl<'v> Agreed<'v> {
    fn agree(&mut self, aspect: Aspect, place: &'static str, says: &'v str) -> Result<(), ProvenanceError> {
        match self.0 {
            None => self.0 = Some((place, says)),
            Some((_, one)) if one == says => {}
            Some((first, one)) => {
                return Err(ProvenanceError::Contradiction {
                    aspect,
                    first,
                    one: shorten(one),
                    second: place,
                    other: shorten(says),
                });
            }
        }
        Ok(())
    }

    fn value(self) -> Option<String> {
        self.0.map(|(_, value)| value.to_owned())
    }
}

impl<'v> Found<'v> {
    fn uri(&mut self, place: &'static str, uri: &'v str) -> Result<(), ProvenanceError> {
        let (source, reference) = split(place, uri)?;
        self.source.agree(Aspect::Source, place, source)?;
        reference.map_or(Ok(()), |reference| self.reference.agree(Aspect::Reference, place, reference))
    }

    fn commit(&mut self, place: &'static str, commit: &'v str) -> Result<(), ProvenanceError> {
        let hex = commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !hex || !matches!(commit.len(), 40 | 64) {
            return Err(ProvenanceError::Commit { member: place, found: shorten(commit) });
        }
        self.commit.agree(Aspect::Commit, place, commit)
    }

    /// A resource descriptor: URI, and its commit under one name or both.
    fn resource(&mut self, predicate: &'v Value, places: [&'static str; 3]) -> Result<(), ProvenanceError> {
        let [uri, digests @ ..] = places;
        let Some(text) = optional_text(predicate, uri)? else { return Ok(()) };
        self.uri(uri, text)?;
        for digest in digests {
            if let Some(commit) = optional_text(predicate, digest)? {
                self.commit(digest, commit)?;
            }
        }
        Ok(())
    }

    /// Every entry of a list that is the source found: its reference and commit must agree. Other entries (tools, base
    /// images, submodules) are of no concern, and the first `seen` ones have been looked at.
    fn same_source(
        &mut self,
        predicate: &'v Value,
        list: &'static str,
        seen: usize,
    ) -> Result<(), ProvenanceError> {
        let Some((_, source)) = self.source.0 else { return Ok(()) };
        let entries = match at(predicate, list) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(ProvenanceError::NotText { member: list }),
        };
        for entry in entries.iter().skip(seen) {
            let Some(uri) = at(entry, "/uri").and_then(Value::as_str) else { continue };
            if !matches!(split(list, uri), Ok((found, _)) if found == source) {
                continue;
            }
            self.uri(list, uri)?;
            for digest in ["/digest/gitCommit", "/digest/sha1"] {
                match at(entry, digest) {
                    None => {}
                    Some(Value::String(commit)) => self.commit(list, commit)?,
                    Some(_) => return Err(ProvenanceError::NotText { member: list }),
                }
            }
        }
        Ok(())
    }

    /// `None` without a source.
    fn provenance(self, builder: &str, build_type: &str) -> Option<Provenance> {
        Some(Provenance {
            builder: builder.to_owned(),
            source: self.source.value()?,
            reference: self.reference.value(),
            commit: self.commit.value(),
            build_type: build_type.to_owned(),
        })
    }
}

/// `[git+]SCHEME://AUTHORITY/PATH[@REFERENCE]`. The first `@` behind the authority: a reference may hold one, and a
/// user name (`ssh://git@…`) is in front of it.
fn split<'a>(member: &'static str, uri: &'a str) -> Result<(&'a str, Option<&'a str>), ProvenanceError> {
    let wrong = || ProvenanceError::SourceUri { member, found: shorten(uri) };
    let plain = uri.strip_prefix("git+").unwrap_or(uri);
    let strange = match plain.is_ascii() {
        true => plain.bytes().any(|byte| byte <= b' ' || byte == 0x7f),
        false => plain.contains(|character: char| character.is_whitespace() || character.is_control()),
    };
    if strange {
        return Err(wrong());
    }
    let authority = plain.find("://").ok_or_else(wrong)? + 3;
    let path = authority + plain[authority..].find('/').ok_or_else(wrong)? + 1;
    let (source, reference) = match plain[path..].find('@') {
        Some(at) => (&plain[..path + at], Some(&plain[path + at + 1..])),
        None => (plain, None),
    };
    if authority == 3 || path == authority + 1 || source.len() == path || reference == Some("") {
        return Err(wrong());
    }
    Ok((source, reference))
}

fn text<'a>(predicate: &'a Value, member: &'static str) -> Result<&'a str, ProvenanceError> {
    optional_text(predicate, member)?.ok_or(ProvenanceError::Missing { member })
}

fn optional_text<'a>(predicate: &'a Value, member: &'static str) -> Result<Option<&'a str>, ProvenanceError> {
    match at(predicate, member) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(ProvenanceError::NotText { member }),
    }
}

#[cfg(test)]
mod tests;
