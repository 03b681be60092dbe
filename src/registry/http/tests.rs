//! The client against a registry on a socket.

mod again;
mod referrers;
mod tags;
mod between;
mod download;
mod upload;
#[path = "../../../tests/support/registry.rs"]
pub(crate) mod registry;
#[path = "../../../tests/support/cut.rs"]
mod cut;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use serde_json::json;

use self::registry::{Behaviour, Fake, INDEX, Login, MANIFEST, Reply, login_file};
use super::{HttpConfig, MANIFEST_LIMIT, Remote, Retry};
use crate::closure::Descriptor;
use crate::digest::Digest;
use crate::reference::Tag;
use crate::registry::backend::Backend;
use crate::registry::error::{Distrust, RegistryError};
use crate::registry::trail::Trail;
use crate::registry::wire::{Chunks, Listing, Mounted, Supply, Which};

/// As patient as the real settings, but quick.
pub(crate) fn quick() -> HttpConfig {
    let retry = Retry {
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(5),
        ..Retry::default()
    };
    HttpConfig { retry, idle_timeout: Duration::from_secs(5), ..HttpConfig::default() }
}

fn remote(fake: &Fake) -> Remote {
    Remote::new(fake.host(), &quick()).unwrap()
}

/// A client that is logged in, and the folder its login file is in.
fn logged_in(fake: &Fake) -> (Remote, tempfile::TempDir) {
    with_logins(fake, &login_file(fake.host()))
}

fn with_logins(fake: &Fake, text: &str) -> (Remote, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    std::fs::write(&file, text).unwrap();
    let config = HttpConfig { login_files: vec![file], ..quick() };
    (Remote::new(fake.host(), &config).unwrap(), folder)
}

fn digest(text: &str) -> Digest {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// These bytes, as they come the first time; from further on, all in one.
fn chunks(parts: &[&[u8]]) -> Supply {
    let parts: Vec<Bytes> = parts.iter().map(|part| Bytes::copy_from_slice(part)).collect();
    Box::new(move |from| {
        let parts = match usize::try_from(from).unwrap() {
            0 => parts.clone(),
            from => vec![Bytes::from(parts.concat()).slice(from..)],
        };
        let chunks: Chunks = stream::iter(parts.into_iter().map(Ok)).boxed();
        std::future::ready(Ok(chunks)).boxed()
    })
}

/// What a registry has in `shop`, to be sent.
fn supply(from: &Fake, digest: Digest) -> Supply {
    let shop = format!("{}/shop", from.host()).parse().unwrap();
    Backend::remote(&shop, Arc::new(remote(from)), "shop").supply(digest)
}

/// A blob, read from its first byte.
async fn read(remote: &Remote, digest: Digest) -> Result<Chunks, RegistryError> {
    remote.blob("shop", digest, Trail::new(digest).read_from(0)).await
}

async fn whole(chunks: Chunks) -> Result<Vec<u8>, RegistryError> {
    chunks
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
}

fn referrer_of(subject: &str, note: &str) -> Vec<u8> {
    let subject = json!({ "mediaType": MANIFEST, "digest": subject, "size": 2 });
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/x", "subject": subject,
        "annotations": { "note": note } })
    .to_string()
    .into_bytes()
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: MANIFEST.into(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        artifact_type: Some("application/x".into()),
        annotations: BTreeMap::new(),
        platform: None,
        urls: Vec::new(),
    }
}

