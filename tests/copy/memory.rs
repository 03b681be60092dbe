//! However large a blob is and however slowly it is taken: the process stays small.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::process::{Command, Stdio};

use samebits::closure::OCI_MANIFEST;
use samebits::digest::{Digest, Hasher};
use samebits::reference::Repository;
use serde_json::json;

use super::support::Bench;

const MIB: u64 = 1 << 20;
const BLOB: u64 = 512 * MIB;
/// What DESIGN.md, section 10, allows, in KiB.
const LIMIT: u64 = 64 << 10;

/// A registry that takes an upload in sips: it reads 64 KiB and then lets others run, and keeps nothing of it.
fn sipping() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for wire in listener.incoming() {
            let mut wire = wire.unwrap();
            std::thread::spawn(move || {
                while let Some((first, length)) = head(&mut wire) {
                    let mut left = length;
                    let mut some = vec![0; 64 << 10];
                    while left > 0 {
                        let most = some.len().min(usize::try_from(left).unwrap());
                        let Ok(read @ 1..) = wire.read(&mut some[..most]) else { return };
                        left -= read as u64;
                        std::thread::yield_now();
                    }
                    let answer = match first.split(' ').next().unwrap() {
                        "POST" => "202 Accepted\r\nlocation: /v2/shop/blobs/uploads/1",
                        "PUT" => "201 Created",
                        "HEAD" if first.contains("/blobs/") => "404 Not Found",
                        _ => "403 Enough",
                    };
                    let _ = write!(wire, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    host
}

/// The first line of a request, and the length of its body.
fn head(wire: &mut std::net::TcpStream) -> Option<(String, u64)> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        if wire.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap().to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let (first, length) = (text.lines().next().unwrap().to_uppercase(), length.trim().parse().unwrap());
    Some((first.replace("/BLOBS/", "/blobs/"), length))
}

/// The digest of so many zeros.
fn of_zeros(length: u64) -> Digest {
    let zeros = vec![0; MIB as usize];
    let mut hasher = Hasher::default();
    (0..length / MIB).for_each(|_| hasher.update(&zeros));
    hasher.finish()
}

/// The highest that a copy ever was, in KiB, and what it said.
#[allow(clippy::print_stdout, reason = "a figure, for who asks for it")]
fn highest(bench: &Bench, args: [&str; 3]) -> (u64, String) {
    // It is in /proc until the process is reaped.
    let binary = env!("CARGO_BIN_EXE_samebits");
    let mut running = Command::new(binary)
        .arg("copy")
        .args(args)
        .current_dir(bench.yard.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", running.id());
    let (mut peak, mut said) = (0, String::new());
    while running.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
        peak = peak.max(high.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    println!("{args:?}: {peak} KiB at the highest");
    (peak, said)
}

/// The copy ends where the manifest is read back, which this registry does not let; by then the blob is over.
#[test]
fn f4_half_a_gibibyte_is_copied_in_less_than_64_mib() {
    let bench = Bench::new();
    // A blob of zeros, which takes no room on the disk.
    let digest = of_zeros(BLOB);
    bench.wait(async {
        let shop: Repository = "oci:shop".parse().unwrap();
        let config =
            json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } });
        let config = config.to_string();
        let config = bench.blob(&shop, "application/vnd.oci.image.config.v1+json", config.as_bytes()).await;
        let layer =
            json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": BLOB });
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer] });
        let tag = "1".parse().unwrap();
        bench
            .registries()
            .push_manifest(&shop, OCI_MANIFEST, manifest.to_string().into(), Some(&tag))
            .await
            .unwrap();
    });
    let file = bench.yard.path(&format!("shop/blobs/sha256/{}", digest.hex()));
    let mut file = std::fs::File::create(file).unwrap();
    file.seek(SeekFrom::Start(BLOB - 1)).unwrap();
    file.write_all(&[0]).unwrap();
    drop(file);
    let to = format!("{}/shop:1", sipping());
    let (peak, said) = highest(&bench, ["oci:shop:1", &to, "--quiet"]);
    assert!(said.contains("reading manifest") && said.contains("403"), "{said}");
    assert!(peak > 1 << 10 && peak < LIMIT, "{peak} KiB");
}

/// A registry that hands out one image, whose only layer are zeros that it does not have.
fn pouring(length: u64) -> String {
    let config =
        json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } })
            .to_string();
    let layer = of_zeros(length);
    let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(config.as_bytes()), "size": config.len() },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": length }] });
    let manifest = manifest.to_string();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for wire in listener.incoming() {
            let (mut wire, config, manifest) = (wire.unwrap(), config.clone(), manifest.clone());
            std::thread::spawn(move || {
                while let Some((first, _)) = head(&mut wire) {
                    let asked = first.to_lowercase();
                    let found = |length: u64| {
                        format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: {OCI_MANIFEST}\r\ncontent-length: {length}\r\n\r\n"
                        )
                    };
                    let answer = if asked.contains("/manifests/") {
                        found(manifest.len() as u64) + &manifest
                    } else if asked.contains(&layer.hex()) {
                        found(length)
                    } else {
                        found(config.len() as u64) + &config
                    };
                    let mut sent = wire.write_all(answer.as_bytes());
                    let zeros = [0; 64 << 10];
                    for _ in 0..if asked.contains(&layer.hex()) { length / zeros.len() as u64 } else { 0 } {
                        sent = sent.and_then(|()| wire.write_all(&zeros));
                    }
                    if sent.is_err() {
                        return;
                    }
                }
            });
        }
    });
    host
}

/// However fast it comes and wherever it goes to.
#[test]
fn f4_what_a_registry_pours_out_is_not_held() {
    let (bench, length) = (Bench::new(), 192 * MIB);
    let from = format!("{}/shop:1", pouring(length));
    for to in [format!("{}/shop:1", sipping()), "oci:folder:1".to_owned(), "oci:archive.tar:1".to_owned()] {
        let (peak, said) = highest(&bench, [&from, &to, "--no-referrers"]);
        // The registry does not let the manifest be read back; by then the blob is over.
        let end = if to.starts_with("oci:") { "read back" } else { "403" };
        assert!(said.contains(end), "{to}: {said}");
        assert!(peak > 1 << 10 && peak < LIMIT, "{to}: {peak} KiB");
    }
}
