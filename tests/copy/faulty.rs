//! What the binary says of each fault of a registry, on either side: exit 3, the side, and what to do; or exit 0 and all of it.
//! Everything that can go wrong with every kind of request is in `tests/faults.rs`, below the binary.

use std::sync::Mutex;

use samebits::digest::Digest;
use samebits::reference::{Image, Repository};

use super::support::{Bench, Pushed};
use crate::proxy::{Answer, Asked, Fault, Proxy, Rule};
use crate::registry::{Fake, INDEX};

/// What is asked for.
const THINGS: [&str; 4] = ["manifest", "blob", "referrers", "tag"];
/// What is wrong with the answer.
const FAULTS: [&str; 12] = [
    "429",
    "500",
    "502",
    "reset",
    "truncated",
    "other bytes",
    "other length",
    "redirect",
    "endless",
    "lying digest",
    "stale",
    "gzip",
];

fn fault(name: &str, thing: &str, stranger: &str) -> Fault {
    let instead = |status| Fault::Instead(Answer::new(status, &[], b""));
    match name {
        "429" => instead(429),
        "500" => instead(500),
        "502" => instead(502),
        "reset" => Fault::ResetInside,
        "truncated" => Fault::Truncated,
        "other bytes" => Fault::WrongBytes,
        "other length" => Fault::Longer,
        "redirect" => Fault::RedirectTo(format!("http://{}", stranger.replace("127.0.0.1", "localhost"))),
        "endless" => Fault::Endless,
        "lying digest" => Fault::Header("docker-content-digest", Digest::of(b"something else").to_string()),
        "gzip" => Fault::Gzip,
        _ if thing == "referrers" => {
            let none = br#"{"schemaVersion":2,"manifests":[]}"#;
            Fault::Instead(Answer::new(200, &[("content-type", INDEX)], none))
        }
        _ => Fault::Instead(Answer::new(404, &[], br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#)),
    }
}

/// Whether this is a question about the thing, at the source or at the destination; every time that it is asked.
fn about(thing: &str, pushed: &Pushed, at_source: bool) -> impl Fn(&Asked) -> bool + Send + Sync + use<> {
    let child = pushed.platform("amd64");
    let layer = pushed.closure.manifest(child).unwrap().blobs[1].digest;
    let (method, path) = match (thing, at_source) {
        ("manifest", _) => ("GET", format!("/manifests/{child}")),
        ("blob", true) => ("GET", format!("/blobs/{layer}")),
        ("blob", false) => ("PUT", "/blobs/uploads/".to_owned()),
        ("referrers", _) => ("GET", format!("/referrers/{}", pushed.image.digest)),
        (_, true) => ("GET", "/manifests/1".to_owned()),
        (_, false) => ("PUT", "/manifests/1".to_owned()),
    };
    move |asked| asked.method == method && asked.target.contains(&path)
}

/// Whether all can be well with it: the body of an answer to a write says nothing, a listing has no digest of its own, and
/// JSON may end in a space; and nobody can know what a source does not list.
fn is_harmless(fault: &str, thing: &str, at_source: bool) -> bool {
    match thing {
        "referrers" => ["lying digest", "other length"].contains(&fault) || (at_source && fault == "stale"),
        "blob" | "tag" if !at_source => {
            ["other bytes", "other length", "reset", "truncated"].contains(&fault)
        }
        _ => false,
    }
}

#[test]
fn f5_each_fault_of_either_side_is_exit_3_with_the_side_and_what_to_do() {
    let rows: Vec<_> = [true, false]
        .into_iter()
        .flat_map(|at_source| THINGS.map(|thing| (at_source, thing)))
        .flat_map(|(at_source, thing)| FAULTS.map(|fault| (at_source, thing, fault)))
        .collect();
    let queue = Mutex::new(rows.iter().enumerate());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (bench, here, there) = (Bench::new(), Fake::start(), Fake::start());
                let [source, destination] = [&here, &there].map(|fake| Proxy::start(fake.host()));
                let stranger = Proxy::stranger();
                let from = format!("{}/shop", source.host());
                let pushed = bench.push(&from, "hello");
                loop {
                    let Some((row, &(at_source, thing, name))) = queue.lock().unwrap().next() else { return };
                    let said = format!(
                        "{name} of a {thing} at the {}",
                        if at_source { "source" } else { "destination" }
                    );
                    let to = format!("{}/r{row}", destination.host());
                    let proxy = if at_source { &source } else { &destination };
                    let fault = fault(name, thing, stranger.host());
                    proxy.rule(Rule::new(about(thing, &pushed, at_source), usize::MAX, fault));
                    let ran = bench.copy(&format!("{from}:1"), &format!("{to}:1"), &[]);
                    assert!(proxy.fired() > 0, "{said}: never asked");
                    proxy.mend();
                    let to: Repository = to.parse().unwrap();
                    let tagged = there.tagged(&format!("r{row}"), "1");
                    let whole = Image::new(to.clone(), pushed.image.digest);
                    let whole = bench.wait(bench.registries().closure_if_whole(&whole)).unwrap().is_some();
                    assert!(tagged.is_none() || whole, "{said}: a tag of half an image: {ran:?}");
                    match ran.code {
                        Some(0) => {
                            assert_eq!(tagged, Some(pushed.image.digest.to_string()), "{said}: {ran:?}");
                            assert!(is_harmless(name, thing, at_source), "{said}: {ran:?}");
                        }
                        code => {
                            assert_eq!((code, ran.stdout.as_str()), (Some(3), ""), "{said}: {ran:?}");
                            let (side, place) =
                                if at_source { ("source", &from) } else { ("destination", &to.to_string()) };
                            assert!(
                                ran.stderr.contains(&format!("error: {side} {place}\n")),
                                "{said}: {ran:?}"
                            );
                            assert!(ran.stderr.contains("\nhint: "), "{said}: {ran:?}");
                        }
                    }
                    assert!(stranger.take_log().iter().all(|asked| asked.header("authorization").is_none()));
                }
            });
        }
    });
}