/// 300 KiB that no two places have in common.
fn large() -> Vec<u8> {
    (0..300 * 1024_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

// Manifests.

#[tokio::test]
async fn a_manifest_is_read_by_tag_and_by_digest_and_absent_is_an_answer() {
    let fake = Fake::start();
    let one = fake.seed_manifest("team/shop", MANIFEST, b"{ \"odd\":  1}");
    fake.tag("team/shop", "1", &one);
    let remote = remote(&fake);
    for which in [Which::Tag(&tag("1")), Which::Digest(digest(&one))] {
        let fetched = remote.manifest("team/shop", which).await.unwrap().unwrap();
        assert_eq!((fetched.digest, fetched.media_type.as_str()), (digest(&one), MANIFEST));
        assert_eq!(&fetched.bytes[..], b"{ \"odd\":  1}");
    }
    assert_eq!(remote.manifest("team/shop", Which::Tag(&tag("2"))).await.unwrap(), None);
    assert_eq!(remote.manifest("nobody/shop", Which::Tag(&tag("1"))).await.unwrap(), None);
    assert!(remote.has_manifest("team/shop", digest(&one)).await.unwrap());
    assert!(!remote.has_manifest("team/shop", Digest::of(b"other")).await.unwrap());
}

#[tokio::test]
async fn a2_registry_lies_about_the_digest() {
    let fake = Fake::start();
    let one = fake.seed_manifest("shop", MANIFEST, b"{}");
    fake.tag("shop", "1", &one);
    let lie = Digest::of(b"something else").to_string();
    fake.on("", "/v2/", usize::MAX, Reply::Header("docker-content-digest", lie.clone()));
    let remote = remote(&fake);
    for which in [Which::Tag(&tag("1")), Which::Digest(digest(&one))] {
        let error = remote.manifest("shop", which).await.unwrap_err();
        assert!(matches!(&error, RegistryError::DigestHeader { claimed, .. } if *claimed == lie), "{error}");
    }
    let error = remote.has_manifest("shop", digest(&one)).await.unwrap_err();
    assert!(matches!(error, RegistryError::DigestHeader { .. }));
    let bytes = Bytes::from_static(b"{}");
    let error = remote.put_manifest("shop", Which::Tag(&tag("2")), MANIFEST, bytes).await.unwrap_err();
    assert!(matches!(error, RegistryError::DigestHeader { .. }));
}

#[tokio::test]
async fn a2_registry_sends_other_bytes_for_a_digest() {
    let fake = Fake::with(Behaviour { digest_header: false, ..Behaviour::default() });
    let one = fake.seed_manifest("shop", MANIFEST, b"{}");
    let blob = fake.seed_blob("shop", b"layer");
    fake.on("GET", "/v2/", usize::MAX, Reply::Bytes(b"{ }".to_vec()));
    let remote = remote(&fake);
    let error = remote.manifest("shop", Which::Digest(digest(&one))).await.unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { wanted, found, .. }
        if wanted == digest(&one) && found == Digest::of(b"{ }")));
    let error = remote.small_blob("shop", digest(&blob), 100).await.unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }));
}

#[tokio::test]
async fn b11_a_404_that_no_registry_wrote_is_not_absence() {
    let fake = Fake::start();
    fake.on("", "/v2/", usize::MAX, Reply::html(404));
    let remote = remote(&fake);
    let some = Digest::of(b"some");
    let error = remote.manifest("shop", Which::Digest(some)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 404, .. }), "{error}");
    assert!(remote.has_manifest("shop", some).await.is_err());
    assert!(remote.has_blob("shop", some).await.is_err());
    assert!(remote.small_blob("shop", some, 10).await.is_err());
    assert!(remote.referrers("shop", some).await.is_err());
}

#[tokio::test]
async fn b11_a_web_page_is_not_a_manifest() {
    let fake = Fake::start();
    fake.on("GET", "/manifests/", 1, Reply::html(200));
    let error = remote(&fake).manifest("shop", Which::Tag(&tag("1"))).await.unwrap_err();
    assert!(matches!(error, RegistryError::MediaType { .. }), "{error}");
}

#[tokio::test]
async fn f4_a_manifest_without_end_is_cut() {
    let fake = Fake::start();
    fake.on("GET", "/manifests/", 1, Reply::Endless);
    let error = remote(&fake).manifest("shop", Which::Tag(&tag("1"))).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: MANIFEST_LIMIT, .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_under_another_digest_is_not_sent() {
    let fake = Fake::start();
    let which = Which::Digest(Digest::of(b"other"));
    let error =
        remote(&fake).put_manifest("shop", which, MANIFEST, Bytes::from_static(b"{}")).await.unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }));
    assert!(fake.log().is_empty());
}

