//! What was found in a provenance so far, and where; two places that disagree are an error.

use serde_json::Value;

use super::uri::split;
use super::{Aspect, Provenance, ProvenanceError};
use crate::digest::shorten;

/// How a builder writes sources; its build type tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// As SPDX download locations are written: GitHub, slsa-github-generator, Google Cloud Build, whoever else.
    Spdx,
    /// BuildKit (moby/buildkit `docs/attestations/slsa-definitions.md`): the reference stands behind `#`.
    BuildKit,
    /// GitLab (gitlab-runner `PROVENANCE.md`): the commit is called `sha256`, whatever it is.
    GitLab,
    /// Tekton Chains (tektoncd/chains `docs/predicate/slsa/v2.md`): the source is an input among others, and the
    /// build definition may come from another repository.
    Tekton,
}

impl Dialect {
    pub(super) fn of(build_type: &str) -> Self {
        const BUILDKIT: [&str; 2] = [
            "https://mobyproject.org/buildkit@v1",
            "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
        ];
        const GITLAB: [&str; 2] = [
            "https://gitlab.com/gitlab-org/gitlab-runner/-/blob/",
            "https://docs.gitlab.com/ci/pipeline_security/slsa/",
        ];
        const TEKTON: [&str; 2] = ["https://tekton.dev/", "tekton.dev/"];
        let begins = |any: [&str; 2]| any.iter().any(|prefix| build_type.starts_with(prefix));
        match build_type {
            _ if BUILDKIT.contains(&build_type) => Self::BuildKit,
            _ if begins(GITLAB) => Self::GitLab,
            _ if begins(TEKTON) => Self::Tekton,
            _ => Self::Spdx,
        }
    }

    /// The names of the digest that is the commit.
    fn commits(self) -> &'static [&'static str] {
        match self {
            Self::Spdx | Self::BuildKit | Self::Tekton => &["gitCommit", "sha1"],
            Self::GitLab => &["gitCommit", "sha1", "sha256"],
        }
    }
}

