//! Layouts in a tar archive: written in one go, the same bytes each time, and read as a folder is.

use std::path::Path;

use samebits::archive::{self, Entries};
use samebits::reference::{Image, Repository};

use super::support::Bench;
use crate::registry::{Behaviour, Fake, Reply};

/// What an archive holds: names and bytes.
fn files(path: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = Entries::open(path, 1000).unwrap();
    let read = |name: &str| {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entries.read(name).unwrap().unwrap(), &mut bytes).unwrap();
        bytes
    };
    entries.names().map(|name| (name.to_owned(), read(name))).collect()
}

fn write(path: &Path, files: &[(String, Vec<u8>)]) {
    let mut bytes = Vec::new();
    for (name, content) in files {
        let length = content.len() as u64;
        bytes.extend(archive::header(name, length).unwrap().as_bytes());
        bytes.extend(content);
        bytes.extend(archive::padding(length));
    }
    bytes.extend(archive::END);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn an_image_goes_through_an_archive_with_all_that_refers_to_it() {
    let bench = Bench::new();
    let (here, there) = (Fake::start(), Fake::start());
    let from = format!("{}/shop", here.host());
    let pushed = bench.push(&from, "hello");
    let digest = pushed.image.digest;
    let ran = bench.copy(&format!("{from}:1"), "oci:backup.tar:1", &[]).exits(0);
    assert_eq!(ran.stdout, format!("oci:backup.tar@{digest}\n"), "{}", ran.stderr);
    bench.is_whole(&pushed, "oci:backup.tar");
    assert_eq!(bench.tagged("oci:backup.tar", "1"), Some(digest));
    for to in [format!("{}/restored", there.host()), "oci:folder".to_owned(), "oci:second.tar".to_owned()] {
        bench.copy("oci:backup.tar:1", &format!("{to}:1"), &[]).exits(0);
        bench.is_whole(&pushed, &to);
        assert_eq!(bench.tagged(&to, "1"), Some(digest));
    }
    // The same from everywhere, byte for byte, in the order of the names.
    bench.copy("oci:folder:1", "oci:third.tar:1", &[]).exits(0);
    let bytes = |name: &str| std::fs::read(bench.yard.path(name)).unwrap();
    assert_eq!(bytes("backup.tar"), bytes("second.tar"));
    assert_eq!(bytes("backup.tar"), bytes("third.tar"));
    let mut names = tar::Archive::new(&bytes("backup.tar")[..])
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            assert_eq!((entry.header().mtime().unwrap(), entry.header().uid().unwrap()), (0, 0));
            entry.path().unwrap().to_str().unwrap().to_owned()
        })
        .collect::<Vec<_>>();
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(names.split_off(names.len() - 2), ["index.json", "oci-layout"]);
}

#[test]
fn platforms_and_an_image_alone_go_into_an_archive_too() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    let both = ["--platform", "linux/amd64", "--platform", "linux/arm64"];
    bench.copy("oci:shop:1", "oci:both.tar", &both).exits(0);
    bench.copy("oci:shop:1", "oci:alone.tar:1", &["--no-referrers"]).exits(0);
    let (both, alone): (Repository, Repository) =
        ("oci:both.tar".parse().unwrap(), "oci:alone.tar".parse().unwrap());
    bench.wait(async {
        for architecture in ["amd64", "arm64"] {
            let image = Image::new(both.clone(), pushed.platform(architecture));
            assert!(bench.registries().closure_if_whole(&image).await.unwrap().is_some());
        }
        bench.has_image(&pushed, &alone).await;
        for (subject, referrer) in &pushed.attached {
            assert!(!bench.refers(&alone, *subject, *referrer).await);
        }
    });
    assert_eq!(bench.tagged("oci:alone.tar", "1"), Some(pushed.image.digest));
}

