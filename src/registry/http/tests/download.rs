//! Downloads that break, tokens that end on the way, mounts that are not known, and how long somebody wants to be left alone.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// A registry that sends these bytes in chunks, and breaks off before it has said that they are all; and has none behind
/// them.
async fn never_ending(bytes: Vec<u8>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut wire, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = wire.read(&mut head).await.unwrap_or(0);
            let asked = String::from_utf8_lossy(&head[..read]).to_lowercase();
            if asked.contains(&format!("range: bytes={}-", bytes.len())) {
                let answer = "HTTP/1.1 416 None\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = wire.write_all(answer.as_bytes()).await;
                continue;
            }
            assert!(!asked.contains("range: "), "{asked}");
            let answer =
                format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n", bytes.len());
            let _ = wire.write_all(answer.as_bytes()).await;
            let _ = wire.write_all(&bytes).await;
            let _ = wire.write_all(b"\r\n").await;
        }
    });
    host
}

#[tokio::test]
async fn f5_a_download_that_breaks_behind_its_last_byte_is_whole() {
    let bytes = large();
    let host = never_ending(bytes.clone()).await;
    let remote = Remote::new(&host, &quick()).unwrap();
    let stream = read(&remote, Digest::of(&bytes)).await.unwrap();
    assert_eq!(whole(stream).await.unwrap(), bytes);
    // Nothing is behind what came, and what came is not the blob: it is asked for again, and its last bytes are never handed
    // out.
    let stream = read(&remote, Digest::of(b"another")).await.unwrap();
    let all: Vec<_> = stream.collect().await;
    let (came, last): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert!(matches!(&last[..], [Err(RegistryError::Unreachable { .. })]), "{last:?}");
    let came: usize = came.into_iter().map(|chunk| chunk.unwrap().len()).sum();
    assert!(came < bytes.len(), "{came}");
}

