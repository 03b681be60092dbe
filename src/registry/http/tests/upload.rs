//! Uploads over wires that break, and through what takes no long requests.

use super::cut::Cut;
use super::*;

/// 4 MiB that no two places have in common.
fn layer() -> Vec<u8> {
    (0..4 << 20_u32).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// The requests for blobs: method, status, bytes of the body.
fn log(fake: &Fake) -> Vec<(String, u16, u64)> {
    fake.log().into_iter().map(|one| (one.method, one.status, one.received)).collect()
}

fn by(fake: &Fake, method: &str) -> Vec<u64> {
    log(fake).into_iter().filter(|one| one.0 == method && one.1 < 300).map(|one| one.2).collect()
}

async fn put(remote: &Remote, bytes: &[u8], supply: Supply) -> Result<(), RegistryError> {
    remote.put_blob("shop", Digest::of(bytes), bytes.len() as u64, supply, None).await
}

fn through(cut: &Cut) -> Remote {
    Remote::new(cut.host(), &quick()).unwrap()
}

#[tokio::test]
async fn f5_a_broken_upload_goes_on_where_it_stopped() {
    let (source, fake) = (Fake::start(), Fake::start());
    let bytes = layer();
    let one = digest(&source.seed_blob("shop", &bytes));
    // It breaks twice: in the PUT of the whole, and in the PATCH of the rest.
    let cut = Cut::start(fake.host(), 1_500_000, 2);
    put(&through(&cut), &bytes, supply(&source, one)).await.unwrap();
    assert_eq!(cut.count(), 2);
    assert_eq!(fake.blob("shop", &one.to_string()).unwrap(), bytes);
    let log = log(&fake);
    let methods: Vec<(&str, u16)> = log.iter().map(|one| (one.0.as_str(), one.1)).collect();
    assert_eq!(
        methods,
        [
            ("POST", 202),
            ("PUT", 499),
            ("GET", 204),
            ("PATCH", 499),
            ("GET", 204),
            ("PATCH", 202),
            ("PUT", 201)
        ]
    );
    assert_eq!(fake.received(), bytes.len() as u64, "nothing was sent twice");
    // At the source: from the last mark, hashed again.
    assert_eq!(source.log().iter().map(|one| one.status).collect::<Vec<_>>(), [200, 206, 206]);
}

#[tokio::test]
async fn f5_a_registry_that_does_not_say_gets_the_blob_again() {
    let bytes = layer();
    for (name, status) in [
        ("nothing", None),
        ("no range", Some(Reply::Instead { status: 204, headers: vec![], body: vec![] })),
        ("more than there is", Some(range("0-4194304"))),
        ("as good as nothing", Some(range("0-0"))),
        ("rubbish", Some(range("5-10"))),
        ("overflow", Some(range("0-18446744073709551615"))),
        ("a web page", Some(Reply::html(200))),
        ("elsewhere", Some(Reply::RedirectTo("https://10.0.0.1".to_owned()))),
    ] {
        let fake = Fake::with(Behaviour { resumes: status.is_some(), ..Behaviour::default() });
        if let Some(status) = status {
            fake.on("GET", "/blobs/uploads/", usize::MAX, status);
        }
        let cut = Cut::start(fake.host(), 1_500_000, 2);
        put(&through(&cut), &bytes, chunks(&[&bytes])).await.unwrap();
        assert_eq!(fake.blob("shop", &Digest::of(&bytes).to_string()).unwrap(), bytes, "{name}");
        assert_eq!((by(&fake, "PUT"), fake.count("POST", "")), (vec![4 << 20], 3), "{name}");
        assert_eq!(fake.count("PATCH", ""), 0, "{name}");
    }
    // It lies: it has all, and then has not.
    let fake = Fake::start();
    fake.on("GET", "/blobs/uploads/", usize::MAX, range("0-999"));
    fake.on("PATCH", "/blobs/uploads/", 1, Reply::status(400));
    let cut = Cut::start(fake.host(), 1_500_000, 1);
    put(&through(&cut), &bytes, chunks(&[&bytes])).await.unwrap();
    assert_eq!(fake.blob("shop", &Digest::of(&bytes).to_string()).unwrap(), bytes);
    // Without end: not for ever.
    let fake = Fake::start();
    let cut = Cut::start(fake.host(), 100_000, usize::MAX);
    let error = put(&through(&cut), &bytes, chunks(&[&bytes])).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }) && error.is_transient(), "{error}");
    assert!(fake.blob("shop", &Digest::of(&bytes).to_string()).is_none());
}

