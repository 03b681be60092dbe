//! However large a blob is and however slowly it is taken: the process stays small.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::process::{Command, Stdio};

use samebits::closure::OCI_MANIFEST;
use samebits::digest::Hasher;
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

/// The copy ends where the manifest is read back, which this registry does not let; by then the blob is over.
#[test]
#[allow(clippy::print_stdout, reason = "a figure, for who asks for it")]
fn f4_half_a_gibibyte_is_copied_in_less_than_64_mib() {
    let bench = Bench::new();
    // A blob of zeros, which takes no room on the disk.
    let zeros = vec![0; MIB as usize];
    let mut hasher = Hasher::default();
    (0..BLOB / MIB).for_each(|_| hasher.update(&zeros));
    let digest = hasher.finish();
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
    // The highest it ever was is in KiB in /proc until the process is reaped.
    let binary = env!("CARGO_BIN_EXE_samebits");
    let mut running = Command::new(binary)
        .args(["copy", "oci:shop:1", &to])
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
    assert!(said.contains("reading manifest") && said.contains("403"), "{said}");
    println!("{peak} KiB at the highest");
    assert!(peak > 1 << 10 && peak < LIMIT, "{peak} KiB");
}
