//! Which tags a repository has: one question instead of many, where the answer is sure.
//!
//! Guarantees: an answer is the whole list, all its pages read; a registry that does not list, lists too much, or may have
//! more than it showed has given none, and each tag is asked for by itself. Never does: believe a list that could be cut.
//! Source: distribution-spec v1.1, "Listing Tags".

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::auth::Scope;
use super::referrers::next_page;
use super::{MANIFEST_LIMIT, Remote};
use crate::reference::Tag;
use crate::registry::error::Request;

/// Tags asked for at a time.
const PAGE: usize = 1000;
/// Of this many, or a multiple, and no word of another page, a list may have been cut: registries have limits of their own.
const CUT: usize = 50;
/// How long a list is waited for: it saves questions, and is worth no more than they are.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Page {
    /// `null` is how some list nothing.
    tags: Option<Vec<String>>,
}

impl Remote {
    /// All tags of a repository, read in at most `pages` requests; none where that cannot be told. Whatever trouble there
    /// is, the questions that follow meet it too, and tell it.
    pub(crate) async fn tags(&self, path: &str, pages: usize) -> Option<BTreeSet<Tag>> {
        let asked = self.asked(path, Request::ListTags);
        let mut url = self.transport.url(path, "tags/list");
        url.query_pairs_mut().append_pair("n", &PAGE.to_string());
        let mut all = BTreeSet::new();
        for _ in 0..pages {
            let call = self.call(Method::GET, url, Scope::pull(path));
            let answer = self.transport.fetch_in(&asked, &call, MANIFEST_LIMIT, PATIENCE).await.ok()?;
            if answer.status != StatusCode::OK {
                return None;
            }
            let Page { tags } = serde_json::from_slice(&answer.body).ok()?;
            let tags = tags.unwrap_or_default();
            // What is no tag by the grammar is none that anybody looks for.
            all.extend(tags.iter().filter_map(|tag| tag.parse::<Tag>().ok()));
            url = match next_page(&asked, &answer).ok()? {
                None if !tags.is_empty() && tags.len().is_multiple_of(CUT) => return None,
                None => return Some(all),
                Some(next) => Some(next).filter(|next| self.transport.is_home(next))?,
            };
        }
        None
    }
}
