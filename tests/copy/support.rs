//! A bench with an image that has one of everything: two platforms, referrers of the index, of a platform and of a
//! referrer, and cosign's older tags.

use std::collections::BTreeMap;

use bytes::Bytes;
use samebits::closure::{Closure, OCI_MANIFEST};
use samebits::digest::Digest;
use samebits::reference::{Image, Repository, Tag};
use samebits::registry::{Referrers, Registries, Suffix};
use serde_json::{Value, json};

use crate::cli::{Ran, Yard};
use crate::image;

pub(super) const NOTE: &str = "application/vnd.example.note";

pub(super) struct Bench {
    pub(super) yard: Yard,
}

/// The image and what was attached to it: subject and referrer.
pub(super) struct Pushed {
    pub(super) image: Image,
    pub(super) closure: Closure,
    pub(super) attached: Vec<(Digest, Digest)>,
}

impl Pushed {
    /// The only manifest for an architecture.
    pub(super) fn platform(&self, architecture: &str) -> Digest {
        let of = |(digest, platform): (Digest, &samebits::closure::Platform)| {
            (platform.architecture() == architecture).then_some(digest)
        };
        self.closure.platforms().find_map(of).unwrap()
    }
}

impl Bench {
    pub(super) fn new() -> Self {
        Self { yard: Yard::empty() }
    }

    pub(super) fn registries(&self) -> &Registries {
        &self.yard.registries
    }

    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.yard.runtime.block_on(future)
    }

    pub(super) fn copy(&self, from: &str, to: &str, more: &[&str]) -> Ran {
        self.yard.run([&["copy", from, to], more].concat())
    }

    /// An image in `repository`, tagged `1`.
    pub(super) fn push(&self, repository: &str, text: &str) -> Pushed {
        let repository: Repository = repository.parse().unwrap();
        self.wait(async {
            let image = image::push(self.registries(), &repository, "1", text).await;
            let closure = self.registries().closure(&image).await.unwrap();
            let child = closure.platforms().next().unwrap().0;
            let mut attached = Vec::new();
            for (subject, bytes) in [(image.digest, "of the index"), (child, "of a platform")] {
                attached.push((subject, self.attach(&repository, subject, bytes).await));
            }
            let (_, first) = attached[0];
            attached.push((first, self.attach(&repository, first, "of a referrer").await));
            for suffix in ["sig", "att", "sbom"] {
                self.legacy(&repository, image.digest, suffix).await;
            }
            Pushed { image, closure, attached }
        })
    }

    pub(super) async fn attach(&self, repository: &Repository, subject: Digest, text: &str) -> Digest {
        let subject = Image::new(repository.clone(), subject);
        let none = BTreeMap::new();
        self.registries().attach(&subject, NOTE, NOTE, text.as_bytes(), &none).await.unwrap()
    }

    /// What cosign 2 would have attached.
    async fn legacy(&self, repository: &Repository, digest: Digest, suffix: &str) {
        let tag: Tag = format!("sha256-{}.{suffix}", digest.hex()).parse().unwrap();
        let layer = self.blob(repository, "application/vnd.dsse.envelope.v1+json", suffix.as_bytes()).await;
        self.manifest(repository, "application/vnd.oci.image.config.v1+json", &[layer], None, Some(&tag))
            .await;
    }

    pub(super) async fn blob(&self, repository: &Repository, media_type: &str, bytes: &[u8]) -> Value {
        let digest = self.registries().push_blob(repository, Bytes::copy_from_slice(bytes)).await.unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    pub(super) async fn manifest(
        &self,
        repository: &Repository,
        config: &str,
        layers: &[Value],
        subject: Option<Digest>,
        tag: Option<&Tag>,
    ) -> Digest {
        let config = self.blob(repository, config, b"{}").await;
        let mut manifest =
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers });
        if let Some(subject) = subject {
            manifest["subject"] = json!({ "mediaType": OCI_MANIFEST, "digest": subject, "size": 1 });
        }
        let bytes = Bytes::from(manifest.to_string());
        self.registries().push_manifest(repository, OCI_MANIFEST, bytes, tag).await.unwrap()
    }

    /// Everything that was pushed is at `to`, byte for byte, asked behind the back of the binary.
    #[track_caller]
    pub(super) fn is_whole(&self, pushed: &Pushed, to: &str) {
        let to: Repository = to.parse().unwrap();
        self.wait(async {
            self.has_image(pushed, &to).await;
            for (subject, referrer) in &pushed.attached {
                assert!(self.refers(&to, *subject, *referrer).await, "{referrer} is not listed at {to}");
                let (here, there) =
                    (self.bytes(&pushed.image.repository, *referrer).await, self.bytes(&to, *referrer).await);
                assert!(here.is_some() && here == there, "{referrer} at {to}");
            }
            for suffix in Suffix::ALL {
                let of = async |repository: &Repository| {
                    let image = Image::new(repository.clone(), pushed.image.digest);
                    self.registries().legacy(&image, suffix).await.unwrap().unwrap().1.bytes
                };
                assert_eq!(of(&to).await, of(&pushed.image.repository).await);
            }
        });
    }

    pub(super) async fn has_image(&self, pushed: &Pushed, to: &Repository) {
        assert_eq!(self.registries().has_closure(to, &pushed.closure).await.unwrap(), []);
        for manifest in pushed.closure.manifests() {
            assert_eq!(self.bytes(to, manifest.digest).await.as_ref(), Some(&manifest.bytes));
            for blob in &manifest.blobs {
                let read = self.registries().blob_bytes(to, blob.digest, 64 << 20).await.unwrap();
                assert_eq!(read.map(|bytes| bytes.len() as u64), Some(blob.size));
            }
        }
    }

    pub(super) async fn bytes(&self, repository: &Repository, digest: Digest) -> Option<Bytes> {
        let image = Image::new(repository.clone(), digest);
        self.registries().manifest(&image).await.unwrap().map(|found| found.bytes)
    }

    pub(super) async fn refers(&self, repository: &Repository, subject: Digest, referrer: Digest) -> bool {
        let image = Image::new(repository.clone(), subject);
        match self.registries().referrers(&image).await.unwrap() {
            Referrers::Listed(listed) => listed.iter().any(|one| one.digest == referrer),
            Referrers::Unsupported => false,
        }
    }

    pub(super) fn tagged(&self, repository: &str, tag: &str) -> Option<Digest> {
        let repository: Repository = repository.parse().unwrap();
        self.wait(self.registries().tagged(&repository, &tag.parse().unwrap())).unwrap()
    }
}
