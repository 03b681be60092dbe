//! Roots of trust: the two in this program, and what the file says of them and of others.

use super::identities::is_key_path;
use super::*;
use crate::json;
use crate::verify::Root;

impl<'d> Check<'d> {
    /// The roots the file names.
    pub(super) fn roots(&mut self) {
        for (name, raw) in &self.draft.raw.roots.0 {
            let parsed = self.errors.keep(&name.span, name.value.parse(), Problem::RootName);
            let max_age = match &raw.max_age {
                None => Some(None),
                Some(text) => {
                    let found = || shorten(&text.value);
                    let problem = |source| Problem::Duration { found: found(), source };
                    self.errors
                        .keep(&text.span, super::super::duration::parse(&text.value), problem)
                        .map(Some)
                }
            };
            let source = parsed.as_ref().and_then(|name| self.source(name, raw));
            if let (Some(name), Some(source), Some(max_age)) = (parsed, source, max_age) {
                self.roots.insert(name.clone(), RootRule { name, source, max_age });
            }
        }
    }

    /// One source, not two and not none: what a root is must not depend on what is there.
    fn source(&mut self, name: &RootName, raw: &raw::Root) -> Option<RootSource> {
        match (&raw.trusted_root, &raw.refresh) {
            (Some(file), None) => {
                if let (Some(max_age), None) = (&raw.max_age, &raw.taken_on) {
                    self.errors.push(&max_age.span, Problem::MaxAgeWithoutDay);
                }
                self.file(name, file, raw.taken_on.as_ref().map(|day| day.value))
            }
            (None, Some(refresh)) => {
                if let Some(day) = &raw.taken_on {
                    self.errors.push(&day.span, Problem::TakenOnWithRefresh);
                }
                match refresh {
                    raw::Refresh::Word(word) => self.own_repository(name, word),
                    raw::Refresh::From(repository) => self.repository(name, repository),
                }
            }
            (Some(_), Some(_)) | (None, None) => {
                self.errors.push(&raw.at, Problem::RootShape);
                None
            }
        }
    }

    fn file(
        &mut self,
        name: &RootName,
        file: &Text,
        taken_on: Option<jiff::civil::Date>,
    ) -> Option<RootSource> {
        let json = self.root_file(file)?;
        let problem = |source| Problem::Root { file: shorten(&file.value), source };
        let root = self.errors.keep(&file.span, Root::given(name.clone(), json), problem)?;
        self.root_digests.insert(file.value.clone(), root.digest());
        Some(RootSource::File { file: file.value.clone(), root, taken_on })
    }

    fn own_repository(&mut self, name: &RootName, word: &Text) -> Option<RootSource> {
        self.word(word, &[("tuf", ())])?;
        match name {
            RootName::PublicGood | RootName::GitHub => Some(RootSource::Tuf(TufSource::Own { mirror: None })),
            RootName::Private(_) => {
                self.errors.push(&word.span, Problem::RefreshWithoutRepository);
                None
            }
        }
    }

    fn repository(&mut self, name: &RootName, raw: &raw::Repository) -> Option<RootSource> {
        let good = is_repository_url(&raw.tuf.value);
        if !good {
            self.errors.push(&raw.tuf.span, Problem::TufUrl { found: shorten(&raw.tuf.value) });
        }
        let url = good.then(|| raw.tuf.value.clone());
        let source = match (name, &raw.root) {
            (RootName::PublicGood | RootName::GitHub, None) => TufSource::Own { mirror: Some(url?) },
            (RootName::PublicGood | RootName::GitHub, Some(root)) => {
                self.errors.push(&root.span, Problem::RefreshWithRoot { name: name.clone() });
                return None;
            }
            (RootName::Private(_), None) => {
                self.errors.push(&raw.at, Problem::MissingKey { key: "root" });
                return None;
            }
            (RootName::Private(_), Some(file)) => {
                let bootstrap = self.root_file(file)?.clone();
                if !is_root_metadata(&bootstrap) {
                    self.errors.push(&file.span, Problem::TufRoot { file: shorten(&file.value) });
                    return None;
                }
                // The beginning of trust is of the policy; what it leads to changes without anybody's decision.
                self.root_digests.insert(file.value.clone(), Digest::of(bootstrap.as_bytes()));
                TufSource::Private { url: url?, bootstrap }
            }
        };
        Some(RootSource::Tuf(source))
    }