// Blobs.

#[tokio::test]
async fn blobs_go_up_in_one_put_and_come_down_verified() {
    let fake = Fake::start();
    let remote = remote(&fake);
    let bytes = large();
    let parts: Vec<&[u8]> = bytes.chunks(10_000).collect();
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    assert!(!remote.has_blob("shop", digest).await.unwrap());
    remote.put_blob("shop", digest, size, chunks(&parts), None).await.unwrap();
    assert!(remote.has_blob("shop", digest).await.unwrap());
    assert_eq!(whole(read(&remote, digest).await.unwrap()).await.unwrap(), bytes);
    assert_eq!((fake.count("POST", ""), fake.count("PUT", ""), fake.count("PATCH", "")), (1, 1, 0));
    assert_eq!(fake.received(), size);
    let empty = Digest::of(b"");
    remote.put_blob("shop", empty, 0, chunks(&[]), None).await.unwrap();
    assert_eq!(whole(read(&remote, empty).await.unwrap()).await.unwrap(), b"");
    assert_eq!(remote.small_blob("shop", empty, 0).await.unwrap(), Some(Bytes::new()));
}

#[tokio::test]
async fn a2_wrong_bytes_never_complete_an_upload() {
    let (source, destination) = (Fake::start(), Fake::start());
    let bytes = large();
    let one = source.seed_blob("shop", &bytes);
    let mut wrong = bytes.clone();
    wrong[7] ^= 1;
    source.on("GET", "/blobs/", 1, Reply::Bytes(wrong));
    let bad = supply(&source, digest(&one));
    let to = remote(&destination);
    let error = to.put_blob("shop", digest(&one), bytes.len() as u64, bad, None).await.unwrap_err();
    let RegistryError::UploadSource { source: cause, .. } = &error else { panic!("{error}") };
    assert!(matches!(**cause, RegistryError::DigestMismatch { .. }), "{cause}");
    assert!(!error.is_transient());
    assert!(destination.log().iter().all(|one| one.status != 201), "no PUT was ever complete");
    assert_eq!(destination.blob("shop", &one), None);
}

#[tokio::test]
async fn an_upload_has_exactly_the_announced_length() {
    let fake = Fake::start();
    for size in [4, 6] {
        let parts = chunks(&[b"lay", b"er"]);
        let error =
            remote(&fake).put_blob("shop", Digest::of(b"layer"), size, parts, None).await.unwrap_err();
        let RegistryError::UploadSource { source, .. } = &error else { panic!("{error}") };
        assert!(matches!(**source, RegistryError::Size { wanted, .. } if wanted == size), "{source}");
    }
    assert!(fake.log().iter().all(|one| one.status != 201));
}

#[tokio::test]
async fn f5_an_interrupted_download_goes_on_where_it_stopped() {
    let fake = Fake::start();
    let bytes = large();
    let one = fake.seed_blob("shop", &bytes);
    fake.on("GET", "/blobs/", 2, Reply::CutAfter(100_000));
    let stream = read(&remote(&fake), digest(&one)).await.unwrap();
    assert_eq!(whole(stream).await.unwrap(), bytes);
    assert_eq!(fake.log().iter().map(|one| one.status).collect::<Vec<_>>(), [200, 206, 206]);
    // Without end: not for ever.
    fake.on("GET", "/blobs/", usize::MAX, Reply::CutAfter(0));
    let stream = read(&remote(&fake), digest(&one)).await.unwrap();
    assert!(matches!(whole(stream).await, Err(RegistryError::Unreachable { .. })));
}

