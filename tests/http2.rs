//! Registries behind TLS that offer HTTP/2, or do not: a copy by one connection, its uploads too, and what a server may
//! refuse in the middle of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/image.rs"]
#[allow(dead_code, reason = "its users take what they need")]
mod image;
#[path = "support/peer.rs"]
#[allow(dead_code, reason = "its users take what they need")]
mod peer;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/tls.rs"]
mod tls;

use std::time::Duration;

use bytes::Bytes;
use registry::{Behaviour, Fake, Reply};
use samebits::digest::Digest;
use samebits::reference::Repository;
use samebits::registry::{HttpConfig, Registries};
use tempfile::TempDir;
use tls::{Front, Manner};

struct Bench {
    fake: Fake,
    front: Front,
    registries: Registries,
    _folder: TempDir,
}

impl Bench {
    fn new(offers: &[&str], manners: &[Manner]) -> Option<Self> {
        // Nothing is mounted, so that bytes move both ways.
        let fake = Fake::with(Behaviour { mounts: false, ..Behaviour::default() });
        let front = Front::start(fake.host(), offers, manners)?;
        let folder = tempfile::tempdir().unwrap();
        let mut config = HttpConfig {
            tls_hosts: vec![front.host().to_owned()],
            ca_files: vec![front.certificate()],
            ..HttpConfig::default()
        };
        config.retry.first_wait = Duration::from_millis(1);
        config.retry.longest_wait = Duration::from_millis(5);
        let registries = Registries::new(config, folder.path().to_owned());
        Some(Self { fake, front, registries, _folder: folder })
    }

    fn repository(&self, path: &str) -> Repository {
        format!("{}/{path}", self.front.host()).parse().unwrap()
    }

    /// Copies an image and a large blob from one repository to another.
    async fn copies(&self) {
        let (shop, staging) = (self.repository("shop"), self.repository("staging/shop"));
        let image = image::push(&self.registries, &shop, "1.0", "hello").await;
        let closure = self.registries.closure(&image).await.unwrap();
        let from = self.registries.reading(&shop).unwrap();
        let report = self.registries.copy(&closure, &from, &staging).await.unwrap();
        assert_eq!((report.manifests, report.blobs_copied), (3, 4), "{report:?}");
        assert_eq!(self.registries.has_closure(&staging, &closure).await.unwrap(), []);
        // Larger than every window there is.
        let large: Vec<u8> = (0..20 << 20_u32).map(|at: u32| (at >> 7) as u8).collect();
        let digest = self.registries.push_blob(&shop, Bytes::from(large.clone())).await.unwrap();
        assert_eq!(digest, Digest::of(&large));
        assert!(self.fake.blob("shop", &digest.to_string()).unwrap() == large);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_offers_http_2_is_talked_to_over_one_connection() {
    let Some(bench) = Bench::new(&["h2", "http/1.1"], &[]) else { return };
    bench.copies().await;
    assert_eq!(bench.front.agreed(), [Some("h2".to_owned())], "{:?}", bench.front.agreed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_offer_http_2_is_talked_to_as_well() {
    for (offers, agreed) in [(&["http/1.1"][..], Some("http/1.1".to_owned())), (&[], None)] {
        let Some(bench) = Bench::new(offers, &[]) else { return };
        bench.copies().await;
        assert!(bench.front.agreed().iter().all(|found| *found == agreed), "{:?}", bench.front.agreed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f5_a_stream_that_is_refused_and_a_goodbye_are_tried_again() {
    for manner in [Manner::RefuseStreams, Manner::Goodbye, Manner::Cut] {
        let Some(bench) = Bench::new(&["h2", "http/1.1"], &[manner, manner]) else { return };
        bench.copies().await;
        assert_eq!(bench.front.agreed().len(), 3, "{manner:?}: {:?}", bench.front.agreed());
    }
    // Not for ever.
    let Some(bench) = Bench::new(&["h2"], &[Manner::RefuseStreams; 64]) else { return };
    let error = bench.registries.push_blob(&bench.repository("shop"), "x".into()).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("no answer after 5 tries"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f5_an_upload_whose_connection_breaks_ends_whole() {
    let Some(bench) = Bench::new(&["h2", "http/1.1"], &[Manner::Pass { at_most: 3 << 20 }; 2]) else {
        return;
    };
    let large: Vec<u8> = (0..8 << 20_u32).map(|at: u32| (at >> 5) as u8).collect();
    let digest =
        bench.registries.push_blob(&bench.repository("shop"), Bytes::from(large.clone())).await.unwrap();
    assert!(bench.fake.blob("shop", &digest.to_string()).unwrap() == large);
    assert_eq!(bench.front.agreed().len(), 3);
}

/// Where a registry speaks TLS, an address without it is not followed, wherever it leads: neither to read nor to write.
#[tokio::test(flavor = "multi_thread")]
async fn f2_nobody_is_led_from_tls_to_none() {
    let Some(bench) = Bench::new(&["http/1.1"], &[]) else { return };
    let (clear, shop) = (Fake::start(), bench.repository("shop"));
    let layer = bench.registries.push_blob(&shop, "layer".into()).await.unwrap();
    clear.seed_blob("shop", b"layer");
    clear.open();
    for to in [clear.origin(), format!("http://{}", bench.front.host())] {
        bench.fake.on("GET", "/blobs/", 1, Reply::RedirectTo(to.clone()));
        let error = bench.registries.blob_bytes(&shop, layer, 100).await.unwrap_err();
        assert!(error.to_string().contains("is not followed: it leaves TLS"), "{error}");
        let upload = format!("{to}/v2/shop/blobs/uploads/1?_state=a%2Fb%3D");
        bench.fake.on("POST", "/blobs/uploads/", 1, Reply::Header("location", upload));
        let error = bench.registries.push_blob(&shop, "other".into()).await.unwrap_err();
        assert!(error.to_string().contains("is not followed: it leaves TLS"), "{error}");
        assert!(error.hint().unwrap().contains("X-Forwarded-Proto"));
    }
    assert!(clear.log().is_empty());
}