/// `crane registry serve` answers so to every range that has no end.
#[tokio::test]
async fn f5_a_registry_that_does_not_know_the_range_hands_out_the_blob_again() {
    let fake = Fake::start();
    let bytes = large();
    let one = fake.seed_blob("shop", &bytes);
    fake.on("GET", "/blobs/", 1, Reply::CutAfter(100_000));
    fake.on("GET", "/blobs/", 1, Reply::error(416, "BLOB_UNKNOWN"));
    fake.on("GET", "/blobs/", 1, Reply::CutAfter(200_000));
    let stream = read(&remote(&fake), digest(&one)).await.unwrap();
    assert_eq!(whole(stream).await.unwrap(), bytes);
    assert_eq!(fake.log().iter().map(|one| one.status).collect::<Vec<_>>(), [200, 416, 200, 206]);
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_a_download_is_renewed() {
    let fake = Fake::with(Behaviour { login: Login::bearer(), ..Behaviour::default() });
    let bytes = large();
    let one = digest(&fake.seed_blob("shop", &bytes));
    let (remote, _folder) = logged_in(&fake);
    assert!(remote.has_blob("shop", one).await.unwrap());
    fake.on("GET", "/blobs/", 1, Reply::CutAfter(100_000));
    let stream = read(&remote, one).await.unwrap();
    fake.revoke_tokens();
    fake.forget_log();
    assert_eq!(whole(stream).await.unwrap(), bytes);
    let asked: Vec<_> = fake.log().into_iter().map(|one| (one.method, one.status)).collect();
    let asked: Vec<_> = asked.iter().map(|(method, status)| (method.as_str(), *status)).collect();
    assert_eq!(asked.iter().filter(|one| **one == ("GET", 401)).count(), 1, "{asked:?}");
    assert_eq!(asked.last(), Some(&("GET", 206)), "{asked:?}");
    assert_eq!(fake.scopes().len(), 2);
}

#[tokio::test]
async fn a_token_that_ends_between_two_chunks_of_an_upload_is_renewed() {
    let behaviour = Behaviour { login: Login::bearer(), longest: Some(100_000), ..Behaviour::default() };
    let (fake, bytes) = (Fake::with(behaviour), large());
    let (remote, _folder) = logged_in(&fake);
    let (one, size) = (Digest::of(&bytes), bytes.len() as u64);
    let headers = vec![("www-authenticate", format!("Bearer realm=\"{}/token\"", fake.origin()))];
    let expired = Reply::Instead { status: 401, headers, body: vec![] };
    let seen = std::sync::atomic::AtomicUsize::new(0);
    fake.watch(Box::new(move |method, _, _| {
        let second = method == "PATCH" && seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1;
        second.then(|| expired.clone())
    }));
    remote.put_blob("shop", one, size, chunks(&[&bytes]), None).await.unwrap();
    assert_eq!(fake.blob("shop", &one.to_string()).unwrap(), bytes);
    assert_eq!(fake.scopes().len(), 2);
    // The chunk that was refused came again, and no other.
    let taken = fake.log().into_iter().filter(|one| one.status < 300 && one.received > 0);
    assert_eq!(taken.map(|one| one.received).sum::<u64>(), size);
}

/// Who cannot mount says so in many ways; none of them keeps the bytes from being sent.
#[tokio::test]
async fn a_mount_that_is_not_known_is_an_answer_and_a_busy_registry_is_none() {
    let fake = Fake::start();
    let one = digest(&fake.seed_blob("staging/shop", b"layer"));
    let remote = remote(&fake);
    for status in [400, 401, 403, 404, 405, 409, 415, 422, 501] {
        fake.on("POST", "mount=", 1, Reply::error(status, "UNSUPPORTED"));
        let mounted = remote.mount_blob("prod/shop", "staging/shop", one).await.unwrap();
        assert!(matches!(mounted, Mounted::No(None)), "{status}: {mounted:?}");
    }
    for status in [408, 429, 500, 503] {
        fake.on("POST", "mount=", 5, Reply::status(status));
        let error = remote.mount_blob("prod/shop", "staging/shop", one).await.unwrap_err();
        assert!(error.is_transient(), "{status}: {error}");
    }
}

/// Who asks for more time than there is gets no second question in it, whatever was asked.
#[tokio::test]
async fn f5_retry_after_counts_for_blobs_and_tokens_too() {
    let retry = Retry { budget: Duration::from_secs(5), ..quick().retry };
    let config = HttpConfig { retry, ..quick() };
    let bytes = large();
    let (one, size) = (Digest::of(&bytes), bytes.len() as u64);
    for (method, path) in
        [("GET", "/blobs/"), ("POST", "/blobs/uploads/"), ("PUT", "/blobs/"), ("PATCH", "/blobs/")]
    {
        let fake = Fake::start();
        fake.behave(|behaviour| behaviour.longest = (method == "PATCH").then_some(100_000));
        let seeded = digest(&fake.seed_blob("shop", b"layer"));
        let remote = Remote::new(fake.host(), &config).unwrap();
        fake.on(method, path, 1, Reply::busy(600));
        let error = match method {
            "GET" => read(&remote, seeded).await.err().unwrap(),
            _ => remote.put_blob("shop", one, size, chunks(&[&bytes]), None).await.unwrap_err(),
        };
        assert!(matches!(error, RegistryError::Status { status: 429, .. }), "{method}: {error}");
        let busy = fake.log().into_iter().filter(|one| one.status != 413 && one.method == method);
        assert_eq!(busy.count(), 1, "{method}");
    }
    let fake = Fake::with(Behaviour { login: Login::bearer(), ..Behaviour::default() });
    fake.on("GET", "/token", 1, Reply::busy(600));
    let remote = Remote::new(fake.host(), &config).unwrap();
    let error = remote.manifest("shop", Which::Tag(&tag("1"))).await.unwrap_err();
    assert!(matches!(error, RegistryError::Token { status: 429, wait: Some(_), .. }), "{error}");
    assert_eq!(fake.count("GET", "/token"), 1);
}
