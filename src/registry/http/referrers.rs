//! What refers to a digest: the referrers API, or the fallback tag where there is none.
//!
//! Guarantees: unsupported, none, and "could not look" are three different answers (attacks B11, B12); a listing is
//! complete, all its pages read within limits (attack B10), or it is an error.
//! Source: distribution-spec v1.1, "Listing Referrers", "Referrers Tag Schema".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::auth::Scope;
use super::body::not_followed;
use super::transport::Answer;
use super::{MANIFEST_LIMIT, Remote, content_type, is_absent};
use crate::closure::Descriptor;
use crate::digest::{Digest, shorten};
use crate::reference::Tag;
use crate::registry::error::{Asked, Distrust, RegistryError, Request};
use crate::registry::wire::{Listing, Which};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Descriptors of one listing.
const ENTRIES: usize = 1000;
/// The longest wait for another writer of a fallback tag to be done.
const SETTLED: Duration = Duration::from_secs(5);
/// How many entries are looked for at once.
const LOOKS: usize = 8;
/// Pages of one listing.
const PAGES: usize = 100;

/// What the referrers API says.
enum ByApi {
    /// All of it.
    Listed(Vec<Descriptor>),
    /// Nothing: 404, with this code.
    Absent(Option<String>),
}

impl Remote {
    /// Everything that refers to a digest.
    ///
    /// # Errors
    /// Everything that is neither a whole listing nor a clear "unsupported".
    pub(crate) async fn referrers(&self, path: &str, digest: Digest) -> Result<Listing, RegistryError> {
        match self.by_api(path, digest).await? {
            ByApi::Listed(listed) => Ok(Listing::Listed(listed)),
            ByApi::Absent(code) => {
                let asked = self.asked(path, Request::ListReferrers(digest));
                self.fallback(&asked, path, digest, code).await
            }
        }
    }

    /// Everything that the referrers API says refers to a digest; none where it has no answer, and the fallback tag
    /// speaks. For whoever has read that.
    ///
    /// # Errors
    /// Everything that is neither a whole listing nor a clear "unsupported".
    pub(crate) async fn listed_by_api(
        &self,
        path: &str,
        digest: Digest,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        Ok(match self.by_api(path, digest).await? {
            ByApi::Listed(listed) => Some(listed),
            ByApi::Absent(_) => None,
        })
    }

    async fn by_api(&self, path: &str, digest: Digest) -> Result<ByApi, RegistryError> {
        let asked = self.asked(path, Request::ListReferrers(digest));
        if self.referrers_api().get(path) == Some(&false) {
            return Ok(ByApi::Absent(None));
        }
        let mut url = self.transport.url(path, &format!("referrers/{digest}"));
        let mut all = Entries::default();
        for page in 0..PAGES {
            let call = self.call(Method::GET, url, Scope::pull(path)).accept(INDEX);
            let answer = self.transport.fetch(&asked, &call, MANIFEST_LIMIT).await?;
            match answer.status {
                StatusCode::OK if page == 0 => drop(self.referrers_api().insert(path.to_owned(), true)),
                StatusCode::OK => {}
                // Only the first page says whether there is an API.
                StatusCode::NOT_FOUND if page == 0 => {
                    let code = answer.complaint().code;
                    // Where the route answers with a code of the specification, or has answered before, it may answer
                    // otherwise for another digest: only one that is no route is not asked again.
                    if code.is_none() {
                        self.referrers_api().entry(path.to_owned()).or_insert(false);
                    }
                    return Ok(ByApi::Absent(code));
                }
                _ => return Err(answer.refused(&asked)),
            }
            is_index(&asked, &content_type(&asked, &answer.headers)?)?;
            all.add(&asked, &answer.body)?;
            match next_page(&asked, &answer)? {
                None => return Ok(ByApi::Listed(all.list)),
                Some(next) if self.transport.is_home(&next) => url = next,
                Some(next) => return Err(not_followed(&asked, &next, Distrust::OtherHost)),
            }
        }
        Err(RegistryError::TooManyReferrers { asked: Box::new(asked), limit: PAGES })
    }

