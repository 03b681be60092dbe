//! Where a source lies, as builders write it.

use super::ProvenanceError;
use super::found::Dialect;
use crate::digest::shorten;

/// A source and the branch, tag or commit beside it.
pub(super) type Split<'a> = (&'a str, Option<&'a str>);

/// A URI in the builder's spelling.
pub(super) fn split<'a>(
    dialect: Dialect,
    member: &'static str,
    uri: &'a str,
) -> Result<Split<'a>, ProvenanceError> {
    match dialect {
        Dialect::Spdx | Dialect::GitLab | Dialect::Tekton => spdx(member, uri),
        Dialect::BuildKit => buildkit(member, uri),
    }
}

/// `[git+]SCHEME://AUTHORITY/PATH[@REFERENCE]` (SPDX 2.3, section 7.7). The first `@` behind the authority: a
/// reference may hold one, and a user name (`ssh://git@…`) is in front of it.
pub(super) fn spdx<'a>(member: &'static str, uri: &'a str) -> Result<Split<'a>, ProvenanceError> {
    marked(member, uri.strip_prefix("git+").unwrap_or(uri), uri, '@')
}

/// `SCHEME://AUTHORITY/PATH[#REFERENCE[:FOLDER]]` (Docker build contexts). The folder inside the source is no part of
/// its identity; Git lets no reference have a colon (git-check-ref-format).
fn buildkit<'a>(member: &'static str, uri: &'a str) -> Result<Split<'a>, ProvenanceError> {
    let (source, reference) = marked(member, uri, uri, '#')?;
    let reference = reference.map(|text| text.split_once(':').map_or(text, |(reference, _)| reference));
    // `#:folder` is a folder of the default branch.
    Ok((source, reference.filter(|text| !text.is_empty())))
}

fn marked<'a>(
    member: &'static str,
    plain: &'a str,
    written: &str,
    mark: char,
) -> Result<Split<'a>, ProvenanceError> {
    let wrong = || ProvenanceError::SourceUri { member, found: shorten(written) };
    let strange = match plain.is_ascii() {
        true => plain.bytes().any(|byte| byte <= b' ' || byte == 0x7f),
        false => plain.contains(|character: char| character.is_whitespace() || character.is_control()),
    };
    if strange {
        return Err(wrong());
    }
    let authority = plain.find("://").ok_or_else(wrong)? + 3;
    let path = authority + plain[authority..].find('/').ok_or_else(wrong)? + 1;
    let (source, reference) = match plain[path..].find(mark) {
        Some(at) => (&plain[..path + at], Some(&plain[path + at + 1..])),
        None => (plain, None),
    };
    if authority == 3 || path == authority + 1 || source.len() == path || reference == Some("") {
        return Err(wrong());
    }
    Ok((source, reference))
}
