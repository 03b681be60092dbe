//! Signed in one registry, verified in another.

use samebits::digest::Digest;
use samebits::reference::{Image, Repository};

use super::copier::Copier;
use crate::cosign::{Bench, Format, Version, expected, requirements};
use crate::docker_registry::{DockerRegistry, Door};

/// A bench, and another registry, where the service's staging is.
struct Move {
    bench: Bench,
    other: DockerRegistry,
}

impl Move {
    fn open(copier: Copier) -> Option<Self> {
        let bench = Bench::open(&["cosign", "cosign2", copier.program()])?;
        let other = DockerRegistry::start(Door::Open)?;
        let (here, there) = (bench.registry.host(), other.host());
        bench
            .yard
            .edit_policy(|text| text.replace(&format!("{here}/staging/"), &format!("{there}/staging/")));
        Some(Self { bench, other })
    }

    /// An image of its own for each way of signing it.
    fn signed(&self, version: Version, format: Format) -> Image {
        let image = self.bench.push(&format!("{version:?} {format:?}"));
        let cosign = self.bench.cosign(version);
        cosign.sign(&image, "cosign-build", format);
        cosign.attest(&image, "cosign-build", "main", format);
        image
    }

    /// A repository of staging in the other registry. The policy names one; each case has it to itself.
    fn there(&self) -> Repository {
        format!("{}/staging/shop", self.other.host()).parse().unwrap()
    }

    /// What `samebits verify` finds of `signed-by` and `provenance`, and whether that is enough.
    #[track_caller]
    fn finds(&self, image: &Image, signed_by: &str, provenance: &str) {
        let enough = (signed_by, provenance) == ("met", "met");
        let verified = self.bench.verify(image).exits(i32::from(!enough));
        assert_eq!(requirements(&verified), expected(signed_by, provenance), "{image}");
    }

    /// The tags under which evidence about `digest` stands.
    fn tags(&self, digest: Digest, format: Format) -> Vec<String> {
        match format {
            // The registry has no referrers API: one index lists signature and attestation.
            Format::Bundle => vec![format!("sha256-{}", digest.hex())],
            Format::Tags => {
                vec![format!("sha256-{}.sig", digest.hex()), format!("sha256-{}.att", digest.hex())]
            }
        }
    }
}

fn copied_and_believed(copier: Copier) {
    let Some(it) = Move::open(copier) else { return };
    let folder = it.bench.yard.path("");
    let there = it.there();
    for version in Version::ALL {
        for format in Format::ALL {
            let image = it.signed(version, format);
            it.finds(&image, "met", "met");
            // 1. The image alone. The very same digest is there, and nothing that speaks for it.
            copier.image(&folder, &image, &there);
            let copy = Image::new(there.clone(), image.digest);
            it.finds(&copy, "not-signed-by", "no-provenance");
            // 2. What speaks for it, as its users take that along; cosign's tags are nobody's referrers.
            let tags = it.tags(image.digest, format);
            match (copier, format) {
                (Copier::Oras, Format::Bundle) => copier.with_referrers(&folder, &image, &there),
                (_, Format::Bundle) => {
                    copier.tag(&folder, (&image.repository, &tags[0]), (&there, &tags[0]));
                }
                (_, Format::Tags) => {
                    copier.tag(&folder, (&image.repository, &tags[0]), (&there, &tags[0]));
                    // Half of it came along.
                    it.finds(&copy, "met", "no-provenance");
                    copier.tag(&folder, (&image.repository, &tags[1]), (&there, &tags[1]));
                }
            }
            it.finds(&copy, "met", "met");
        }
    }
}

#[test]
fn crane_copies_and_samebits_believes_what_came_along() {
    copied_and_believed(Copier::Crane);
}

#[test]
fn oras_copies_and_samebits_believes_what_came_along() {
    copied_and_believed(Copier::Oras);
}

#[test]
fn skopeo_copies_and_samebits_believes_what_came_along() {
    copied_and_believed(Copier::Skopeo);
}

#[test]
fn b1_evidence_copied_onto_another_images_tags_says_nothing_of_it() {
    for copier in Copier::ALL {
        let Some(it) = Move::open(copier) else { return };
        let folder = it.bench.yard.path("");
        let there = it.there();
        for format in Format::ALL {
            let image = it.signed(Version::V3, format);
            let other = it.bench.push(&format!("never signed {format:?}"));
            copier.image(&folder, &other, &there);
            let tags = it.tags(image.digest, format).into_iter().zip(it.tags(other.digest, format));
            for (from, to) in tags {
                copier.tag(&folder, (&image.repository, &from), (&there, &to));
            }
            it.finds(&Image::new(there.clone(), other.digest), "not-signed-by", "no-provenance");
        }
    }
}

#[test]
fn b1_a_strangers_signature_is_copied_and_stays_a_strangers() {
    for copier in Copier::ALL {
        let Some(it) = Move::open(copier) else { return };
        let folder = it.bench.yard.path("");
        let there = it.there();
        for version in Version::ALL {
            let image = it.bench.push(&format!("a stranger's {version:?}"));
            let cosign = it.bench.cosign(version);
            cosign.sign(&image, "cosign-production", Format::Tags);
            cosign.attest(&image, "cosign-production", "main", Format::Tags);
            copier.image(&folder, &image, &there);
            for tag in it.tags(image.digest, Format::Tags) {
                copier.tag(&folder, (&image.repository, &tag), (&there, &tag));
            }
            it.finds(&Image::new(there.clone(), image.digest), "not-signed-by", "no-provenance");
        }
    }
}
