//! Roots of trust: the two in this program, and those the file names.

use super::identities::is_key_path;
use super::*;

impl Check<'_> {
    /// The roots the file names.
    pub(super) fn roots(&mut self) {
        for (name, raw) in &self.draft.raw.roots.0 {
            let parsed = self.errors.keep(&name.span, name.value.parse(), Problem::RootName);
            let file = &raw.trusted_root;
            let shown = shorten(&file.value);
            if !is_key_path(&file.value) {
                self.errors.push(&file.span, Problem::RootPath { found: shown });
                continue;
            }
            let Some(json) = self.keys.get(&file.value) else {
                self.errors.push(&file.span, Problem::RootFileMissing { file: shown });
                continue;
            };
            let Some(parsed) = parsed else { continue };
            let problem = |source| Problem::Root { file: shown, source };
            if let Some(root) = self.errors.keep(&file.span, Root::private(parsed, json), problem) {
                self.root_digests.insert(file.value.clone(), root.digest());
                self.roots.insert(root.name().clone(), root);
            }
        }
    }

    /// A root of the closed set: the two in this program, and those the file names.
    pub(super) fn root_name(&mut self, text: &Text) -> Option<RootName> {
        let name = match text.value.parse() {
            Ok(name @ (RootName::PublicGood | RootName::GitHub)) => return self.embedded(name, &text.span),
            Ok(name) => Some(name),
            Err(_) => None,
        };
        let written = |name: &RootName| {
            self.draft.raw.roots.0.iter().any(|(written, _)| written.value == name.as_str())
        };
        match name.filter(written) {
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

    pub(super) fn embedded(&mut self, name: RootName, span: &Span) -> Option<RootName> {
        if !self.roots.contains_key(&name) {
            let root = match &name {
                RootName::GitHub => Root::github(),
                RootName::PublicGood | RootName::Private(_) => Root::public_good(),
            };
            let problem = |source| Problem::Root { file: name.to_string(), source };
            let root = self.errors.keep(span, root, problem)?;
            self.roots.insert(name.clone(), root);
        }
        Some(name)
    }

    pub(super) fn unused_roots(&self) -> Vec<(Span, Remark)> {
        let named = self.draft.raw.roots.0.iter();
        named
            .filter(|(name, _)| !self.used_roots.iter().any(|used| used.as_str() == name.value))
            .map(|(name, _)| (name.span.clone(), Remark::UnusedRoot { name: name.value.clone() }))
            .collect()
    }
}
