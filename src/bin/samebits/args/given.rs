//! `--evidence`: what it names.

use std::path::PathBuf;

use samebits::reference::{ReferenceError, Repository};

use super::present_text;

/// Where there is evidence that does not lie beside the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// A file, or a folder of files.
    Path(PathBuf),
    /// A repository, in which things refer to the same digest.
    Repository(Repository),
}

/// What says that a repository of a registry is meant: without it `HOST/PATH` is a file.
const REGISTRY: &str = "registry:";
/// As everywhere: a layout on disk.
const LAYOUT: &str = "oci:";

pub(super) fn given(text: &str) -> Result<Given, String> {
    present_text(text)?;
    let repository = match text.strip_prefix(REGISTRY) {
        Some(name) if name.starts_with(LAYOUT) => {
            return Err(format!("a layout on disk is no registry: expected `{LAYOUT}FOLDER` alone"));
        }
        Some(name) => name,
        None if text.starts_with(LAYOUT) => text,
        None => return Ok(Given::Path(text.into())),
    };
    repository.parse().map(Given::Repository).map_err(|error: ReferenceError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Given, given};

    /// What is a repository is said, never guessed.
    #[test]
    fn e12_evidence_is_a_path_unless_a_word_says_that_it_is_a_repository() {
        for path in
            ["bundles", "ghcr.io/acme/sigs", "./oci:folder", "./registry:x", "https://ghcr.io/acme", "Oci:a"]
        {
            assert_eq!(given(path), Ok(Given::Path(path.into())));
        }
        for (text, repository) in
            [("registry:ghcr.io/acme/sigs", "ghcr.io/acme/sigs"), ("oci:folder", "oci:folder")]
        {
            assert_eq!(given(text), Ok(Given::Repository(repository.parse().unwrap())));
        }
        let digest = format!("registry:ghcr.io/acme/sigs@sha256:{}", "0".repeat(64));
        for wrong in [
            "",
            " ",
            "registry:",
            "registry: ghcr.io/acme",
            "registry:acme",
            "registry:ghcr.io/acme/sigs:1",
            &digest,
            "registry:oci:folder",
            "oci:",
            "oci:folder:1",
            "registry:https://ghcr.io/acme",
        ] {
            assert!(given(wrong).is_err(), "{wrong}");
        }
    }
}
