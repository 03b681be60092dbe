//! How the bytes are carried: several blobs at a time and no more, over connections that are used again, past the disk, and
//! on from where the way broke, out of registries that other people wrote, too.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use samebits::closure::OCI_MANIFEST;
use samebits::digest::Digest;
use samebits::reference::Repository;
use serde_json::json;

use super::support::Bench;
use crate::docker_registry::{DockerRegistry, Door};
use crate::proxy::{Answer, Asked, Fault, Proxy, Rule};
use crate::registry::{Behaviour, Fake};
use crate::served::{Maker, Served};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// As many uploads as there may be at once.
const AT_ONCE: usize = 8;

/// An image of these layers in `to`, tagged `1`; and its digest.
fn image(bench: &Bench, to: &str, layers: &[Vec<u8>]) -> Digest {
    let to: Repository = to.parse().unwrap();
    bench.wait(async {
        let config =
            json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } });
        let config = config.to_string();
        let config = bench.blob(&to, "application/vnd.oci.image.config.v1+json", config.as_bytes()).await;
        let mut listed = Vec::new();
        for layer in layers {
            listed.push(bench.blob(&to, LAYER, layer).await);
        }
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": listed });
        let tag = "1".parse().unwrap();
        let bytes = manifest.to_string().into();
        bench.registries().push_manifest(&to, OCI_MANIFEST, bytes, Some(&tag)).await.unwrap()
    })
}

/// Bytes that no two places have in common.
fn bytes(length: u32) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// What a [`Wire`] saw.
#[derive(Default)]
struct Seen {
    connections: usize,
    requests: usize,
    now: usize,
    most: usize,
}

/// Passes connections on to a registry, and answers no upload before as many are under way as there may be at once.
fn wire(upstream: &str) -> (String, Arc<(Mutex<Seen>, Condvar)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let seen = Arc::<(Mutex<Seen>, Condvar)>::default();
    let (kept, upstream) = (Arc::clone(&seen), upstream.to_owned());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, seen, upstream) = (client.unwrap(), Arc::clone(&kept), upstream.clone());
            seen.0.lock().unwrap().connections += 1;
            std::thread::spawn(move || {
                let mut server = TcpStream::connect(upstream).unwrap();
                while let Some((first, asked)) = message(&mut client, false) {
                    seen.0.lock().unwrap().requests += 1;
                    let upload = first.starts_with("PUT ") && first.contains("/blobs/uploads/");
                    if upload {
                        arrive(&seen);
                    }
                    server.write_all(&asked).unwrap();
                    let (_, answer) = message(&mut server, first.starts_with("HEAD ")).unwrap();
                    if upload {
                        seen.0.lock().unwrap().now -= 1;
                    }
                    if client.write_all(&answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (host, seen)
}

/// Waits for the others; once all are there, a moment longer for one too many.
fn arrive((seen, changed): &(Mutex<Seen>, Condvar)) {
    let mut seen = seen.lock().unwrap();
    seen.now += 1;
    seen.most = seen.most.max(seen.now);
    changed.notify_all();
    let (seen, waited) =
        changed.wait_timeout_while(seen, Duration::from_secs(60), |seen| seen.most < AT_ONCE).unwrap();
    assert!(!waited.timed_out(), "{} at once", seen.most);
    drop(changed.wait_timeout_while(seen, Duration::from_millis(200), |seen| seen.most <= AT_ONCE).unwrap());
}

/// One request or answer, whole; its first line.
fn message(wire: &mut TcpStream, bare: bool) -> Option<(String, Vec<u8>)> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        if wire.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text.clone()).unwrap();
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; if bare { 0 } else { length.unwrap_or(0) }];
    wire.read_exact(&mut body).ok()?;
    Some((head.lines().next().unwrap().to_owned(), [text, body].concat()))
}

#[test]
fn eight_blobs_at_a_time_are_sent_and_no_more_and_connections_are_used_again() {
    let (bench, fake) = (Bench::new(), Fake::start());
    let layers: Vec<Vec<u8>> = (0..20_u8).map(|number| vec![number; 1000]).collect();
    let root = image(&bench, "oci:shop", &layers);
    // What refers to it comes at the same time, and counts too.
    for number in 0..20 {
        bench.wait(bench.attach(&"oci:shop".parse().unwrap(), root, &format!("report {number}")));
    }
    let (host, seen) = wire(fake.host());
    bench.copy("oci:shop:1", &format!("{host}/shop:1"), &[]).exits(0);
    assert_eq!(fake.tagged("shop", "1"), Some(root.to_string()));
    let seen = seen.0.lock().unwrap();
    assert_eq!(seen.most, AT_ONCE);
    // Each blob is looked for, opened and sent.
    assert!(seen.requests > 3 * 40, "{}", seen.requests);
    // Eight requests at a time for the image, eight for what refers to it; and some more connections, since one is opened
    // for whoever finds none idle, though another may become idle before it is there.
    assert!(seen.connections <= 3 * AT_ONCE, "{} for {}", seen.connections, seen.requests);
}

