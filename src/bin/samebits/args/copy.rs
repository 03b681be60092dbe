//! `copy`: bytes from one place to another.

use clap::Args;
use samebits::closure::Platform;
use samebits::reference::{Destination, Reference};

pub(super) const HELP: &str = "\
This is no promotion: no policy is asked, nothing is decided or recorded, and
what lies somewhere because it was copied there has not been promoted. The tag
that an environment of the policy file has is set by `promote` alone. What that
file says of registries ([registries]) counts only where --policy names it.

Copied are the index with every platform, byte for byte, all blobs, and whatever
refers to any of that, and to that in its turn: signatures, attestations, bills
of materials, records; also under cosign's tags (.sig, .att, .sbom). What refers
to an image and could itself be run stays behind, and is named. Everything is
read back at the destination; the tag is set last. The same command again sends
only what is missing: a registry that has a manifest has what it lists, unless
it lost that since, which --check-blobs finds and mends. Stdout has the pinned
reference, nothing else.

A layout on disk is a folder, or one archive where PATH ends in .tar: written
once, and the same images and referrers are the same bytes. The current folder
is where relative paths begin.

--platform copies the manifest of that platform by its own digest, with what
refers to it. An index is never made smaller: it would be another image, that
nobody signed. Several platforms are several images, so without a tag.

EXAMPLES
  samebits copy registry.example/shop:1.4.2 mirror.example/shop:1.4.2
  samebits copy registry.example/shop@sha256:… oci:backup.tar:1.4.2
  samebits copy registry.example/shop:1.4.2 edge.example/shop \\
      --platform linux/arm64 --no-referrers";

#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// The image: `registry/path:tag`, `registry/path@sha256:…`, or both; `oci:PATH…` for a layout on disk.
    #[arg(value_name = "SRC")]
    pub(crate) from: Reference,
    /// Where it goes: `registry/path` or `oci:PATH`, with `:tag` to set that tag, with `@sha256:…` to expect that.
    #[arg(value_name = "DST")]
    pub(crate) to: Destination,
    /// Only the manifest for this platform, by its own digest. May be repeated.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Vec<Platform>,
    /// Nothing that refers to the image: no signatures, no attestations.
    #[arg(long)]
    pub(crate) no_referrers: bool,
    /// Ask the destination for every blob, also of manifests that it has already, and send what is gone.
    #[arg(long)]
    pub(crate) check_blobs: bool,
}
