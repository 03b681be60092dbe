//! Listings of referrers, by API and by fallback tag.

use super::*;

#[tokio::test]
async fn b10_all_pages_of_referrers_are_read() {
    let fake = Fake::with(Behaviour { page: Some(3), ..Behaviour::default() });
    let subject = fake.seed_manifest("shop", MANIFEST, b"{}");
    for note in 0..10 {
        fake.seed_manifest("shop", MANIFEST, &referrer_of(&subject, &note.to_string()));
    }
    let Listing::Listed(all) = remote(&fake).referrers("shop", digest(&subject)).await.unwrap() else {
        panic!()
    };
    assert_eq!((all.len(), fake.count("GET", "/referrers/")), (10, 4));
    assert_eq!(all[0].artifact_type.as_deref(), Some("application/x"));
    // A page that fails is not the end of the list.
    fake.on("GET", "from=6", usize::MAX, Reply::error(404, "NAME_UNKNOWN"));
    assert!(remote(&fake).referrers("shop", digest(&subject)).await.is_err());
}

#[tokio::test]
async fn b10_pages_end_and_stay_at_home() {
    let (fake, evil) = (Fake::start(), Fake::start());
    let subject = fake.seed_manifest("shop", MANIFEST, b"{}");
    let next = format!("<{}/v2/shop/referrers/{subject}>; rel=\"next\"", evil.origin());
    fake.on("GET", "/referrers/", 1, Reply::Header("link", next));
    let error = remote(&fake).referrers("shop", digest(&subject)).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFollowed { reason: Distrust::OtherHost, .. }), "{error}");
    assert!(evil.log().is_empty());
    let circle = format!("</v2/shop/referrers/{subject}>; rel=\"next\"");
    fake.on("GET", "/referrers/", usize::MAX, Reply::Header("link", circle));
    let error = remote(&fake).referrers("shop", digest(&subject)).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooManyReferrers { .. }), "{error}");
}

#[tokio::test]
async fn b10_more_referrers_than_the_limit_are_an_error() {
    let fake = Fake::start();
    let subject = Digest::of(b"{}");
    let entries: Vec<_> = (0..1001)
        .map(|at: u32| json!({ "mediaType": MANIFEST, "digest": Digest::of(&at.to_be_bytes()), "size": 1 }))
        .collect();
    let listing = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string();
    fake.seed_manifest("shop", MANIFEST, b"{}");
    fake.on("GET", "/referrers/", 1, Reply::Bytes(listing.into_bytes()));
    let error = remote(&fake).referrers("shop", subject).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooManyReferrers { limit: 1000, .. }), "{error}");
}