fn range(range: &str) -> Reply {
    Reply::Instead { status: 204, headers: vec![("range", range.to_owned())], body: vec![] }
}

#[tokio::test]
async fn f5_a_lost_answer_does_not_send_the_blob_again() {
    let (fake, bytes) = (Fake::start(), large());
    fake.on("PUT", "/blobs/uploads/", 1, Reply::DoneBut(502));
    put(&remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap();
    assert_eq!(fake.received(), bytes.len() as u64);
    assert_eq!(fake.count("HEAD", "/blobs/"), 1);
    // All of it is there, and only the end is missing.
    let fake = Fake::start();
    let failed = std::sync::atomic::AtomicBool::new(false);
    fake.behave(|behaviour| behaviour.longest = Some(200_000));
    fake.watch(Box::new(move |method, path, body| {
        let last = method == "PUT" && path.contains("/blobs/uploads/") && body.is_empty();
        (last && !failed.swap(true, std::sync::atomic::Ordering::SeqCst)).then(|| Reply::status(503))
    }));
    put(&remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap();
    assert_eq!(fake.received(), bytes.len() as u64);
    assert_eq!(fake.blob("shop", &Digest::of(&bytes).to_string()).unwrap(), bytes);
}

#[tokio::test]
async fn f5_a_busy_registry_is_waited_for_in_the_middle_of_an_upload() {
    let (fake, mut bytes) = (Fake::start(), large());
    for status in [408, 429, 500, 502, 503, 504] {
        bytes[0] += 1;
        fake.on("PUT", "/blobs/uploads/", 2, Reply::status(status));
        put(&remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap();
    }
    fake.forget_log();
    for status in [400, 403, 404, 405, 501] {
        fake.on("PUT", "/blobs/uploads/", 1, Reply::status(status));
        let error = put(&remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Status { status: found, .. } if *found == status), "{error}");
    }
    assert_eq!(fake.count("PUT", ""), 5, "a refusal is final");
}

#[tokio::test]
async fn a2_bytes_that_are_others_when_read_again_never_complete() {
    let (source, fake) = (Fake::start(), Fake::start());
    let bytes = layer();
    let one = digest(&source.seed_blob("shop", &bytes));
    let mut wrong = bytes.clone();
    wrong[100] ^= 1;
    // It is wrong the first time, and right the second. Either all of it was read before the way broke, or what was is
    // compared with what comes again.
    source.on("GET", "/blobs/", 1, Reply::Bytes(wrong));
    let cut = Cut::start(fake.host(), 900_000, 1);
    let error = put(&through(&cut), &bytes, supply(&source, one)).await.unwrap_err();
    let RegistryError::UploadSource { source: cause, .. } = &error else { panic!("{error}") };
    let noticed = matches!(**cause, RegistryError::ReadTwice { .. } | RegistryError::DigestMismatch { .. });
    assert!(noticed, "{cause}");
    assert!(!error.is_transient() && error.hint().unwrap().contains("do not use these bytes"));
    assert!(by(&fake, "PUT").is_empty());
    // As many bytes as there should be, and one more.
    let longer = [&bytes[..], b"x"].concat();
    let fake = Fake::start();
    let error = put(&remote(&fake), &bytes, chunks(&[&longer[..bytes.len()], b"x"])).await.unwrap_err();
    let RegistryError::UploadSource { source: cause, .. } = &error else { panic!("{error}") };
    assert!(matches!(**cause, RegistryError::Size { .. }), "{cause}");
    assert!(by(&fake, "PUT").is_empty());
}

#[tokio::test]
async fn what_takes_no_long_requests_gets_chunks() {
    let (fake, bytes) = (Fake::with(Behaviour { longest: Some(1_000_000), ..Behaviour::default() }), layer());
    let remote = remote(&fake);
    put(&remote, &bytes, chunks(&[&bytes])).await.unwrap();
    assert_eq!(fake.blob("shop", &Digest::of(&bytes).to_string()).unwrap(), bytes);
    let refused: Vec<_> = log(&fake).into_iter().filter(|one| one.1 == 413).map(|one| one.0).collect();
    assert_eq!(refused, ["PUT", "PATCH", "PATCH"], "4 MiB, 2 MiB, 1 MiB");
    assert_eq!(by(&fake, "PATCH"), [512 << 10; 8]);
    assert_eq!(by(&fake, "PUT"), [0]);
    // What was found out holds for the next blob; a short one goes in one piece.
    fake.forget_log();
    let other: Vec<u8> = bytes.iter().rev().copied().collect();
    put(&remote, &other, chunks(&[&other])).await.unwrap();
    assert!(log(&fake).iter().all(|one| one.1 != 413));
    fake.forget_log();
    put(&remote, b"short", chunks(&[b"short"])).await.unwrap();
    assert_eq!((by(&fake, "PUT"), fake.count("PATCH", "")), (vec![5], 0));
    // One that takes nothing at all.
    let fake = Fake::with(Behaviour { longest: Some(10), ..Behaviour::default() });
    let error = put(&super::remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 413, .. }), "{error}");
    assert!(error.hint().unwrap().contains("raise its limit"));
}