    /// What the fallback tag lists, where another repository of this registry was found to have no API and nobody has asked
    /// this one. It may have one all the same: what is listed is there, what is not may be. Trouble is for the question
    /// that counts.
    pub(crate) async fn likely(&self, path: &str, digest: Digest) -> Option<Vec<Descriptor>> {
        let known = self.referrers_api().clone();
        if known.contains_key(path) || known.is_empty() || known.values().any(|has| *has) {
            return None;
        }
        let asked = self.asked(path, Request::ListReferrers(digest));
        match self.fallback(&asked, path, digest, None).await {
            Ok(Listing::Listed(listed)) => Some(listed),
            Ok(Listing::Unsupported) | Err(_) => None,
        }
    }

    /// Whether the repository lists by the referrers API what refers to a digest; `None` before anybody asked.
    pub(crate) fn has_referrers_api(&self, path: &str) -> Option<bool> {
        self.referrers_api().get(path).copied()
    }

    fn referrers_api(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.referrers_api.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The listing under the fallback tag, after the API has answered 404 with this code, if any.
    async fn fallback(
        &self,
        asked: &Asked,
        path: &str,
        digest: Digest,
        api: Option<String>,
    ) -> Result<Listing, RegistryError> {
        let says_no_such_name = |code: Option<String>| code.as_deref() == Some("NAME_UNKNOWN");
        let tag = fallback_tag(digest);
        let call =
            self.call(Method::GET, self.transport.url(path, &format!("manifests/{tag}")), Scope::pull(path));
        let call = call.accept(super::MANIFESTS);
        let answer = self.transport.fetch(asked, &call, MANIFEST_LIMIT).await?;
        if is_absent(&answer) {
            // A registry that knows the repository by neither way has said nothing about what refers to what.
            let unknown = says_no_such_name(api) && says_no_such_name(answer.complaint().code);
            return match unknown {
                true => Err(RegistryError::RepositoryUnknown { asked: Box::new(asked.clone()) }),
                false => Ok(Listing::Unsupported),
            };
        }
        if answer.status != StatusCode::OK {
            return Err(answer.refused(asked));
        }
        super::check_claim(asked, &answer.headers, Digest::of(&answer.body))?;
        is_index(asked, &content_type(asked, &answer.headers)?)?;
        let mut all = Entries::default();
        all.add(asked, &answer.body)?;
        Ok(Listing::Listed(all.list))
    }

    /// Adds referrers to the fallback tag of their subject. Two writers at once overwrite each other: it is read back
    /// when another who had read it before our write has written his, and written again until it holds. Entries of what
    /// was taken away go, where the registry takes no index that has them.
    /// BUG: nothing in distribution-spec v1.1 compares and swaps. Who reads the tag before our write and writes after
    /// our look at it, three times as long as ours took and 5 seconds at most, takes our entry away, and nobody notices.
    /// Measured with five copies at once to one docker-registry: in none of 290 rounds; after one such time in 4 of 140, with no
    /// wait in 4 of 20.
    ///
    /// # Errors
    /// The tag holds something else than an index, another writer wins every time, trouble.
    pub(crate) async fn attach_fallback(
        &self,
        path: &str,
        subject: Digest,
        referrers: &[Descriptor],
    ) -> Result<(), RegistryError> {
        let asked = self.asked(path, Request::AttachReferrer(subject));
        let tag = fallback_tag(subject);
        let tag: Tag = tag
            .parse()
            .map_err(|_| RegistryError::Header { asked: Box::new(asked.clone()), header: "referrers tag" })?;
        let missing_from = |manifests: &[Value]| {
            let there: BTreeSet<Digest> = manifests.iter().filter_map(listed).collect();
            let missing = referrers.iter().filter(|referrer| !there.contains(&referrer.digest));
            missing.map(entry).collect::<Vec<_>>()
        };
        let mut gone = BTreeSet::new();
        let mut lost = 0;
        loop {
            let began = Instant::now();
            // 1. What is there, members we do not know included.
            let mut index = self.fallback_index(&asked, path, &tag).await?;
            let manifests = entries(&asked, &mut index)?;
            let missing = missing_from(manifests);
            if missing.is_empty() {
                return Ok(());
            }
            manifests.retain(|entry| !listed(entry).is_some_and(|digest| gone.contains(&digest)));
            if manifests.len() + missing.len() > ENTRIES {
                return Err(RegistryError::TooManyReferrers { asked: Box::new(asked), limit: ENTRIES });
            }
            let theirs: Vec<Digest> = manifests.iter().filter_map(listed).collect();
            // 2. With ours.
            manifests.extend(missing);
            let bytes = Bytes::from(index.to_string());
            let refused = match self.put_manifest(path, Which::Tag(&tag), INDEX, bytes).await {
                Ok(_) => {
                    // 3. Read back, when whoever read the tag before our write has written his. A look at once would see less.
                    tokio::time::sleep((began.elapsed() * 3).min(SETTLED)).await;
                    let mut index = self.fallback_index(&asked, path, &tag).await?;
                    if missing_from(entries(&asked, &mut index)?).is_empty() {
                        return Ok(());
                    }
                    None
                }
                // Somebody took away what is listed, and that entry with it perhaps, by now.
                Err(error) if misses_a_manifest(&error) => {
                    gone.extend(self.gone(path, theirs).await?);
                    Some(error)
                }
                Err(error) => return Err(error),
            };
            // 4. Somebody else writes too. Again, not at the same beat.
            lost += 1;
            let salt = referrers.iter().fold(tag.to_string(), |salt, it| format!("{salt} {}", it.digest));
            match self.transport.retry().wait(lost, Duration::ZERO, None, &salt) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => {
                    let lost = RegistryError::FallbackLost { asked: Box::new(asked), tries: lost };
                    return Err(refused.unwrap_or(lost));
                }
            }
        }
    }

