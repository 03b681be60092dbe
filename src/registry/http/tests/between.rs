//! What stands between us and the registry, or pretends to be it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::Rate;
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

/// A registry whose every answer is `count` bytes, one at a time.
async fn dripping(count: usize) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut wire, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let _ = wire.read(&mut head).await;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {count}\r\n\r\n");
                let _ = wire.write_all(answer.as_bytes()).await;
                while wire.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
    });
    host
}

/// A registry that opens an upload, and takes a little of it now and then.
async fn sipping() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut wire, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut some = vec![0; 4096];
                let read = wire.read(&mut some).await.unwrap_or(0);
                if !some[..read].starts_with(b"PUT") {
                    let answer = "HTTP/1.1 202 OK\r\nlocation: /v2/shop/blobs/uploads/1\r\n\
                                  content-length: 0\r\nconnection: close\r\n\r\n";
                    let _ = wire.write_all(answer.as_bytes()).await;
                    return;
                }
                while wire.read(&mut some).await.is_ok_and(|read| read > 0) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
    });
    host
}

/// Never still, and too slow all the same.
fn demanding(bytes: u64) -> HttpConfig {
    let retry = Retry { tries: 2, ..quick().retry };
    HttpConfig { least_rate: Rate { bytes, within: Duration::from_millis(300) }, retry, ..quick() }
}

#[tokio::test]
async fn f5_a_download_that_drips_is_too_slow() {
    let host = dripping(1 << 20).await;
    let remote = Remote::new(&host, &demanding(1 << 20)).unwrap();
    let error = whole(read(&remote, Digest::of(b"some")).await.unwrap()).await.unwrap_err();
    let RegistryError::TooSlow { bytes, expected, .. } = &error else { panic!("{error}") };
    assert!(*bytes > 0 && *expected == 1 << 20);
    assert!(error.is_transient() && error.to_string().contains("reading blob"), "{error}");
    assert!(error.hint().unwrap().contains(&host));
}

#[tokio::test]
async fn f5_an_upload_that_drips_is_too_slow_and_a_slow_source_is_not_the_destination() {
    let host = sipping().await;
    let remote = Remote::new(&host, &demanding(1 << 40)).unwrap();
    let large: Bytes = vec![7; 64 << 20].into();
    let size = large.len() as u64;
    let supply: Supply = Box::new(move |_| {
        let parts: Vec<_> = (0..1024).map(|part| Ok(large.slice(part << 16..(part + 1) << 16))).collect();
        let chunks: Chunks = stream::iter(parts).boxed();
        std::future::ready(Ok(chunks)).boxed()
    });
    let error = remote.put_blob("shop", Digest::of(b"some"), size, supply, None).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooSlow { .. }), "{error}");
    assert!(error.is_transient() && error.to_string().contains("uploading blob"), "{error}");
    // The source drips, and has a watch of its own.
    let (fake, source) = (Fake::start(), dripping(1 << 20).await);
    let shop = format!("{source}/shop").parse().unwrap();
    let digest = Digest::of(b"some");
    let from = Arc::new(Remote::new(&source, &demanding(1 << 20)).unwrap());
    let supply = Backend::remote(&shop, from, "shop").supply(digest);
    let to = Remote::new(fake.host(), &demanding(1 << 20)).unwrap();
    let error = to.put_blob("shop", digest, 1 << 20, supply, None).await.unwrap_err();
    let RegistryError::UploadSource { source: cause, .. } = &error else { panic!("{error}") };
    assert!(matches!(**cause, RegistryError::TooSlow { .. }), "{cause}");
    assert!(cause.to_string().starts_with(&source), "{cause}");
}

#[tokio::test]
async fn f5_retry_after_as_a_date_is_respected() {
    let fake = Fake::start();
    let one = fake.seed_manifest("shop", MANIFEST, b"{}");
    let busy = |after: &str| Reply::Instead {
        status: 429,
        headers: vec![("date", "Sun, 06 Nov 1994 08:49:37 GMT".into()), ("retry-after", after.into())],
        body: vec![],
    };
    // Its own clock counts: by ours this is long ago, and by its own ten minutes from now, which is more than is waited.
    let retry = Retry { budget: Duration::from_secs(5), ..quick().retry };
    let remote = Remote::new(fake.host(), &HttpConfig { retry, ..quick() }).unwrap();
    fake.on("GET", "/manifests/", 1, busy("Sun, 06 Nov 1994 08:59:37 GMT"));
    let error = remote.manifest("shop", Which::Digest(digest(&one))).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 429, tries: 1, .. }), "{error}");
    fake.on("GET", "/manifests/", 1, busy("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert!(remote.manifest("shop", Which::Digest(digest(&one))).await.unwrap().is_some());
}

/// A name is looked up before anybody is asked there: a registry on the public internet sends nobody to this machine.
#[tokio::test]
async fn f2_a_redirect_to_a_name_of_something_inside_is_not_followed() {
    let (proxy, inside) = (Fake::start(), Fake::start());
    // The way to the public one; what is on this machine is reached without it.
    let proxies = super::super::Proxies { http: Some(proxy.origin()), ..Default::default() };
    let config = HttpConfig { proxies, plain_http_hosts: vec!["8.8.8.8".to_owned()], ..quick() };
    let remote = Remote::new("8.8.8.8", &config).unwrap();
    let one = digest(&inside.seed_blob("shop", b"layer"));
    let there = inside.origin().replace("127.0.0.1", "localhost");
    proxy.on("GET", "/blobs/", usize::MAX, Reply::RedirectTo(there));
    for error in
        [remote.small_blob("shop", one, 100).await.unwrap_err(), read(&remote, one).await.err().unwrap()]
    {
        assert!(matches!(error, RegistryError::NotFollowed { reason: Distrust::NotPublic, .. }), "{error}");
    }
    assert!(inside.log().is_empty());
}