#[tokio::test]
async fn chunks_are_as_long_as_the_registry_wants_them() {
    let bytes = layer();
    // A wish alone cuts nothing up.
    let fake = Fake::with(Behaviour { chunk_min: Some(900_000), ..Behaviour::default() });
    put(&remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap();
    assert_eq!((by(&fake, "PUT"), fake.count("PATCH", "")), (vec![4 << 20], 0));
    // Where it has to be cut: no shorter than that, the last aside.
    fake.behave(|behaviour| behaviour.longest = Some(1_000_000));
    fake.forget_log();
    put(&remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap();
    assert_eq!(by(&fake, "PATCH"), [900_000, 900_000, 900_000, 900_000, (4 << 20) - 3_600_000]);
    // What cannot be is not tried for ever.
    fake.behave(|behaviour| behaviour.longest = Some(800_000));
    let error = put(&remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 413, .. }), "{error}");
}

#[tokio::test]
async fn a_chunk_out_of_order_is_asked_about() {
    let (fake, bytes) = (Fake::with(Behaviour { longest: Some(1 << 20), ..Behaviour::default() }), layer());
    // It carries the second chunk out, and says that it could not: it has more than we think.
    let seen = std::sync::atomic::AtomicUsize::new(0);
    fake.watch(Box::new(move |method, _, _| {
        let second = method == "PATCH" && seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1;
        second.then_some(Reply::DoneBut(416))
    }));
    put(&remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap();
    assert_eq!(fake.blob("shop", &Digest::of(&bytes).to_string()).unwrap(), bytes);
    assert_eq!(fake.received(), bytes.len() as u64, "nothing was sent twice");
    // One that says so always.
    fake.on("PATCH", "", usize::MAX, Reply::status(416));
    fake.watch(Box::new(|_, _, _| None));
    let error = put(&remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 416, .. }), "{error}");
    // One that says that it has less than it was sent is asked, and believed in what can be.
    let fake = Fake::with(Behaviour { longest: Some(1 << 20), ..Behaviour::default() });
    fake.on("PATCH", "", usize::MAX, Reply::Header("range", "0-9".into()));
    put(&remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap();
    assert_eq!(fake.blob("shop", &Digest::of(&bytes).to_string()).unwrap(), bytes);
    let fake = Fake::with(Behaviour { longest: Some(1 << 20), ..Behaviour::default() });
    fake.on("PATCH", "", usize::MAX, Reply::Header("range", "0-9".into()));
    fake.on("GET", "", usize::MAX, range("0-9"));
    let error = put(&remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Header { .. } | RegistryError::Status { status: 416, .. }),
        "{error}"
    );
    // The next location is elsewhere.
    let fake = Fake::with(Behaviour { longest: Some(1 << 20), ..Behaviour::default() });
    fake.on("PATCH", "", 1, Reply::Header("location", "https://evil.example/up".into()));
    let error = put(&remote(&fake), &bytes, chunks(&[&bytes])).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFollowed { reason: Distrust::OtherHost, .. }), "{error}");
}

#[tokio::test]
async fn a_session_of_a_mount_that_is_gone_when_it_is_used_is_opened_anew() {
    let bytes = layer();
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    for (times, ends) in [(1, true), (usize::MAX, false)] {
        let fake = Fake::with(Behaviour { mounts: false, ..Behaviour::default() });
        let remote = remote(&fake);
        let Mounted::No(session @ Some(_)) = remote.mount_blob("shop", "build", digest).await.unwrap() else {
            panic!("no session");
        };
        fake.on("PUT", "/blobs/uploads/", times, Reply::error(404, "BLOB_UPLOAD_UNKNOWN"));
        match remote.put_blob("shop", digest, size, chunks(&[&bytes]), session).await {
            Ok(()) if ends => assert_eq!(fake.blob("shop", &digest.to_string()).unwrap(), bytes),
            // One that was opened just now is not gone.
            Err(error) if !ends => {
                assert!(matches!(error, RegistryError::Status { status: 404, .. }), "{error}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((fake.count("POST", ""), fake.count("PUT", "")), (2, 2));
    }
}