    /// Those of these manifests that the registry says it has not.
    async fn gone(&self, path: &str, manifests: Vec<Digest>) -> Result<Vec<Digest>, RegistryError> {
        let looks = manifests
            .into_iter()
            .map(|digest| async move { Ok((!self.has_manifest(path, digest).await?).then_some(digest)) });
        let looks: Vec<Option<Digest>> = stream::iter(looks).buffered(LOOKS).try_collect().await?;
        Ok(looks.into_iter().flatten().collect())
    }

    /// The index under the fallback tag, or an empty one.
    async fn fallback_index(&self, asked: &Asked, path: &str, tag: &Tag) -> Result<Value, RegistryError> {
        let Some(there) = self.manifest(path, Which::Tag(tag)).await? else {
            return Ok(json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }));
        };
        is_index(asked, &there.media_type)?;
        Entries::default().add(asked, &there.bytes)?;
        serde_json::from_slice(&there.bytes).map_err(|source| malformed(asked, source))
    }
}

/// Whether a registry that looks for what an index lists has not found all of it (distribution-spec v1.1, "Error Codes").
fn misses_a_manifest(error: &RegistryError) -> bool {
    let RegistryError::Status { status: 400 | 404, complaint, .. } = error else { return false };
    matches!(complaint.code.as_deref(), Some("MANIFEST_BLOB_UNKNOWN" | "MANIFEST_UNKNOWN" | "BLOB_UNKNOWN"))
}

/// What an entry of a listing is about.
fn listed(entry: &Value) -> Option<Digest> {
    entry["digest"].as_str()?.parse().ok()
}

/// The list inside an index that [`Entries::add`] has accepted.
fn entries<'a>(asked: &Asked, index: &'a mut Value) -> Result<&'a mut Vec<Value>, RegistryError> {
    let missing = || malformed(asked, serde::de::Error::missing_field("manifests"));
    // Not by `index["…"]`: that panics where the document is an array, which serde takes for a struct too.
    let list = index.get_mut("manifests").ok_or_else(missing)?;
    // Read as an empty list, and written as one.
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().ok_or_else(missing)
}

/// `sha256-<hex>` (distribution-spec v1.1, "Referrers Tag Schema").
pub(crate) fn fallback_tag(digest: Digest) -> String {
    format!("sha256-{}", digest.hex())
}

fn entry(referrer: &Descriptor) -> Value {
    let mut entry =
        json!({ "mediaType": referrer.media_type, "digest": referrer.digest, "size": referrer.size });
    if let Some(artifact_type) = &referrer.artifact_type {
        entry["artifactType"] = json!(artifact_type);
    }
    if !referrer.annotations.is_empty() {
        entry["annotations"] = json!(referrer.annotations);
    }
    entry
}

fn is_index(asked: &Asked, found: &str) -> Result<(), RegistryError> {
    if found == INDEX {
        return Ok(());
    }
    Err(RegistryError::MediaType { asked: Box::new(asked.clone()), found: shorten(found), wanted: INDEX })
}

fn malformed(asked: &Asked, source: serde_json::Error) -> RegistryError {
    RegistryError::Malformed { asked: Box::new(asked.clone()), wanted: "an index of referrers", source }
}