#[test]
fn nothing_is_overwritten_or_added_to_and_nothing_half_is_left() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    bench.copy("oci:shop:1", "oci:a.tar:1", &[]).exits(0);
    let before = std::fs::read(bench.yard.path("a.tar")).unwrap();
    let refused = bench.copy("oci:shop:1", "oci:a.tar:2", &[]).exits(2);
    assert!(refused.stderr.contains("nothing is overwritten"), "{}", refused.stderr);
    assert_eq!(std::fs::read(bench.yard.path("a.tar")).unwrap(), before);
    // Nor by anything else in the library.
    let image = Image::new("oci:a.tar".parse().unwrap(), pushed.image.digest);
    let error = bench.wait(bench.registries().set_tag(&image, &"2".parse().unwrap())).unwrap_err();
    assert!(error.to_string().contains("nothing is added to it"), "{error}");
    // Somebody is writing it, or was killed.
    bench.yard.write("b.tar.partial", "");
    let refused = bench.copy("oci:shop:1", "oci:b.tar:1", &[]).exits(2);
    assert!(refused.stderr.contains("b.tar.partial is there"), "{}", refused.stderr);
    // A source that is not whole.
    let fake = Fake::start();
    let from = format!("{}/shop", fake.host());
    let pushed = bench.push(&from, "hello");
    let blob = pushed.closure.blobs()[0].digest;
    fake.on("GET", &format!("/blobs/{blob}"), usize::MAX, Reply::Bytes(b"other bytes".to_vec()));
    let refused = bench.copy(&format!("{from}:1"), "oci:c.tar:1", &[]).exits(3);
    assert!(refused.stderr.contains(&format!("source {from}")), "{}", refused.stderr);
    assert!(refused.stderr.contains(&blob.to_string()), "{}", refused.stderr);
    assert!(!bench.yard.path("c.tar").exists() && !bench.yard.path("c.tar.partial").exists());
}

#[test]
fn an_archive_that_was_tampered_with_gives_nothing_a_tag() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    bench.copy("oci:shop:1", "oci:good.tar:1", &[]).exits(0);
    let good = files(&bench.yard.path("good.tar"));
    let blob = format!("blobs/sha256/{}", pushed.closure.blobs()[0].digest.hex());
    let root = format!("blobs/sha256/{}", pushed.image.digest.hex());
    let to = "oci:to";
    for (number, name) in [&blob, &root].into_iter().enumerate() {
        for change in ["changed", "gone", "twice"] {
            let mut files = good.clone();
            let at = files.iter().position(|(there, _)| there == name).unwrap();
            match change {
                "changed" => files[at].1[0] ^= 1,
                "gone" => drop(files.remove(at)),
                _ => files.push(good[at].clone()),
            }
            let bad = format!("{change}{number}.tar");
            write(&bench.yard.path(&bad), &files);
            let refused = bench.copy(&format!("oci:{bad}:1"), &format!("{to}:1"), &[]).exits(3);
            assert!(refused.stderr.contains(&format!("source oci:{bad}")), "{}", refused.stderr);
            assert_eq!(refused.stdout, "");
        }
    }
    // Cut off; no archive at all; none there.
    let bytes = std::fs::read(bench.yard.path("good.tar")).unwrap();
    bench.yard.write("cut.tar", &bytes[..bytes.len() / 2]);
    bench.yard.write("text.tar", "dear");
    for bad in ["cut.tar", "text.tar", "absent.tar"] {
        let refused = bench.copy(&format!("oci:{bad}:1"), &format!("{to}:1"), &[]).exits(3);
        assert!(refused.stderr.contains(bad), "{}", refused.stderr);
    }
    assert_eq!(
        bench.wait(bench.registries().tagged(&to.parse().unwrap(), &"1".parse().unwrap())).unwrap(),
        None
    );
}

/// Everybody's tar writes what we read.
#[test]
fn a_folder_that_tar_packed_is_read() {
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    let packed = std::process::Command::new("tar")
        .args(["--format=ustar", "-cf", "packed.tar", "-C", "shop", "."])
        .current_dir(bench.yard.path(""))
        .status();
    assert!(packed.unwrap().success());
    bench.is_whole(&pushed, "oci:packed.tar");
    let fake = Fake::with(Behaviour::default());
    let to = format!("{}/to", fake.host());
    bench.copy("oci:packed.tar:1", &format!("{to}:1"), &[]).exits(0);
    bench.is_whole(&pushed, &to);
}
