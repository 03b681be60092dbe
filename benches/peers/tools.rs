//! The programs people copy images with, each told to take along all it can.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The tag of the image, everywhere.
pub(crate) const TAG: &str = "1.4.2";

/// The release binary, with the optimisation of this profile.
const BINARY: &str = env!("CARGO_BIN_EXE_samebits");

/// Where an image lies.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Registry {
        /// `127.0.0.1:PORT`.
        host: String,
        repository: String,
    },
    Layout(PathBuf),
}

impl Place {
    pub(crate) fn registry(host: &str, repository: &str) -> Self {
        Self::Registry { host: host.to_owned(), repository: repository.to_owned() }
    }

    /// With what a program puts before each kind.
    fn said(&self, registry: &str, layout: &str, tag: &str) -> String {
        match self {
            Self::Registry { host, repository } => format!("{registry}{host}/{repository}:{TAG}"),
            Self::Layout(folder) => format!("{layout}{}{tag}", folder.display()),
        }
    }
}

/// A program that copies images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    Samebits,
    Oras,
    Regctl,
    /// With `--no-referrers`, beside those that take none along.
    SamebitsAlone,
    Crane,
    Skopeo,
}

impl Tool {
    pub(crate) const ALL: [Self; 6] =
        [Self::Samebits, Self::Oras, Self::Regctl, Self::SamebitsAlone, Self::Crane, Self::Skopeo];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Samebits => "samebits",
            Self::SamebitsAlone => "samebits, image alone",
            Self::Crane => "crane",
            Self::Oras => "oras",
            Self::Regctl => "regctl",
            Self::Skopeo => "skopeo",
        }
    }

    pub(crate) fn program(self) -> &'static str {
        if self.is_ours() { BINARY } else { self.name() }
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Samebits | Self::SamebitsAlone)
    }

    /// Whether it is told to take along what refers to the image.
    pub(crate) fn takes_referrers(self) -> bool {
        matches!(self, Self::Samebits | Self::Oras | Self::Regctl)
    }

    /// The copy, by a fresh job: no login, no cache, no configuration of whoever runs this.
    pub(crate) fn copy(self, home: &Path, from: &Place, to: &Place) -> Command {
        let mut command = alone(self.program(), home);
        let tag = format!(":{TAG}");
        let plain = |place: &Place| place.said("", "", &tag);
        match self {
            Self::Samebits | Self::SamebitsAlone => {
                command.arg("copy").args([from, to].map(|place| place.said("", "oci:", &tag)));
                command.args((self == Self::SamebitsAlone).then_some("--no-referrers"))
            }
            Self::Crane => {
                let crane = |place: &Place| place.said("", "", "");
                match (from, to) {
                    // `cp` knows registries alone.
                    (Place::Layout(_), _) => command.args(["push", &crane(from), &crane(to)]),
                    (_, Place::Layout(_)) => command.args(["pull", "--format=oci", &crane(from), &crane(to)]),
                    (Place::Registry { .. }, Place::Registry { .. }) => {
                        command.args(["cp", &crane(from), &crane(to)])
                    }
                }
            }
            Self::Oras => {
                let kind = |place: &Place, side: &str| match place {
                    Place::Registry { .. } => format!("--{side}-plain-http"),
                    Place::Layout(_) => format!("--{side}-oci-layout"),
                };
                command.args(["cp", "-r", "--no-tty", &kind(from, "from"), &kind(to, "to")]);
                command.args([plain(from), plain(to)])
            }
            Self::Regctl => {
                for place in [from, to] {
                    if let Place::Registry { host, .. } = place {
                        command.arg(format!("--host=reg={host},tls=disabled"));
                    }
                }
                command.args(["image", "copy", "--referrers"]);
                command.args([from, to].map(|place| place.said("", "ocidir://", &tag)))
            }
            Self::Skopeo => {
                command.args(["--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests"]);
                if matches!(from, Place::Registry { .. }) {
                    command.arg("--src-tls-verify=false");
                }
                if matches!(to, Place::Registry { .. }) {
                    command.arg("--dest-tls-verify=false");
                }
                command.args([from, to].map(|place| place.said("docker://", "oci:", &tag)))
            }
        };
        command
    }
}

/// `program` with `home` as its home and current folder, and of the caller's environment nothing but `PATH`.
#[allow(clippy::disallowed_methods, reason = "where the peers are, and nothing else of the caller's")]
pub(crate) fn alone(program: &str, home: &Path) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.current_dir(home).env_clear().env("PATH", path).env("HOME", home);
    // Root's memory of where skopeo saw a blob is the machine's, wherever root is at home.
    command.env("_CONTAINERS_ROOTLESS_UID", "1000").env("REGISTRY_AUTH_FILE", home.join("auth.json"));
    command
}