#[tokio::test]
async fn b11_none_unsupported_and_could_not_look_are_three_answers() {
    let fake = Fake::start();
    let subject = digest(&fake.seed_manifest("shop", MANIFEST, b"{}"));
    let remote = remote(&fake);
    assert_eq!(remote.referrers("shop", subject).await.unwrap(), Listing::Listed(vec![]));
    fake.behave(|behaviour| behaviour.referrers_api = false);
    assert_eq!(remote.referrers("shop", subject).await.unwrap(), Listing::Unsupported);
    for place in ["/referrers/", "/manifests/sha256-"] {
        for status in [400, 401, 403, 429, 500, 503] {
            fake.on("GET", place, 5, Reply::error(status, "DENIED"));
            let outcome = remote.referrers("shop", subject).await;
            assert!(outcome.is_err(), "{status} at {place} was {outcome:?}");
            // What is left of the rule.
            while remote.referrers("shop", subject).await.is_err() {}
        }
    }
    fake.behave(|behaviour| behaviour.referrers_api = true);
    for body in
        ["", "<html>", "{}", "[]", r#"{"schemaVersion":2}"#, r#"{"schemaVersion":2,"manifests":[{}]}"#]
    {
        fake.on("GET", "/referrers/", 1, Reply::Bytes(body.into()));
        let error = remote.referrers("shop", subject).await.unwrap_err();
        assert!(matches!(error, RegistryError::Malformed { .. }), "{body}: {error}");
    }
    fake.on("GET", "/referrers/", 1, Reply::html(200));
    let error = remote.referrers("shop", subject).await.unwrap_err();
    assert!(matches!(error, RegistryError::MediaType { .. }), "{error}");
}

#[tokio::test]
async fn b12_a_registry_without_the_api_is_asked_for_it_once() {
    let fake = Fake::with(Behaviour { referrers_api: false, ..Behaviour::default() });
    let remote = remote(&fake);
    for subject in ["a", "b", "c"] {
        fake.seed_manifest("shop", MANIFEST, subject.as_bytes());
        let subject = Digest::of(subject.as_bytes());
        assert_eq!(remote.referrers("shop", subject).await.unwrap(), Listing::Unsupported);
    }
    assert_eq!((fake.count("GET", "/referrers/"), fake.count("GET", "/manifests/sha256-")), (1, 3));
    // Another repository may be served by something else; a code of the specification says that the route is there.
    let subject = Digest::of(b"a");
    fake.on("GET", "/other/referrers/", 2, Reply::error(404, "MANIFEST_UNKNOWN"));
    for _ in 0..2 {
        remote.referrers("other", subject).await.unwrap();
    }
    assert_eq!(fake.count("GET", "/other/referrers/"), 2);
}

#[tokio::test]
async fn b11_a_repository_nobody_knows_has_no_listing() {
    let fake = Fake::start();
    let error = remote(&fake).referrers("nobody/shop", Digest::of(b"{}")).await.unwrap_err();
    assert!(matches!(error, RegistryError::RepositoryUnknown { .. }), "{error}");
}

#[tokio::test]
async fn b11_null_lists_nothing_and_a_listing_without_a_list_is_an_error() {
    let fake = Fake::start();
    let subject = digest(&fake.seed_manifest("shop", MANIFEST, b"{}"));
    let remote = remote(&fake);
    let head = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}""#);
    for (list, good) in [(r#","manifests":null}"#, true), ("}", false), (r#","manifests":{}}"#, false)] {
        fake.on("GET", "/referrers/", 1, Reply::Bytes(format!("{head}{list}").into_bytes()));
        match remote.referrers("shop", subject).await {
            Ok(Listing::Listed(listed)) if good => assert_eq!(listed, []),
            Err(RegistryError::Malformed { .. }) if !good => {}
            other => panic!("{list}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn b12_without_the_api_the_fallback_tag_holds_the_referrers() {
    let fake = Fake::with(Behaviour { referrers_api: false, subject_header: false, ..Behaviour::default() });
    let remote = remote(&fake);
    let subject = fake.seed_manifest("shop", MANIFEST, b"{}");
    let subject_digest = digest(&subject);
    for note in ["a", "b", "a"] {
        let bytes = referrer_of(&subject, note);
        let which = Which::Digest(Digest::of(&bytes));
        let put = remote.put_manifest("shop", which, MANIFEST, Bytes::from(bytes.clone())).await.unwrap();
        assert!(!put.subject_acknowledged);
        remote.attach_fallback("shop", subject_digest, &[descriptor(&bytes)]).await.unwrap();
    }
    let Listing::Listed(all) = remote.referrers("shop", subject_digest).await.unwrap() else { panic!() };
    assert_eq!(all, [descriptor(&referrer_of(&subject, "a")), descriptor(&referrer_of(&subject, "b"))]);
    // An acknowledgement of another subject is none.
    let bytes = referrer_of(&subject, "c");
    let which = Which::Digest(Digest::of(&bytes));
    let other = Reply::Header("oci-subject", Digest::of(b"other").to_string());
    fake.on("PUT", "/manifests/", 1, other);
    let put = remote.put_manifest("shop", which, MANIFEST, Bytes::from(bytes.clone())).await.unwrap();
    assert!(!put.subject_acknowledged);
    fake.behave(|behaviour| behaviour.subject_header = true);
    let put = remote.put_manifest("shop", which, MANIFEST, Bytes::from(bytes)).await.unwrap();
    assert!(put.subject_acknowledged);
}

/// That one repository has no API says where to look first in another, and no more.
#[tokio::test]
async fn b12_a_guess_about_the_api_is_never_the_answer() {
    let fake = Fake::with(Behaviour { referrers_api: false, subject_header: false, ..Behaviour::default() });
    let subject = digest(&fake.seed_manifest("prod", MANIFEST, b"{}"));
    let remote = remote(&fake);
    let ours = descriptor(&referrer_of(&subject.to_string(), "a"));
    remote.attach_fallback("prod", subject, std::slice::from_ref(&ours)).await.unwrap();
    // Nothing is known of the registry.
    assert_eq!(remote.likely("prod", subject).await, None);
    assert_eq!(remote.referrers("shop", subject).await.unwrap(), Listing::Unsupported);
    fake.forget_log();
    assert_eq!(remote.likely("prod", subject).await, Some(vec![ours]));
    assert_eq!((fake.log().len(), fake.count("GET", "/referrers/")), (1, 0));
    // Nothing is there, or something else: the question is open, and nobody has answered it for the repository.
    let junk = fake.seed_manifest("prod", MANIFEST, b"[]");
    fake.tag("prod", &format!("sha256-{}", subject.hex()), &junk);
    assert_eq!(remote.likely("prod", subject).await, None);
    assert_eq!(remote.likely("prod", Digest::of(b"none")).await, None);
    assert_eq!(remote.has_referrers_api("prod"), None);
    // This one has it.
    fake.behave(|behaviour| behaviour.referrers_api = true);
    assert_eq!(remote.referrers("prod", subject).await.unwrap(), Listing::Listed(vec![]));
    fake.forget_log();
    assert_eq!(remote.likely("prod", subject).await, None);
    assert_eq!(remote.likely("other", subject).await, None, "another has it");
    assert_eq!(fake.log().len(), 0);
}

#[tokio::test]
async fn b12_two_writers_of_a_fallback_tag_lose_nothing_or_say_so() {
    let fake = Fake::with(Behaviour { referrers_api: false, subject_header: false, ..Behaviour::default() });
    let subject = fake.seed_manifest("shop", MANIFEST, b"{}");
    let name = format!("sha256-{}", digest(&subject).hex());
    let empty = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "x": "kept" }).to_string();
    let empty_digest = fake.seed_manifest("shop", INDEX, empty.as_bytes());
    fake.tag("shop", &name, &empty_digest);
    // The first write vanishes: it is told to have happened.
    fake.on("PUT", "/manifests/sha256-", 1, Reply::status(201));
    let bytes = referrer_of(&subject, "a");
    let remote = remote(&fake);
    remote.attach_fallback("shop", digest(&subject), &[descriptor(&bytes)]).await.unwrap();
    let now = fake.manifest("shop", &fake.tagged("shop", &name).unwrap()).unwrap();
    let now: serde_json::Value = serde_json::from_slice(&now).unwrap();
    assert_eq!((now["x"].as_str(), now["manifests"].as_array().unwrap().len()), (Some("kept"), 1));
    // Every write vanishes.
    fake.on("PUT", "/manifests/sha256-", usize::MAX, Reply::status(201));
    let bytes = referrer_of(&subject, "b");
    let error = remote.attach_fallback("shop", digest(&subject), &[descriptor(&bytes)]).await.unwrap_err();
    assert!(matches!(error, RegistryError::FallbackLost { tries: 5, .. }), "{error}");
    // Something else lives under the tag.
    let image = fake.seed_manifest("shop", MANIFEST, b"{\"schemaVersion\":2}");
    fake.tag("shop", &name, &image);
    assert!(remote.attach_fallback("shop", digest(&subject), &[descriptor(&bytes)]).await.is_err());
    assert!(remote.referrers("shop", digest(&subject)).await.is_err());
}

/// Whoever read the tag before our write is given as long to write his as we took, and more, before ours is looked at again.
#[tokio::test]
async fn b12_a_fallback_tag_is_read_back_when_another_writer_has_had_his_turn() {
    let fake = Fake::with(Behaviour {
        referrers_api: false,
        subject_header: false,
        latency: Duration::from_millis(20),
        ..Behaviour::default()
    });
    let subject = fake.seed_manifest("shop", MANIFEST, b"{}");
    let ours = descriptor(&referrer_of(&subject, "a"));
    remote(&fake).attach_fallback("shop", digest(&subject), &[ours]).await.unwrap();
    let log = fake.log();
    let [read, write, back] = &log[..] else { panic!("{log:#?}") };
    assert_eq!([&read.method, &write.method, &back.method], ["GET", "PUT", "GET"]);
    // As the server saw it: less than the client took, and less than the client waited.
    let (took, waited) = (write.time.1 - read.time.0, back.time.0 - write.time.1);
    assert!(waited > took.min(Duration::from_secs(4)), "{took:?} {waited:?}");
}

/// A registry that looks for what an index lists has not found all of it: others take away what they attached, or it was
/// nobody's tag and was cleaned up (`tests/real_registry.rs` has one such registry).
#[tokio::test]
async fn b12_what_was_taken_away_does_not_keep_others_from_being_listed() {
    let fake = Fake::with(Behaviour { referrers_api: false, subject_header: false, ..Behaviour::default() });
    let subject = fake.seed_manifest("shop", MANIFEST, b"{}");
    let (there, gone) = (referrer_of(&subject, "there"), referrer_of(&subject, "gone"));
    fake.seed_manifest("shop", MANIFEST, &there);
    let remote = remote(&fake);
    remote.attach_fallback("shop", digest(&subject), &[descriptor(&there), descriptor(&gone)]).await.unwrap();
    let refuse =
        |times| fake.on("PUT", "/manifests/sha256-", times, Reply::error(400, "MANIFEST_BLOB_UNKNOWN"));
    // 1. What is there stays, what is not goes.
    let ours = referrer_of(&subject, "ours");
    fake.seed_manifest("shop", MANIFEST, &ours);
    refuse(1);
    remote.attach_fallback("shop", digest(&subject), &[descriptor(&ours)]).await.unwrap();
    let both = [descriptor(&there), descriptor(&ours)];
    assert_eq!(remote.referrers("shop", digest(&subject)).await.unwrap(), Listing::Listed(both.to_vec()));
    // 2. Nothing is missing any more: it is asked again, and that is all.
    let late = referrer_of(&subject, "late");
    fake.seed_manifest("shop", MANIFEST, &late);
    refuse(2);
    remote.attach_fallback("shop", digest(&subject), &[descriptor(&late)]).await.unwrap();
    let all = [both.to_vec(), vec![descriptor(&late)]].concat();
    assert_eq!(remote.referrers("shop", digest(&subject)).await.unwrap(), Listing::Listed(all.clone()));
    // 3. It is refused for good, or nobody can say what is there: nothing is taken out.
    let never = descriptor(&referrer_of(&subject, "never"));
    refuse(5);
    let error =
        remote.attach_fallback("shop", digest(&subject), std::slice::from_ref(&never)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 400, .. }), "{error}");
    refuse(1);
    fake.on("HEAD", "/manifests/", usize::MAX, Reply::status(503));
    let error =
        remote.attach_fallback("shop", digest(&subject), std::slice::from_ref(&never)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 503, .. }), "{error}");
    assert_eq!(remote.referrers("shop", digest(&subject)).await.unwrap(), Listing::Listed(all));
    // 4. Another refusal is one at once.
    fake.on("PUT", "/manifests/sha256-", 1, Reply::error(400, "MANIFEST_INVALID"));
    fake.forget_log();
    assert!(remote.attach_fallback("shop", digest(&subject), &[never]).await.is_err());
    assert_eq!((fake.count("PUT", ""), fake.count("HEAD", "")), (1, 0));
}