#[tokio::test]
async fn a12_a_blob_that_is_gone_is_an_error_where_it_was_needed() {
    let fake = Fake::start();
    let one = fake.seed_blob("shop", b"layer");
    fake.lose("shop", &one);
    let error = read(&remote(&fake), digest(&one)).await.err().unwrap();
    assert!(matches!(error, RegistryError::BlobMissing { .. }), "{error}");
    assert_eq!(remote(&fake).small_blob("shop", digest(&one), 10).await.unwrap(), None);
}

#[tokio::test]
async fn f4_a_small_blob_is_small() {
    let fake = Fake::start();
    let one = fake.seed_blob("shop", b"layer");
    let error = remote(&fake).small_blob("shop", digest(&one), 4).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 4, .. }));
}

#[tokio::test]
async fn a_mount_moves_no_bytes_and_a_refused_one_is_an_open_upload() {
    let fake = Fake::start();
    let one = digest(&fake.seed_blob("staging/shop", b"layer"));
    let remote = remote(&fake);
    assert!(matches!(remote.mount_blob("prod/shop", "staging/shop", one).await.unwrap(), Mounted::Yes));
    assert_eq!(fake.received(), 0);
    assert!(fake.blob("prod/shop", &one.to_string()).is_some());
    fake.behave(|behaviour| behaviour.mounts = false);
    let mounted = remote.mount_blob("dev/shop", "staging/shop", one).await.unwrap();
    let Mounted::No(Some(session)) = mounted else { panic!("{mounted:?}") };
    fake.forget_log();
    remote.put_blob("dev/shop", one, 5, chunks(&[b"layer"]), Some(session)).await.unwrap();
    assert_eq!((fake.count("POST", ""), fake.count("PUT", "")), (0, 1));
    fake.on("POST", "mount=", 1, Reply::error(403, "DENIED"));
    let mounted = remote.mount_blob("dev/shop", "staging/shop", one).await.unwrap();
    assert!(matches!(mounted, Mounted::No(None)));
    fake.on("POST", "mount=", usize::MAX, Reply::status(500));
    assert!(remote.mount_blob("dev/shop", "staging/shop", one).await.is_err());
}

// Retries.

/// Distribution's way while another client writes the link of a blob that the manifest lists (`tests/real_registry.rs`).
/// Distribution reads what a tag means, then that; and another client may have moved the tag and deleted it in between.
#[tokio::test]
async fn f6_tls_is_not_given_up() {
    let fake = Fake::start();
    let config = HttpConfig { tls_hosts: vec![fake.host().to_owned()], ..quick() };
    let remote = Remote::new(fake.host(), &config).unwrap();
    let error = remote.manifest("shop", Which::Tag(&tag("1"))).await.unwrap_err();
    assert!(matches!(error, RegistryError::Tls { .. }), "{error:?}");
    assert!(fake.log().iter().all(|one| one.path != "/v2/shop/manifests/1"));
}

#[tokio::test]
async fn a_proxy_is_used_as_told_and_never_for_this_machine() {
    let (fake, proxy) = (Fake::start(), Fake::start());
    let proxies = super::Proxies { http: Some(proxy.origin()), ..Default::default() };
    let plain_http_hosts = vec!["registry.invalid".to_owned()];
    let config = HttpConfig { proxies, plain_http_hosts, ..quick() };
    let one = Which::Digest(digest(&fake.seed_manifest("shop", MANIFEST, b"{}")));
    proxy.seed_manifest("shop", MANIFEST, b"{}");
    assert!(Remote::new(fake.host(), &config).unwrap().manifest("shop", one).await.unwrap().is_some());
    assert!(proxy.log().is_empty());
    let far = Remote::new("registry.invalid", &config).unwrap();
    assert!(far.manifest("shop", one).await.unwrap().is_some());
    assert_eq!(proxy.log().len(), 1);
}

// Logins.