/// The descriptors read so far, each digest once.
#[derive(Default)]
struct Entries {
    list: Vec<Descriptor>,
    seen: BTreeSet<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u64,
    media_type: Option<String>,
    #[serde(deserialize_with = "none_or_several")]
    manifests: Vec<Entry>,
}

/// `null` is how olareg lists nothing; no list at all stays an error.
fn none_or_several<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<Entry>, D::Error> {
    Ok(Option::deserialize(list)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: String,
    digest: Digest,
    size: u64,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Entries {
    fn add(&mut self, asked: &Asked, bytes: &[u8]) -> Result<(), RegistryError> {
        let index: Index = serde_json::from_slice(bytes).map_err(|source| malformed(asked, source))?;
        let other = index.media_type.filter(|media_type| media_type != INDEX);
        if index.schema_version != 2 || other.is_some() {
            let wrong = "schemaVersion 2 and the media type of an index";
            return Err(malformed(asked, serde::de::Error::custom(wrong)));
        }
        for Entry { media_type, digest, size, artifact_type, annotations } in index.manifests {
            if !self.seen.insert(digest) {
                continue;
            }
            if self.list.len() >= ENTRIES {
                let asked = Box::new(asked.clone());
                return Err(RegistryError::TooManyReferrers { asked, limit: ENTRIES });
            }
            self.list.push(Descriptor {
                media_type,
                digest,
                size,
                artifact_type: artifact_type.filter(|text| !text.is_empty()),
                annotations: annotations.unwrap_or_default(),
                platform: None,
                urls: Vec::new(),
            });
        }
        Ok(())
    }
}

/// The next page, from `Link: <URL>; rel="next"` (RFC 8288).
pub(super) fn next_page(asked: &Asked, answer: &Answer) -> Result<Option<Url>, RegistryError> {
    let Some(target) = next_link(&answer.headers)
        .map_err(|()| RegistryError::Header { asked: Box::new(asked.clone()), header: "Link" })?
    else {
        return Ok(None);
    };
    let url = answer.url.join(&target);
    url.map(Some).map_err(|_| RegistryError::Header { asked: Box::new(asked.clone()), header: "Link" })
}

/// An unreadable header is an error: it could be the only sign of more.
fn next_link(headers: &HeaderMap) -> Result<Option<String>, ()> {
    for header in headers.get_all(LINK) {
        let mut rest = header.to_str().map_err(|_| ())?.trim();
        while !rest.is_empty() {
            let (target, after) = rest.strip_prefix('<').and_then(|rest| rest.split_once('>')).ok_or(())?;
            let end = after.find(',').unwrap_or(after.len());
            let (parameters, after) = after.split_at(end);
            for parameter in parameters.split(';') {
                let Some((name, value)) = parameter.split_once('=') else { continue };
                let value = value.trim().trim_matches('"');
                let next = value.split(' ').any(|word| word.eq_ignore_ascii_case("next"));
                if name.trim().eq_ignore_ascii_case("rel") && next {
                    return Ok(Some(target.to_owned()));
                }
            }
            rest = after.trim_start_matches([',', ' ']);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link(value: &str) -> Result<Option<String>, ()> {
        next_link(&HeaderMap::from_iter([(LINK, value.parse().unwrap())]))
    }

    #[test]
    fn b10_the_next_page_is_found_or_the_header_is_an_error() {
        assert_eq!(link("</v2/a/referrers/x?n=2>; rel=\"next\""), Ok(Some("/v2/a/referrers/x?n=2".into())));
        assert_eq!(link("<a>; rel=prev, <b>; x=1; REL=Next"), Ok(Some("b".into())));
        assert_eq!(link("<a>; rel=prev"), Ok(None));
        assert_eq!(next_link(&HeaderMap::new()), Ok(None));
        for wrong in ["a; rel=next", "<a; rel=next", "next"] {
            assert_eq!(link(wrong), Err(()), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_listings_and_links_never_panic(bytes: Vec<u8>, text in "[ -~]{0,60}|[<>;,=a-z\" ]{0,60}") {
            let asked = Asked {
                registry: "r".into(),
                repository: "p".into(),
                request: Request::ListReferrers(Digest::of(b"")),
            };
            let _ = Entries::default().add(&asked, &bytes);
            let _ = link(&text);
        }
    }
}
