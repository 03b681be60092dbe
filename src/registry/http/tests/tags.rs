//! All tags of a repository, or none of the answers that could be mistaken for all.

use super::*;

#[tokio::test]
async fn b10_all_pages_of_tags_are_read_or_it_is_no_list() {
    let fake = Fake::start();
    let one = fake.seed_manifest("shop", MANIFEST, b"{}");
    let remote = remote(&fake);
    assert_eq!(remote.tags("shop", 1).await.unwrap().len(), 0);
    for number in 0..1500 {
        fake.tag("shop", &format!("v{number}"), &one);
    }
    assert_eq!(remote.tags("shop", 2).await, None, "a last page that may have been cut");
    fake.tag("shop", "v1500", &one);
    assert_eq!(remote.tags("shop", 2).await.unwrap().len(), 1501);
    assert_eq!(remote.tags("shop", 1).await, None, "half of them");
    // As many as were asked for, or as a registry may give at a time, and no word of more: it may have been cut.
    let tags: Vec<String> = (0..1000).map(|number| format!("v{number}")).collect();
    for (count, whole) in [(49, true), (50, false), (100, false), (101, true), (999, true), (1000, false)] {
        let body = json!({ "name": "shop", "tags": &tags[..count] }).to_string();
        fake.on("GET", "/tags/list", 1, Reply::Instead { status: 200, headers: vec![], body: body.into() });
        assert_eq!(remote.tags("shop", 2).await.is_some(), whole, "{count}");
    }
}

#[tokio::test]
async fn b11_what_is_no_list_of_tags_is_none() {
    let (fake, evil) = (Fake::start(), Fake::start());
    let remote = remote(&fake);
    fake.seed_manifest("shop", MANIFEST, b"{}");
    for body in ["", "<html>", "[]", r#"{"tags":{}}"#, r#"{"tags":"a"}"#, r#"{"tags":[1]}"#] {
        fake.on("GET", "/tags/list", 1, Reply::Bytes(body.into()));
        assert_eq!(remote.tags("shop", 9).await, None, "{body}");
    }
    for status in [202, 204, 400, 401, 403, 404, 405] {
        fake.on("GET", "/tags/list", 1, Reply::status(status));
        assert_eq!(remote.tags("shop", 9).await, None, "{status}");
    }
    for next in [
        format!("<{}/v2/shop/tags/list>; rel=\"next\"", evil.origin()),
        "</v2/shop/tags/list; rel=next".to_owned(),
    ] {
        fake.on("GET", "/tags/list", 1, Reply::Header("link", next));
        assert_eq!(remote.tags("shop", 9).await, None);
    }
    // A saving is not worth waiting for: it is asked for once.
    fake.forget_log();
    fake.on("GET", "/tags/list", 1, Reply::busy(3600));
    assert_eq!((remote.tags("shop", 9).await, fake.log().len()), (None, 1));
    fake.on("GET", "/tags/list", 1, Reply::Endless);
    assert_eq!(remote.tags("shop", 9).await, None);
    assert!(evil.log().is_empty());
    // `null` is how some list nothing, and what is no tag is none that anybody looks for.
    for (tags, count) in [("null", 0), (r#"["1", "not a tag", ""]"#, 1)] {
        fake.on("GET", "/tags/list", 1, Reply::Bytes(format!(r#"{{"tags":{tags}}}"#).into()));
        assert_eq!(remote.tags("shop", 9).await.unwrap().len(), count);
    }
}