/// Some tools write an empty list as `null`.
#[tokio::test]
async fn b12_null_under_a_fallback_tag_is_an_empty_list_to_add_to() {
    let fake = Fake::with(Behaviour { referrers_api: false, subject_header: false, ..Behaviour::default() });
    let subject = fake.seed_manifest("shop", MANIFEST, b"{}");
    let null = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":null}}"#);
    let null = fake.seed_manifest("shop", INDEX, null.as_bytes());
    fake.tag("shop", &format!("sha256-{}", digest(&subject).hex()), &null);
    let remote = remote(&fake);
    let ours = descriptor(&referrer_of(&subject, "a"));
    assert_eq!(remote.referrers("shop", digest(&subject)).await.unwrap(), Listing::Listed(Vec::new()));
    remote.attach_fallback("shop", digest(&subject), std::slice::from_ref(&ours)).await.unwrap();
    assert_eq!(remote.referrers("shop", digest(&subject)).await.unwrap(), Listing::Listed(vec![ours]));
}

#[tokio::test]
async fn several_referrers_are_one_write_of_the_fallback_tag() {
    let fake = Fake::with(Behaviour { referrers_api: false, subject_header: false, ..Behaviour::default() });
    let subject = fake.seed_manifest("shop", MANIFEST, b"{}");
    let remote = remote(&fake);
    let (a, b, c) = (referrer_of(&subject, "a"), referrer_of(&subject, "b"), referrer_of(&subject, "c"));
    let both = [descriptor(&a), descriptor(&b)];
    // The write vanishes once, and is made again.
    fake.on("PUT", "/manifests/sha256-", 1, Reply::status(201));
    remote.attach_fallback("shop", digest(&subject), &both).await.unwrap();
    assert_eq!(fake.count("PUT", "/manifests/sha256-"), 2);
    let Listing::Listed(all) = remote.referrers("shop", digest(&subject)).await.unwrap() else { panic!() };
    assert_eq!(all, both);
    // What is listed is not listed twice, and what is not is added.
    fake.forget_log();
    remote.attach_fallback("shop", digest(&subject), &both).await.unwrap();
    assert_eq!(fake.count("PUT", ""), 0);
    remote.attach_fallback("shop", digest(&subject), &[descriptor(&b), descriptor(&c)]).await.unwrap();
    let Listing::Listed(all) = remote.referrers("shop", digest(&subject)).await.unwrap() else { panic!() };
    assert_eq!(all, [descriptor(&a), descriptor(&b), descriptor(&c)]);
}
