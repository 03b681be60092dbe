//! The programs people copy images with.

use std::path::Path;

use samebits::reference::{Image, Repository};

use crate::peer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copier {
    Crane,
    Oras,
    Skopeo,
}

impl Copier {
    pub(super) const ALL: [Self; 3] = [Self::Crane, Self::Oras, Self::Skopeo];

    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Crane => "crane",
            Self::Oras => "oras",
            Self::Skopeo => "skopeo",
        }
    }

    /// The index with its platforms, and nothing that refers to it.
    pub(super) fn image(self, folder: &Path, image: &Image, to: &Repository) {
        self.copy(folder, &image.to_string(), &format!("{to}:1.0"), false).unwrap();
    }

    /// The index with its platforms and all their referrers: what oras alone can do.
    pub(super) fn with_referrers(self, folder: &Path, image: &Image, to: &Repository) {
        self.copy(folder, &image.to_string(), &format!("{to}:1.0"), true).unwrap();
    }

    /// What a tag of one repository says, as a tag of another: how the rest of them takes signatures along.
    pub(super) fn tag(self, folder: &Path, from: (&Repository, &str), to: (&Repository, &str)) {
        let name = |(repository, tag): (&Repository, &str)| format!("{repository}:{tag}");
        self.copy(folder, &name(from), &name(to), false).unwrap();
    }

    fn copy(self, folder: &Path, from: &str, to: &str, referrers: bool) -> Result<Vec<u8>, String> {
        let mut command = peer::alone(self.program(), folder);
        match self {
            Self::Crane => command.args(["copy", from, to]),
            Self::Oras => {
                command.args(["copy", "--no-tty", "--from-plain-http", "--to-plain-http"]);
                command.args(referrers.then_some("--recursive")).args([from, to])
            }
            Self::Skopeo => {
                let (from, to) = (format!("docker://{from}"), format!("docker://{to}"));
                // An image's digest is held; a tag's list of referrers is written anew, without their types.
                let held = from.contains('@').then_some("--preserve-digests");
                let plain = ["copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"];
                return peer::skopeo(folder, &[&plain, held.as_slice(), &[&from, &to]].concat());
            }
        };
        assert!(!referrers || self == Self::Oras, "{self:?} copies no referrers");
        peer::said(&mut command)
    }
}