#[tokio::test]
async fn f3_basic_is_answered_wherever_it_is_asked_for() {
    let fake = Fake::with(Behaviour { login: Login::Basic, ..Behaviour::default() });
    let one = fake.seed_manifest("shop", MANIFEST, b"{}");
    let which = Which::Digest(digest(&one));
    let error = remote(&fake).manifest("shop", which).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 401, logged_in: false, .. }), "{error}");
    assert_eq!(error.hint().unwrap(), format!("log in with `docker login {}`", fake.host()));
    let (remote, _folder) = logged_in(&fake);
    fake.forget_log();
    for _ in 0..3 {
        assert!(remote.manifest("shop", which).await.unwrap().is_some());
    }
    assert_eq!(fake.log().len(), 4, "one refusal, then the login is known");
    assert_eq!(fake.count("", "/v2/shop"), 4, "no ping");
    let wrong = login_file(fake.host()).replace("dXNlcjpwYXNzd29yZA==", "dXNlcjp3cm9uZw==");
    let (remote, _folder) = with_logins(&fake, &wrong);
    let error = remote.manifest("shop", which).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 401, logged_in: true, .. }), "{error}");
    assert!(!format!("{error:?} {error}").contains("d3Jvbmc"), "{error:?}");
}

#[tokio::test]
async fn a_token_has_the_scopes_of_the_request_and_two_for_a_mount() {
    let fake = Fake::with(Behaviour { login: Login::bearer(), ..Behaviour::default() });
    let one = digest(&fake.seed_manifest("staging/shop", MANIFEST, b"{}"));
    let blob = digest(&fake.seed_blob("staging/shop", b"layer"));
    let (remote, _folder) = logged_in(&fake);
    assert!(remote.manifest("staging/shop", Which::Digest(one)).await.unwrap().is_some());
    assert!(matches!(remote.mount_blob("prod/shop", "staging/shop", blob).await.unwrap(), Mounted::Yes));
    // Both are covered by the mount's token.
    remote.put_blob("prod/shop", Digest::of(b"other"), 5, chunks(&[b"other"]), None).await.unwrap();
    assert!(remote.has_blob("prod/shop", blob).await.unwrap());
    assert_eq!(
        fake.scopes(),
        [
            vec!["repository:staging/shop:pull"],
            vec!["repository:prod/shop:pull,push", "repository:staging/shop:pull"],
        ]
    );
    assert_eq!(fake.log().iter().filter(|one| one.status == 401).count(), 1, "the realm is known after one");
}

#[tokio::test]
async fn an_anonymous_token_reads_and_a_refused_login_says_so() {
    let login = Login::Bearer { anonymous_pull: true, expires_in: None, realm: None };
    let fake = Fake::with(Behaviour { login, ..Behaviour::default() });
    let one = Which::Digest(digest(&fake.seed_manifest("shop", MANIFEST, b"{}")));
    let anonymous = remote(&fake);
    assert!(anonymous.manifest("shop", one).await.unwrap().is_some());
    let error = anonymous.put_manifest("shop", one, MANIFEST, Bytes::from_static(b"{}")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 401, logged_in: false, .. }), "{error}");
    fake.behave(|behaviour| behaviour.login = Login::bearer());
    fake.revoke_tokens();
    let error = remote(&fake).manifest("shop", one).await.unwrap_err();
    assert!(matches!(error, RegistryError::Token { status: 401, .. }), "{error}");
}