    fn root_file(&mut self, file: &Text) -> Option<&'d String> {
        let shown = shorten(&file.value);
        if !is_key_path(&file.value) {
            self.errors.push(&file.span, Problem::RootPath { found: shown });
            return None;
        }
        let text = self.keys.get(&file.value);
        if text.is_none() {
            self.errors.push(&file.span, Problem::RootFileMissing { file: shown });
        }
        text
    }

    /// A root of the closed set: the two in this program, and those the file names.
    pub(super) fn root_name(&mut self, text: &Text) -> Option<RootName> {
        let name = match text.value.parse() {
            Ok(name @ (RootName::PublicGood | RootName::GitHub)) => return self.public(name, &text.span),
            Ok(name) => Some(name),
            Err(_) => None,
        };
        match name.filter(|name| self.written(name)) {
            Some(name) => {
                self.used_roots.insert(name.clone());
                Some(name)
            }
            None => {
                let mut known = vec!["public-good".to_owned(), "github".to_owned()];
                known.extend(self.draft.raw.roots.0.iter().take(10).map(|(name, _)| shorten(&name.value)));
                let found = shorten(&text.value);
                self.errors.push(&text.span, Problem::UnknownRoot { found, known });
                None
            }
        }
    }

    fn written(&self, name: &RootName) -> bool {
        self.draft.raw.roots.0.iter().any(|(written, _)| written.value == name.as_str())
    }

    /// One of the two public instances: embedded, unless the file says where it comes from. What the file says and
    /// cannot be used is never replaced by what is embedded (F11).
    pub(super) fn public(&mut self, name: RootName, span: &Span) -> Option<RootName> {
        self.used_roots.insert(name.clone());
        if !self.roots.contains_key(&name) && !self.written(&name) {
            let root = match &name {
                RootName::GitHub => Root::github(),
                RootName::PublicGood | RootName::Private(_) => Root::public_good(),
            };
            let problem = |source| Problem::Root { file: name.to_string(), source };
            let source = RootSource::Embedded(self.errors.keep(span, root, problem)?);
            self.roots.insert(name.clone(), RootRule { name: name.clone(), source, max_age: None });
        }
        Some(name)
    }

    /// Nobody is asked for a root that no signer names.
    pub(super) fn refreshed_roots_are_used(&mut self) {
        let used = &self.used_roots;
        self.roots.retain(|name, rule| match rule.source {
            RootSource::Tuf(_) => used.contains(name),
            RootSource::Embedded(_) | RootSource::File { .. } => true,
        });
    }

    pub(super) fn unused_roots(&self) -> Vec<(Span, Remark)> {
        let named = self.draft.raw.roots.0.iter();
        named
            .filter(|(name, _)| !self.used_roots.iter().any(|used| used.as_str() == name.value))
            .map(|(name, _)| (name.span.clone(), Remark::UnusedRoot { name: name.value.clone() }))
            .collect()
    }
}

/// An `https` URL without user, query and fragment; `http` for this machine alone (F6).
fn is_repository_url(text: &str) -> bool {
    let good =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~' | ':' | '/' | '[' | ']');
    let host = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
    let loopback = |rest: &str| {
        let host = rest.split('/').next().unwrap_or_default();
        let host = host.rsplit_once(':').filter(|_| !host.ends_with(']')).map_or(host, |(host, _)| host);
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    };
    match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => host(rest) && rest.chars().all(good),
        (None, Some(rest)) => loopback(rest) && rest.chars().all(good),
        (None, None) => false,
    }
}

/// The Update Framework specification 1.0.33, section 4.3: signed metadata of the role root. Whether it can be used is
/// found out when it is.
fn is_root_metadata(text: &str) -> bool {
    let metadata = json::parse(text.as_bytes(), json::Limits::default());
    metadata.is_ok_and(|metadata| metadata["signed"]["_type"] == "root")
}
