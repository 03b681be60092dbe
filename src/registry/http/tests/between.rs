//! What stands between us and the registry, or pretends to be it.

use super::*;

#[tokio::test]
async fn f4_a_compressed_answer_is_refused() {
    let fake = Fake::start();
    let one = digest(&fake.seed_manifest("shop", MANIFEST, b"{}"));
    let blob = digest(&fake.seed_blob("shop", b"layer"));
    fake.on("", "/v2/", usize::MAX, Reply::Header("content-encoding", "gzip".into()));
    let remote = remote(&fake);
    for error in [
        remote.manifest("shop", Which::Digest(one)).await.unwrap_err(),
        remote.small_blob("shop", blob, 100).await.unwrap_err(),
        read(&remote, blob).await.err().unwrap(),
        remote.referrers("shop", one).await.unwrap_err(),
    ] {
        assert!(matches!(&error, RegistryError::MediaType { found, .. } if found == "gzip"), "{error}");
    }
    let plain = Fake::start();
    plain.seed_blob("shop", b"layer");
    plain.on("", "/v2/", usize::MAX, Reply::Header("content-encoding", "identity".into()));
    let remote = super::remote(&plain);
    assert!(remote.small_blob("shop", blob, 100).await.unwrap().is_some());
}

#[tokio::test]
async fn b11_half_a_404_is_asked_for_again() {
    let fake = Fake::start();
    fake.seed_manifest("shop", MANIFEST, b"{}");
    fake.on("GET", "/manifests/", 1, Reply::CutAfter(10));
    assert_eq!(remote(&fake).manifest("shop", Which::Tag(&tag("2"))).await.unwrap(), None);
    assert_eq!(fake.count("GET", ""), 2);
    fake.on("GET", "/manifests/", usize::MAX, Reply::CutAfter(10));
    let error = remote(&fake).manifest("shop", Which::Tag(&tag("2"))).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { tries: 5, .. }), "{error}");
}

#[tokio::test]
async fn b11_a_web_page_is_neither_a_blob_nor_the_receipt_of_a_manifest() {
    let fake = Fake::start();
    let (remote, some) = (remote(&fake), Digest::of(b"some"));
    fake.on("", "/v2/", usize::MAX, Reply::html(200));
    for error in [
        remote.has_blob("shop", some).await.unwrap_err(),
        remote.has_manifest("shop", some).await.unwrap_err(),
        remote.put_manifest("shop", Which::Tag(&tag("1")), MANIFEST, "{}".into()).await.err().unwrap(),
    ] {
        assert!(matches!(error, RegistryError::Status { status: 200, .. }), "{error}");
        assert!(error.hint().unwrap().contains("is 127.0.0.1"), "{error}");
    }
}

#[tokio::test]
async fn f5_a_token_server_that_does_not_answer_is_named() {
    let fake = Fake::with(Behaviour { login: Login::bearer(), ..Behaviour::default() });
    let one = Which::Digest(digest(&fake.seed_manifest("shop", MANIFEST, b"{}")));
    let (remote, _folder) = logged_in(&fake);
    fake.on("GET", "/token", 4, Reply::CutAfter(5));
    assert!(remote.manifest("shop", one).await.unwrap().is_some());
    fake.revoke_tokens();
    fake.on("GET", "/token", usize::MAX, Reply::CutAfter(5));
    let error = remote.manifest("shop", one).await.unwrap_err();
    let RegistryError::TokenServer { realm, source, .. } = &error else { panic!("{error}") };
    assert_eq!(*realm, format!("{}/token", fake.origin()));
    assert!(matches!(**source, RegistryError::Unreachable { tries: 5, .. }), "{source}");
    assert!(error.is_transient() && error.hint().unwrap().contains("token server"));
}

#[tokio::test]
async fn a_token_that_is_refused_in_the_middle_of_an_upload_is_renewed() {
    let fake = Fake::with(Behaviour { login: Login::bearer(), ..Behaviour::default() });
    let (remote, _folder) = logged_in(&fake);
    let challenge = format!("Bearer realm=\"{}/token\",service=\"fake\"", fake.origin());
    let expired =
        Reply::Instead { status: 401, headers: vec![("www-authenticate", challenge)], body: vec![] };
    let one = Digest::of(b"layer");
    fake.on("PUT", "/blobs/", 1, expired.clone());
    remote.put_blob("shop", one, 5, chunks(&[b"layer"]), None).await.unwrap();
    assert_eq!(fake.scopes().len(), 2);
    remote.put_blob("shop", one, 5, chunks(&[b"layer"]), None).await.unwrap();
    assert_eq!(fake.scopes().len(), 2, "the new token is used");
    // Not for ever.
    fake.on("PUT", "/blobs/", usize::MAX, expired);
    let other = Digest::of(b"other");
    let error = remote.put_blob("shop", other, 5, chunks(&[b"other"]), None).await.unwrap_err();
    assert!(matches!(error, RegistryError::TokenExpired { .. }), "{error}");
    assert_eq!(fake.count("PUT", "/blobs/"), 2 + 1 + 5);
    // A login that is refused is no token that expired.
    let fake = Fake::with(Behaviour { login: Login::Basic, ..Behaviour::default() });
    let (remote, _folder) = logged_in(&fake);
    let refused = vec![("www-authenticate", "Basic realm=\"x\"".to_owned())];
    fake.on("PUT", "/blobs/", 1, Reply::Instead { status: 401, headers: refused, body: vec![] });
    let error = remote.put_blob("shop", one, 5, chunks(&[b"layer"]), None).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 401, .. }), "{error}");
}