#[tokio::test]
async fn a_token_is_renewed_when_it_expires_and_once_when_it_is_refused() {
    let login = Login::Bearer { anonymous_pull: true, expires_in: Some(1), realm: None };
    let fake = Fake::with(Behaviour { login, ..Behaviour::default() });
    let one = Which::Digest(digest(&fake.seed_manifest("shop", MANIFEST, b"{}")));
    let remote = remote(&fake);
    let read = async || assert!(remote.manifest("shop", one).await.unwrap().is_some());
    read().await;
    tokio::time::sleep(Duration::from_millis(950)).await;
    read().await;
    assert_eq!(fake.scopes().len(), 2);
    assert_eq!(fake.log().iter().filter(|one| one.status == 401).count(), 1);
    fake.revoke_tokens();
    read().await;
    assert_eq!(fake.scopes().len(), 3);
    // Refused again and again: an error after one renewal.
    fake.on(
        "GET",
        "/manifests/",
        usize::MAX,
        Reply::Instead {
            status: 401,
            headers: vec![("www-authenticate", format!("Bearer realm=\"{}/token\"", fake.origin()))],
            body: vec![],
        },
    );
    assert!(matches!(remote.manifest("shop", one).await, Err(RegistryError::Status { status: 401, .. })));
    assert_eq!(fake.scopes().len(), 4);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let fake = Fake::with(Behaviour { login: Login::bearer(), ..Behaviour::default() });
    let one = Which::Digest(digest(&fake.seed_manifest("shop", MANIFEST, b"{}")));
    let (remote, _folder) =
        with_logins(&fake, &json!({ "auths": { fake.host(): { "identitytoken": "refresh" } } }).to_string());
    assert!(remote.manifest("shop", one).await.unwrap().is_some());
    assert_eq!(fake.count("POST", "/token"), 1);
}

#[tokio::test]
async fn many_requests_at_once_share_one_token() {
    let fake = Fake::with(Behaviour { login: Login::bearer(), ..Behaviour::default() });
    let one = Which::Digest(digest(&fake.seed_manifest("shop", MANIFEST, b"{}")));
    let (remote, _folder) = logged_in(&fake);
    let reads = (0..16).map(|_| remote.manifest("shop", one));
    let read = futures_util::future::try_join_all(reads).await.unwrap();
    assert!(read.iter().all(Option::is_some));
    assert_eq!(fake.scopes().len(), 1);
}

#[tokio::test]
async fn f1_a_login_is_not_carried_to_a_foreign_token_server() {
    let evil = Fake::with(Behaviour { login: Login::bearer(), ..Behaviour::default() });
    for realm in [
        evil.origin().replace("127.0.0.1", "localhost") + "/token",
        "https://evil.example/token".to_owned(),
        "http://169.254.169.254/token".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let login = Login::Bearer { anonymous_pull: false, expires_in: None, realm: Some(realm.clone()) };
        let fake = Fake::with(Behaviour { login, ..Behaviour::default() });
        fake.seed_manifest("shop", MANIFEST, b"{}");
        let (remote, _folder) = logged_in(&fake);
        let error = remote.manifest("shop", Which::Digest(Digest::of(b"{}"))).await.unwrap_err();
        assert!(matches!(error, RegistryError::Realm { .. }), "{realm}: {error}");
    }
    assert!(evil.log().is_empty());
}

#[tokio::test]
async fn f1_a_malformed_challenge_is_an_error() {
    let fake = Fake::start();
    let headers = vec![("www-authenticate", "Bearer service=x".to_owned())];
    fake.on("GET", "/manifests/", 1, Reply::Instead { status: 401, headers, body: vec![] });
    let error = remote(&fake).manifest("shop", Which::Tag(&tag("1"))).await.unwrap_err();
    assert!(matches!(error, RegistryError::Challenge { .. }), "{error}");
}

// Other addresses.