/// Between registries nothing touches the disk: a process that may write no file is not in the way.
#[cfg(target_os = "linux")]
#[test]
fn between_registries_no_file_is_written() {
    let bench = Bench::new();
    let (here, there) =
        (Fake::start(), Fake::with(Behaviour { longest: Some(1 << 20), ..Behaviour::default() }));
    let (from, to) = (format!("{}/shop:1", here.host()), format!("{}/shop:1", there.host()));
    let root = image(&bench, &format!("{}/shop", here.host()), &[bytes(3 << 20), bytes(1000)]);
    let command = bench.yard.command(["copy", &from, &to]);
    let args: Vec<_> = command.get_args().map(|arg| arg.to_str().unwrap()).collect();
    let mut limited = std::process::Command::new("/bin/sh");
    limited.args(["-c", "ulimit -f 0; exec \"$@\"", "sh"]).arg(command.get_program()).args(args);
    let given = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    limited.env_clear().envs(given).current_dir(bench.yard.path(""));
    crate::cli::ran(&mut limited).exits(0);
    assert_eq!(there.tagged("shop", "1"), Some(root.to_string()));
    // The limit is one: to a layout there is no way past the disk.
    let mut limited = std::process::Command::new("/bin/sh");
    limited.args(["-c", "ulimit -f 0; exec \"$@\"", "sh"]).arg(env!("CARGO_BIN_EXE_samebits"));
    limited.args(["copy", &from, "oci:out:1"]).current_dir(bench.yard.path(""));
    assert_ne!(crate::cli::ran(&mut limited).code, Some(0));
}

/// The way from a registry breaks twice in the middle of a blob, which is asked for from there on.
#[test]
fn f5_a_broken_download_from_a_real_registry_goes_on_where_it_stopped() {
    let (debian, crane, olareg) =
        (DockerRegistry::start(Door::Open), Served::start(Maker::Crane), Served::start(Maker::Olareg));
    let (Some(debian), Some(crane), Some(olareg)) = (debian, crane, olareg) else { return };
    let (bench, layer) = (Bench::new(), bytes(6 << 20));
    let digest = Digest::of(&layer);
    for (name, host) in [("debian", debian.host()), ("crane", crane.host()), ("olareg", olareg.host())] {
        let root = image(&bench, &format!("{host}/shop"), std::slice::from_ref(&layer));
        let there = Fake::start();
        let proxy = Proxy::start(&host);
        let to = [format!("oci:{name}"), format!("oci:{name}.tar"), format!("{}/shop", there.host())];
        for to in &to {
            let path = format!("/blobs/{digest}");
            let rule = Rule::new(
                move |asked| asked.method == "GET" && asked.target.ends_with(&path),
                2,
                Fault::Truncated,
            );
            proxy.rule(rule);
            proxy.take_log();
            bench.copy(&format!("{}/shop:1", proxy.host()), &format!("{to}:1"), &[]).exits(0);
            assert_eq!((proxy.fired(), bench.tagged(to, "1")), (2, Some(root)), "{name} to {to}");
            let asked = proxy.take_log();
            let asked =
                asked.iter().filter(|one| one.target.ends_with(&digest.to_string()) && one.method == "GET");
            let from: Vec<u64> = asked
                .map(|one| one.header("range").unwrap_or("bytes=0-"))
                .map(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap())
                .collect();
            // Half of it came, and half of what was asked for then. Crane knows no range without an end, and gives all of it.
            let third = if name == "crane" { 0 } else { 9 << 19 };
            assert_eq!(from, [0, 3 << 20, third], "{name} to {to}");
            let read = bench.wait(bench.registries().blob_bytes(&to.parse().unwrap(), digest, 8 << 20));
            assert!(read.unwrap().unwrap() == layer, "{name} to {to}");
        }
    }
}

/// What stands in front of a registry may take no long requests: then each of them gets a blob in chunks.
#[test]
fn what_takes_no_long_requests_before_a_real_registry_gets_chunks() {
    let (debian, crane, olareg) =
        (DockerRegistry::start(Door::Open), Served::start(Maker::Crane), Served::start(Maker::Olareg));
    let (Some(debian), Some(crane), Some(olareg)) = (debian, crane, olareg) else { return };
    let (bench, layer) = (Bench::new(), bytes((3 << 20) + 1000));
    let root = image(&bench, "oci:shop", std::slice::from_ref(&layer));
    for (name, host) in [("debian", debian.host()), ("crane", crane.host()), ("olareg", olareg.host())] {
        let proxy = Proxy::start(&host);
        let too_long = Fault::Instead(Answer::new(413, &[], b"too long"));
        proxy.rule(Rule::new(|asked| asked.body.len() > 1 << 20, usize::MAX, too_long));
        let to = format!("{}/shop", proxy.host());
        bench.copy("oci:shop:1", &format!("{to}:1"), &[]).exits(0);
        assert_eq!(bench.tagged(&to, "1"), Some(root), "{name}");
        let log = proxy.take_log();
        let taken = |one: &&Asked| one.method == "PATCH" && one.body.len() <= 1 << 20;
        let chunks: usize = log.iter().filter(taken).map(|one| one.body.len()).sum();
        assert_eq!(chunks, layer.len(), "{name}: nothing was sent twice");
        let digest = Digest::of(&layer);
        let read = bench.wait(bench.registries().blob_bytes(&to.parse().unwrap(), digest, 8 << 20));
        assert!(read.unwrap().unwrap() == layer, "{name}");
    }
}