/// What was found so far, and where.
pub(super) struct Found<'v> {
    pub(super) dialect: Dialect,
    source: Agreed<'v>,
    reference: Agreed<'v>,
    commit: Agreed<'v>,
    workflow: Agreed<'v>,
    /// The repository of the workflow, where something names it apart from the source.
    definition: Option<&'v str>,
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
    pub(super) fn new(dialect: Dialect) -> Self {
        let none = Agreed::default;
        let (source, reference, commit, workflow) = (none(), none(), none(), none());
        Self { dialect, source, reference, commit, workflow, definition: None }
    }

    /// The source, as far as it is known.
    pub(super) fn source(&self) -> Option<&'v str> {
        self.source.0.map(|(_, source)| source)
    }

    pub(super) fn uri(&mut self, place: &'static str, uri: &'v str) -> Result<(), ProvenanceError> {
        let (source, reference) = split(self.dialect, place, uri)?;
        self.source.agree(Aspect::Source, place, source)?;
        reference.map_or(Ok(()), |reference| self.reference(place, reference))
    }

    /// A branch or tag; what looks like a whole commit is one (a branch of such a name would be ambiguous to Git).
    pub(super) fn reference(
        &mut self,
        place: &'static str,
        reference: &'v str,
    ) -> Result<(), ProvenanceError> {
        match is_commit(reference) {
            true => self.commit.agree(Aspect::Commit, place, reference),
            false => self.reference.agree(Aspect::Reference, place, reference),
        }
    }

    fn commit(&mut self, place: &'static str, commit: &'v str) -> Result<(), ProvenanceError> {
        match is_commit(commit) {
            true => self.commit.agree(Aspect::Commit, place, commit),
            false => Err(ProvenanceError::Commit { member: place, found: shorten(commit) }),
        }
    }

    /// The build's instructions: a path, or the name of a job.
    pub(super) fn workflow(&mut self, place: &'static str, path: &'v str) -> Result<(), ProvenanceError> {
        self.workflow.agree(Aspect::Workflow, place, path)
    }

    /// The build's instructions as `OWNER/REPOSITORY/PATH@refs/…`, in the source.
    pub(super) fn workflow_of_source(
        &mut self,
        place: &'static str,
        written: &'v str,
    ) -> Result<(), ProvenanceError> {
        let Some((first, source)) = self.source.0 else { return Ok(()) };
        let whole = written.split_once("@refs/").map_or(written, |(path, _)| path);
        let repository = source.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        let inside = repository.and_then(|(_, name)| whole.strip_prefix(name)?.strip_prefix('/'));
        match inside {
            Some(path) => self.workflow(place, path),
            None => Err(ProvenanceError::Contradiction {
                aspect: Aspect::Source,
                first,
                one: shorten(source),
                second: place,
                other: shorten(written),
            }),
        }
    }

    /// The instructions lie in this repository, the source or another one.
    pub(super) fn defined_in(&mut self, repository: &'v str) {
        self.definition = Some(repository);
    }

    /// A resource descriptor (in-toto): URI, and its commit under any of its names. `place` is the descriptor's.
    pub(super) fn resource(
        &mut self,
        place: &'static str,
        descriptor: &'v Value,
    ) -> Result<(), ProvenanceError> {
        let Some(uri) = text_of(descriptor, "uri", place)? else { return Ok(()) };
        self.uri(place, uri)?;
        self.digests(place, descriptor)
    }

    fn digests(&mut self, place: &'static str, descriptor: &'v Value) -> Result<(), ProvenanceError> {
        let digests = match descriptor.get("digest") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Object(digests)) => digests,
            Some(_) => return Err(ProvenanceError::NotText { member: place }),
        };
        for name in self.dialect.commits() {
            match digests.get(*name) {
                None => {}
                Some(Value::String(commit)) => self.commit(place, commit)?,
                Some(_) => return Err(ProvenanceError::NotText { member: place }),
            }
        }
        Ok(())
    }

    /// Every entry of a list that is the source found: its reference and commit must agree. Other entries (tools, base
    /// images, submodules) are of no concern.
    pub(super) fn same_source(
        &mut self,
        place: &'static str,
        list: &'v [Value],
    ) -> Result<(), ProvenanceError> {
        let Some(source) = self.source() else { return Ok(()) };
        for entry in list {
            let Some(uri) = entry.get("uri").and_then(Value::as_str) else { continue };
            if matches!(split(self.dialect, place, uri), Ok((found, _)) if found == source) {
                self.resource(place, entry)?;
            }
        }
        Ok(())
    }

    /// The end: an error without a source.
    pub(super) fn provenance(self, builder: &str, build_type: &str) -> Result<Provenance, ProvenanceError> {
        let source = match (self.source.value(), self.dialect) {
            (Some(source), _) => source,
            (None, Dialect::BuildKit) => return Err(ProvenanceError::LocalFolder),
            (None, Dialect::Spdx | Dialect::GitLab | Dialect::Tekton) => {
                return Err(ProvenanceError::NoSource);
            }
        };
        let elsewhere = self.definition.filter(|definition| *definition != source);
        let workflow = match (self.workflow.value(), elsewhere) {
            (Some(path), Some(repository)) => Some(format!("{repository}/{path}")),
            (path, _) => path,
        };
        Ok(Provenance {
            builder: builder.to_owned(),
            source,
            reference: self.reference.value(),
            commit: self.commit.value(),
            build_type: build_type.to_owned(),
            workflow,
            workflow_source: elsewhere.map(str::to_owned),
        })
    }
}

/// A Git object id, SHA-1 or SHA-256, in full.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The member at a path: RFC 6901 without escapes, of which our paths have none. Nothing is copied: a flood of
/// provenance is read in the time of one decision.
pub(super) fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let (mut value, mut rest) = (value, path.strip_prefix('/')?);
    loop {
        // Members are short: counting bytes is faster here than any search.
        let end = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
        value = value.as_object()?.get(&rest[..end])?;
        match rest.get(end + 1..) {
            Some(further) => rest = further,
            None => return Some(value),
        }
    }
}

/// A list that may be absent; Go writes an empty one as `null`.
pub(super) fn list<'v>(predicate: &'v Value, member: &'static str) -> Result<&'v [Value], ProvenanceError> {
    match at(predicate, member) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(entries)) => Ok(entries),
        Some(_) => Err(ProvenanceError::NotText { member }),
    }
}

pub(super) fn text<'v>(predicate: &'v Value, member: &'static str) -> Result<&'v str, ProvenanceError> {
    optional_text(predicate, member)?.ok_or(ProvenanceError::Missing { member })
}

pub(super) fn optional_text<'v>(
    predicate: &'v Value,
    member: &'static str,
) -> Result<Option<&'v str>, ProvenanceError> {
    is_text(at(predicate, member), member)
}

/// The text of a member of something found at `place`.
fn text_of<'v>(
    value: &'v Value,
    member: &str,
    place: &'static str,
) -> Result<Option<&'v str>, ProvenanceError> {
    is_text(value.get(member), place)
}

fn is_text<'v>(value: Option<&'v Value>, place: &'static str) -> Result<Option<&'v str>, ProvenanceError> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(ProvenanceError::NotText { member: place }),
    }
}