#[tokio::test]
async fn f2_a_redirect_drops_the_login() {
    let fake = Fake::with(Behaviour { login: Login::Basic, ..Behaviour::default() });
    let store = Fake::start();
    let bytes = large();
    let one = digest(&fake.seed_blob("shop", &bytes));
    store.seed_blob("shop", &bytes);
    let (remote, _folder) = logged_in(&fake);
    assert!(remote.has_blob("shop", one).await.unwrap());
    fake.on("GET", "/blobs/", usize::MAX, Reply::RedirectTo(store.origin()));
    store.on("GET", "/blobs/", 1, Reply::CutAfter(100_000));
    assert_eq!(whole(read(&remote, one).await.unwrap()).await.unwrap(), bytes);
    assert!(fake.log().last().unwrap().authorization.is_some());
    assert_eq!(store.log().len(), 2, "the rest was asked for at the store, by way of the registry");
    assert!(store.log().iter().all(|one| one.authorization.is_none()));
    // A redirect back home does not bring the login back, and a store's challenge is not answered.
    store.on("GET", "/blobs/", 1, Reply::RedirectTo(fake.origin()));
    fake.forget_log();
    assert!(remote.small_blob("shop", one, 1 << 20).await.unwrap().is_some());
    let sent: Vec<bool> = fake.log().iter().map(|one| one.authorization.is_some()).collect();
    assert_eq!(sent, [true, false]);
    let headers = vec![("www-authenticate", "Basic realm=\"give\"".to_owned())];
    store.on("GET", "/blobs/", usize::MAX, Reply::Instead { status: 401, headers, body: vec![] });
    let error = remote.small_blob("shop", one, 1 << 20).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 401, .. }), "{error}");
    assert!(store.log().iter().all(|one| one.authorization.is_none()));
}

#[tokio::test]
async fn f2_redirects_end_and_are_for_reads() {
    let fake = Fake::start();
    let one = Digest::of(b"layer");
    let reason = |error: RegistryError| match error {
        RegistryError::NotFollowed { reason, .. } => reason,
        error => panic!("{error}"),
    };
    fake.on("", "/blobs/", usize::MAX, Reply::RedirectTo(fake.origin()));
    assert_eq!(reason(remote(&fake).has_blob("shop", one).await.unwrap_err()), Distrust::TooMany);
    assert_eq!(fake.log().len(), 6);
    let error = remote(&fake).put_blob("shop", one, 5, chunks(&[b"layer"]), None).await.unwrap_err();
    assert_eq!(reason(error), Distrust::Write);
    for (to, why) in [
        ("http://cdn.example", Distrust::PlainHttp),
        ("http://169.254.169.254", Distrust::PlainHttp),
        ("https://169.254.169.254", Distrust::NotPublic),
        ("https://10.0.0.1", Distrust::NotPublic),
        ("ftp://127.0.0.1", Distrust::NotAUrl),
        ("http://user:pw@127.0.0.1", Distrust::UserInfo),
    ] {
        let fake = Fake::start();
        fake.on("", "/blobs/", 1, Reply::RedirectTo(to.to_owned()));
        assert_eq!(reason(remote(&fake).has_blob("shop", one).await.unwrap_err()), why, "{to}");
    }
}

#[tokio::test]
async fn f2_an_upload_stays_with_the_registry() {
    let (fake, evil) = (Fake::start(), Fake::start());
    let one = Digest::of(b"layer");
    let elsewhere = "https://evil.example/v2/shop/blobs/uploads/1".to_owned();
    fake.on("POST", "", 1, Reply::Header("location", elsewhere));
    let error = remote(&fake).put_blob("shop", one, 5, chunks(&[b"layer"]), None).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFollowed { reason: Distrust::OtherHost, .. }), "{error}");
    fake.on("POST", "", 1, Reply::status(202));
    let error = remote(&fake).put_blob("shop", one, 5, chunks(&[b"layer"]), None).await.unwrap_err();
    assert!(matches!(error, RegistryError::Header { header: "Location", .. }), "{error}");
    // The same host on another port: another origin, so the bytes go, the login does not.
    fake.behave(|behaviour| behaviour.login = Login::Basic);
    let port = format!("{}/v2/shop/blobs/uploads/1?_state=a%2Fb%3D", evil.origin());
    fake.on("POST", "", 2, Reply::Header("location", port));
    evil.open();
    let (remote, _folder) = logged_in(&fake);
    remote.put_blob("shop", one, 5, chunks(&[b"layer"]), None).await.unwrap();
    assert_eq!(evil.log().len(), 1);
    assert!(evil.log()[0].authorization.is_none());
}
