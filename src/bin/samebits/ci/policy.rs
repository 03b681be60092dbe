//! The policy file as a CI system sees it: its path in the repository, and the lines that refuse.

use std::path::{Component, Path};

use samebits::gate::Requirement;
use toml::de::{DeTable, DeValue};

/// The policy file that was read.
#[derive(Debug)]
pub(crate) struct PolicyFile {
    shown: String,
    text: String,
    /// Whether what is shown is its path in the repository of this run.
    in_repository: bool,
}

impl PolicyFile {
    /// `root` is the folder of the repository, where the CI system says it; the current folder is the next best.
    pub(crate) fn new(file: &Path, text: &str, root: Option<&Path>) -> Self {
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let current = std::env::current_dir().ok();
        let below = |root: &'_ Path| absolute.strip_prefix(root).ok().map(Path::to_owned);
        let (known, near) = (root.and_then(below), current.as_deref().and_then(below));
        // `..` could lead out of it again.
        let plain = |part| matches!(part, Component::Normal(_));
        let in_repository = known.as_ref().is_some_and(|path| path.components().all(plain));
        let shown = known.or(near).unwrap_or_else(|| file.to_owned());
        let shown = shown.to_string_lossy().replace('\\', "/");
        Self { shown, text: text.to_owned(), in_repository }
    }

    /// Its path in the repository of this run; none where it is not known to be of it.
    pub(super) fn in_repository(&self) -> Option<&str> {
        self.in_repository.then_some(&*self.shown)
    }

    /// Its path, from the root of the repository where that is known.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// The line, from 1, that byte `at` is in.
    pub(super) fn line_at(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    /// The line of what asks for `requirement`, the table it would be in where nothing does. Of a list that makes
    /// `many` of them, the entry `which`.
    pub(super) fn line(
        &self,
        requirement: &Requirement,
        (which, many): (usize, usize),
        service: &str,
        environment: &str,
    ) -> Option<usize> {
        let root = DeTable::parse(&self.text).ok()?;
        let mut table = root.get_ref();
        let mut at = None;
        for name in path(requirement, service, environment) {
            let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else { break };
            at = Some(key.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                DeValue::Array(entries) if entries.len() == many => {
                    at = entries.get(which).map(|entry| entry.span().start).or(at);
                    break;
                }
                _ => break,
            }
        }
        at.map(|at| self.line_at(at))
    }
}

/// Where in the file a requirement is made.
fn path<'a>(requirement: &Requirement, service: &'a str, environment: &'a str) -> Vec<&'a str> {
    let required = |key| vec!["environments", environment, "require", key];
    match requirement {
        Requirement::Repository => vec!["services", service, "repository"],
        Requirement::Platforms => vec!["services", service, "platforms"],
        Requirement::Tag => vec!["environments", environment],
        Requirement::Promoter => vec!["environments", environment, "promoters"],
        Requirement::NotRevoked => vec!["control", "revokers"],
        Requirement::NotFrozen => vec!["control", "freezers"],
        Requirement::ControlFresh => vec!["environments", environment, "control-max-staleness"],
        Requirement::SignedBy => required("signed-by"),
        Requirement::Provenance => required("provenance"),
        Requirement::Attestation => required("attestations"),
        Requirement::PastKnown | Requirement::Deployed => vec!["environments", environment, "after"],
        Requirement::Approvals => required("approvals"),
        Requirement::Permit => vec!["environments", environment, "permit-for"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_that_of_the_key_or_of_the_nearest_table() {
        let text = "version = 1\n\n[services.shop]\nrepository = \"x\"\n[environments.prod]\nafter = []\n\n\
                    [environments.prod.require]\nsigned-by = \"build\"\n";
        let file = PolicyFile::new(Path::new("/repo/gate/samebits.toml"), text, Some(Path::new("/repo")));
        assert_eq!((file.shown(), file.in_repository()), ("gate/samebits.toml", Some("gate/samebits.toml")));
        for (path, root) in
            [("/repo/../x.toml", Some("/repo")), ("/x.toml", Some("/repo")), ("/repo/x.toml", None)]
        {
            let file = PolicyFile::new(Path::new(path), text, root.map(Path::new));
            assert_eq!(file.in_repository(), None, "{path}");
        }
        let line = |requirement| file.line(&requirement, (0, 1), "shop", "prod");
        assert_eq!(line(Requirement::Repository), Some(4));
        assert_eq!(line(Requirement::Platforms), Some(3));
        assert_eq!(line(Requirement::Deployed), Some(6));
        assert_eq!(line(Requirement::SignedBy), Some(9));
        assert_eq!(line(Requirement::Approvals), Some(8));
        assert_eq!(line(Requirement::NotFrozen), None);
    }

    #[test]
    fn each_of_several_has_the_line_of_its_own_entry() {
        let text = "[[environments.prod.require.attestations]]\ntype = \"a\"\n\n\
                    [[environments.prod.require.attestations]]\ntype = \"b\"\n";
        let file = PolicyFile::new(Path::new("samebits.toml"), text, None);
        let line = |which, many| file.line(&Requirement::Attestation, (which, many), "shop", "prod");
        assert_eq!((line(0, 2), line(1, 2)), (Some(1), Some(4)));
        // Which is which is not known: where they begin.
        assert_eq!(line(2, 3), Some(1));
    }
}
