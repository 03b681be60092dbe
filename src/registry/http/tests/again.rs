//! What is asked again, and what is an answer.

use super::*;

#[tokio::test]
async fn f5_what_passes_is_asked_again_and_a_refusal_is_not() {
    let fake = Fake::start();
    let one = fake.seed_manifest("shop", MANIFEST, b"{}");
    let remote = remote(&fake);
    for status in [408, 429, 500, 502, 503, 504] {
        fake.on("GET", "/manifests/", 4, Reply::status(status));
        fake.forget_log();
        assert!(remote.manifest("shop", Which::Digest(digest(&one))).await.unwrap().is_some(), "{status}");
        assert_eq!(fake.count("GET", ""), 5);
    }
    for status in [400, 401, 403, 404, 405, 501] {
        fake.on("GET", "/manifests/", 1, Reply::status(status));
        fake.forget_log();
        let error = remote.manifest("shop", Which::Digest(digest(&one))).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Status { status: found, tries: 1, .. } if *found == status));
        assert!(!error.is_transient());
        assert_eq!(fake.count("GET", ""), 1);
    }
    fake.on("GET", "/manifests/", usize::MAX, Reply::status(503));
    fake.forget_log();
    let error = remote.manifest("shop", Which::Digest(digest(&one))).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 503, tries: 5, .. }), "{error}");
    assert!(error.is_transient());
    assert_eq!(fake.count("GET", ""), 5);
}

#[tokio::test]
async fn f5_the_digest_of_a_manifest_is_not_wrong_for_long() {
    let manifest = Bytes::from_static(b"{}");
    let which = Which::Digest(Digest::of(&manifest));
    for (method, code, times, tries) in [
        ("PUT", "DIGEST_INVALID", 4, None),
        // For good: that is said. Of another code, or where nothing was written, it is an answer.
        ("PUT", "DIGEST_INVALID", 5, Some(5)),
        ("PUT", "MANIFEST_INVALID", 5, Some(1)),
        ("GET", "DIGEST_INVALID", 5, Some(1)),
    ] {
        let fake = Fake::start();
        let remote = remote(&fake);
        fake.on(method, "/manifests/", times, Reply::error(400, code));
        let outcome = match method {
            "PUT" => remote.put_manifest("shop", which, MANIFEST, manifest.clone()).await.map(drop),
            _ => remote.manifest("shop", which).await.map(drop),
        };
        let told = match &outcome {
            Err(RegistryError::Status { status: 400, tries, .. }) => Some(*tries),
            outcome => outcome.as_ref().map(|()| None).unwrap(),
        };
        assert_eq!(told, tries, "{method} {code}");
        assert_eq!(fake.count(method, "/manifests/"), tries.unwrap_or(5) as usize, "{method} {code}");
    }
}

#[tokio::test]
async fn f5_a_tag_whose_manifest_was_deleted_just_now_is_read_again() {
    let (tag, one): (Tag, Digest) = ("1".parse().unwrap(), Digest::of(b"{}"));
    let missing =
        |detail| json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "detail": detail }] }).to_string();
    let deleted = missing(json!({ "Name": "shop", "Revision": one }));
    for (which, body, times, asked, is_there) in [
        (Which::Tag(&tag), &deleted, 4, 5, true),
        // It stays so: the tag means nothing.
        (Which::Tag(&tag), &deleted, 5, 5, false),
        // No such tag; and a digest is there or not.
        (Which::Tag(&tag), &missing(json!({ "Tag": "1" })), 5, 1, false),
        (Which::Digest(one), &deleted, 5, 1, false),
    ] {
        let fake = Fake::start();
        fake.tag("shop", "1", &fake.seed_manifest("shop", MANIFEST, b"{}"));
        let answer = Reply::Instead { status: 404, headers: vec![], body: body.clone().into() };
        fake.on("GET", "/manifests/", times, answer);
        let found = remote(&fake).manifest("shop", which).await.unwrap();
        assert_eq!((found.is_some(), fake.count("GET", "")), (is_there, asked), "{which} {body}");
    }
}

#[tokio::test]
async fn f5_retry_after_is_respected() {
    let fake = Fake::start();
    let one = fake.seed_manifest("shop", MANIFEST, b"{}");
    fake.on("GET", "/manifests/", 1, Reply::busy(1));
    let started = tokio::time::Instant::now();
    assert!(remote(&fake).manifest("shop", Which::Digest(digest(&one))).await.unwrap().is_some());
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn f5_a_broken_connection_is_tried_again() {
    let fake = Fake::start();
    let one = fake.seed_manifest("shop", MANIFEST, b"{\"schemaVersion\": 2}");
    fake.on("GET", "/manifests/", 2, Reply::CutAfter(3));
    assert!(remote(&fake).manifest("shop", Which::Digest(digest(&one))).await.unwrap().is_some());
    let nobody = Remote::new("127.0.0.1:1", &quick()).unwrap();
    let error = nobody.manifest("shop", Which::Digest(digest(&one))).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { tries: 5, .. }), "{error}");
    assert!(error.hint().unwrap().contains("127.0.0.1:1"));
}
