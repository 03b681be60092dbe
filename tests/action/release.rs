//! The scripts of a release (`release/`), run as its workflow runs them: with this build's binary, keys instead of
//! certificates, layouts on disk instead of ghcr.io, and stubs where GitHub or a container engine would be asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use samebits::collect::BUNDLE;
use samebits::digest::Digest;
use samebits::policy::Draft;
use samebits::reference::Image;
use samebits::verify::{COSIGN_SIGN, sign_statement};
use serde_json::{Value, json};

use super::cli::{Ran, Yard, ran};
use super::docker_registry::{DockerRegistry, Door};
use super::peer::{self, is_installed};
use super::runner::{Runner, executable, here};
use super::{ASK, PROGRAM, STUB, arguments};

const VERSION: &str = env!("CARGO_PKG_VERSION");

const TARGETS: [&str; 5] = [
    "aarch64-apple-darwin",
    "aarch64-unknown-linux-musl",
    "x86_64-apple-darwin",
    "x86_64-pc-windows-msvc.exe",
    "x86_64-unknown-linux-musl",
];

/// `release/NAME` in the yard, with nothing of the caller's but the PATH.
fn script(yard: &Yard, name: &str, arguments: &[&str]) -> Command {
    let mut command = peer::alone("bash", &yard.path(""));
    command.args(["--noprofile", "--norc"]).arg(here("release").join(name)).args(arguments);
    command
}

/// A small binary that says the version of this build, for every platform.
fn stub(yard: &Yard, name: &str) -> PathBuf {
    yard.write(name, format!("#!/bin/sh\necho 'samebits {VERSION}' # {name}\n"));
    executable(&yard.path(name));
    yard.path(name)
}

/// A release's binaries in `folder`.
fn binaries(yard: &Yard, folder: &str) {
    std::fs::create_dir_all(yard.path(folder)).unwrap();
    for target in TARGETS {
        yard.write(
            &format!("{folder}/samebits-{VERSION}-{target}"),
            format!("{}# {target}\n", STUB.replace("1.2.3", VERSION)),
        );
    }
}

/// The layout that `image.sh` makes of two binaries, and what it said.
fn image(yard: &Yard, layout: &str, amd64: &Path, arm64: &Path) -> Ran {
    yard.write("roots.pem", "the roots\n");
    let (amd64, arm64) = (format!("amd64={}", amd64.display()), format!("arm64={}", arm64.display()));
    ran(&mut script(yard, "image.sh", &[VERSION, "roots.pem", layout, &amd64, &arm64]))
}

fn blob(yard: &Yard, layout: &str, digest: &str) -> Vec<u8> {
    std::fs::read(yard.path(&format!("{layout}/blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap())))
        .unwrap()
}

fn document(yard: &Yard, layout: &str, digest: &str) -> Value {
    serde_json::from_slice(&blob(yard, layout, digest)).unwrap()
}

#[test]
fn the_checksums_of_a_release_are_those_the_action_takes() {
    let (yard, runner) = (Yard::empty(), Runner::new());
    binaries(&yard, "dist");
    let sums = ran(&mut script(&yard, "checksums.sh", &["dist"])).exits(0).stdout;
    assert_eq!(sums.lines().count(), TARGETS.len());
    std::fs::write(runner.path("action/action/checksums.txt"), &sums).unwrap();
    let release = runner.path(&format!("release/v{VERSION}"));
    std::fs::create_dir_all(&release).unwrap();
    for target in TARGETS {
        let name = format!("samebits-{VERSION}-{target}");
        std::fs::copy(yard.path("dist").join(&name), release.join(&name)).unwrap();
    }
    runner.uses(&ASK).exits(0).says(&format!("samebits: {VERSION}, SHA-256 "));
    assert!(arguments(&runner).is_some());

    std::fs::remove_file(yard.path(&format!("dist/samebits-{VERSION}-x86_64-apple-darwin"))).unwrap();
    assert_ne!(ran(&mut script(&yard, "checksums.sh", &["dist"])).code, Some(0), "all targets, or none");
}

/// A build job that was taken over brings another target's binary, and checksums of its own.
#[test]
fn a_job_brings_what_it_is_there_to_make_and_nothing_else() {
    let yard = Yard::empty();
    let (theirs, windows) = ("x86_64-unknown-linux-musl", "x86_64-pc-windows-msvc");
    let binary = |target: &str| format!("samebits-{VERSION}-{target}");
    for job in [format!("samebits-{theirs}"), format!("samebits-{windows}"), "attested".to_owned()] {
        std::fs::create_dir_all(yard.path(&format!("artifacts/{job}"))).unwrap();
    }
    yard.write(&format!("artifacts/samebits-{theirs}/{}", binary(theirs)), "good");
    yard.write("artifacts/attested/SHA256SUMS", "good");
    for file in [format!("{}.exe", binary(windows)), binary(theirs), "SHA256SUMS".to_owned()] {
        yard.write(&format!("artifacts/samebits-{windows}/{file}"), "evil");
    }
    std::os::unix::fs::symlink("/etc/passwd", yard.path("artifacts/attested/SHA256SUMS.sigstore.json"))
        .unwrap();
    ran(&mut script(&yard, "collect.sh", &["artifacts", "dist"])).exits(0);
    let there = std::fs::read_dir(yard.path("dist")).unwrap().map(|file| file.unwrap().file_name());
    let there: BTreeMap<String, String> = there
        .map(|name| name.into_string().unwrap())
        .map(|name| (name.clone(), yard.read(&format!("dist/{name}"))))
        .collect();
    let expected = [
        (format!("{}.exe", binary(windows)), "evil"),
        (binary(theirs), "good"),
        ("SHA256SUMS".into(), "good"),
    ];
    assert_eq!(there, expected.map(|(name, text): (String, &str)| (name, text.to_owned())).into());
}

#[test]
fn a_tag_that_is_not_the_version_is_no_release() {
    let yard = Yard::empty();
    let version = ran(&mut script(&yard, "version.sh", &[])).exits(0);
    assert_eq!(version.stdout, format!("{VERSION}\n"));
    for tag in ["v0.0.9", VERSION, "main", ""] {
        let refused = ran(&mut script(&yard, "version.sh", &[tag])).exits(1);
        assert!(refused.stderr.contains("the tag is "), "{}", refused.stderr);
    }
    // The policy fits the version; the ledger's key is still nobody's.
    let refused = ran(&mut script(&yard, "version.sh", &[&format!("v{VERSION}")])).exits(1);
    assert!(refused.stderr.contains("has no ledger key of its own yet"), "{}", refused.stderr);
}

/// Whatever cargo made.
#[test]
fn what_is_not_static_or_too_large_or_says_another_version_is_no_binary() {
    let yard = Yard::empty();
    std::fs::create_dir(yard.path("bin")).unwrap();
    let made = "folder=$CARGO_TARGET_DIR/$8/dist\nmkdir -p \"$folder\"\ncp \"$MADE\" \"$folder/samebits\"\n";
    yard.write("bin/cargo", format!("#!/bin/sh\n{made}"));
    executable(&yard.path("bin/cargo"));
    #[allow(clippy::disallowed_methods, reason = "where the tools are")]
    let path = std::env::var("PATH").unwrap();
    let build = |made: &Path, target: &str| {
        let mut command = script(&yard, "build.sh", &[target, yard.path("dist").to_str().unwrap()]);
        command.env("PATH", format!("{}:{path}", yard.path("bin").display()));
        ran(command.env("CARGO_TARGET_DIR", yard.path("target")).env("MADE", made))
    };
    let (mac, linux) = ("aarch64-apple-darwin", "x86_64-unknown-linux-musl");
    let good = stub(&yard, "good");
    build(&good, mac).exits(0);
    yard.write("other", "#!/bin/sh\necho 'samebits 9.9.9'\n");
    executable(&yard.path("other"));
    let large = std::fs::File::create(yard.path("large")).unwrap();
    large.set_len((20 << 20) + 1).unwrap();
    for (made, target, why) in [
        (yard.path("other"), mac, "says that it is samebits 9.9.9"),
        (yard.path("large"), mac, "has 20971521 bytes"),
        (PathBuf::from("/bin/true"), linux, "is not static"),
        (good, linux, "readelf: Error"),
    ] {
        let refused = build(&made, target);
        assert!(refused.code != Some(0) && refused.stderr.contains(why), "{why}: {}", refused.stderr);
    }
}

#[test]
fn the_image_has_one_program_and_no_shell() {
    let yard = Yard::empty();
    let (amd64, arm64) = (stub(&yard, "amd64"), stub(&yard, "arm64"));
    let digest = image(&yard, "layout", &amd64, &arm64).exits(0).stdout.trim().to_owned();
    let index = document(&yard, "layout", &digest);
    for (number, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
        let manifest = &index["manifests"][number];
        assert_eq!(manifest["platform"], json!({ "architecture": architecture, "os": "linux" }));
        let manifest = document(&yard, "layout", manifest["digest"].as_str().unwrap());
        let config = document(&yard, "layout", manifest["config"]["digest"].as_str().unwrap());
        assert_eq!(config["architecture"], architecture);
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/usr/bin/samebits"]));
        let mut files = BTreeMap::new();
        for (place, layer) in manifest["layers"].as_array().unwrap().iter().enumerate() {
            let bytes = blob(&yard, "layout", layer["digest"].as_str().unwrap());
            assert_eq!(bytes.len() as u64, layer["size"].as_u64().unwrap());
            let mut tar = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut tar).unwrap();
            assert_eq!(config["rootfs"]["diff_ids"][place], Digest::of(&tar).to_string());
            for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
                let header = entry.as_ref().unwrap().header();
                let (mode, user) = (header.mode().unwrap() & 0o7777, header.uid().unwrap());
                assert_eq!(header.mtime().unwrap(), 0);
                files.insert(entry.unwrap().path().unwrap().display().to_string(), (mode, user));
            }
        }
        let expected = [
            ("etc/", (0o755, 0)),
            ("etc/ssl/", (0o755, 0)),
            ("etc/ssl/certs/", (0o755, 0)),
            ("etc/ssl/certs/ca-certificates.crt", (0o644, 0)),
            ("home/", (0o755, 65532)),
            ("home/samebits/", (0o700, 65532)),
            ("tmp/", (0o1777, 0)),
            ("usr/", (0o755, 0)),
            ("usr/bin/", (0o755, 0)),
            ("usr/bin/samebits", (0o755, 0)),
        ];
        assert_eq!(files, expected.map(|(name, is)| (name.to_owned(), is)).into());
    }
    let again = image(&yard, "again", &amd64, &arm64).exits(0).stdout;
    assert_eq!(again.trim(), digest, "the same input is the same image");
    let other = image(&yard, "other", &arm64, &amd64).exits(0).stdout;
    assert_ne!(other.trim(), digest);
}

/// As `image-build.yml` pushes it, and as strangers read it.
#[test]
fn the_image_is_read_by_other_peoples_programs() {
    let yard = Yard::new();
    let (amd64, arm64) = (stub(&yard, "amd64"), stub(&yard, "arm64"));
    let digest = image(&yard, "layout", &amd64, &arm64).exits(0).stdout.trim().to_owned();
    let pushed = yard
        .run(["copy", &format!("oci:layout@{digest}"), &format!("oci:registry/build:{VERSION}")])
        .exits(0);
    assert_eq!(pushed.stdout, format!("oci:registry/build@{digest}\n"));
    if is_installed("skopeo") {
        let raw =
            peer::skopeo(&yard.path(""), &["inspect", "--raw", &format!("oci:registry/build:{VERSION}")])
                .unwrap();
        assert_eq!(Digest::of(&raw).to_string(), digest);
        let unpacked = format!("dir:{}", yard.path("unpacked").display());
        let from = format!("oci:layout:{VERSION}");
        peer::skopeo(&yard.path(""), &["copy", "--quiet", "--all", &from, &unpacked]).unwrap();
    }
    if let Some(server) = DockerRegistry::start(Door::Open)
        && is_installed("crane")
    {
        let host = server.host();
        yard.write(
            "policy.toml",
            yard.read("samebits.toml") + &format!("[registries.\"{host}\"]\nplain-http = true\n"),
        );
        let there = format!("{host}/samebits:{VERSION}");
        yard.run(["copy", &format!("oci:layout@{digest}"), &there, "--policy", "policy.toml"]).exits(0);
        // Every digest, size and diff, of both platforms.
        peer::said(peer::alone("crane", &yard.path("")).args(["validate", "--insecure", "--remote", &there]))
            .unwrap();
    }
}

/// The policy of the project with what a test can have: keys, layouts on disk, a ledger in a file.
fn policy(yard: &Yard) -> String {
    let init = yard.read("samebits.toml");
    let ledger = &init[init.find("[ledger]").unwrap()..init.find("# Every role").unwrap()];
    let text = std::fs::read_to_string(here("release/samebits.toml")).unwrap();
    let (head, rest) = text.split_once("[ledger]").unwrap();
    let (_, rest) = rest.split_once("# Three jobs").unwrap();
    let mut text = format!("{head}{ledger}# Three jobs{rest}");
    for signer in ["build", "staging", "release"] {
        let workflow = match signer {
            "release" => "promote",
            other => other,
        };
        let issuer = "issuer            = \"https://token.actions.githubusercontent.com\"";
        let identity = format!(
            "identity          = \"https://github.com/samebits/samebits/.github/workflows/image-{workflow}.yml@refs/tags/v{VERSION}\""
        );
        // Without these, whoever calls the workflow from another repository is the signer (B6).
        let claims = format!(
            "source-repository = \"https://github.com/samebits/samebits\"\nsource-ref        = \"refs/tags/v{VERSION}\"\n\
             workflow-trigger  = \"push\""
        );
        let by_certificate = format!("[signers.{signer}]\n{issuer}\n{identity}\n{claims}\n");
        assert!(text.contains(&by_certificate), "{by_certificate}");
        let by_key =
            format!("[signers.{signer}]\npublic-key = \"keys/{signer}.pub\"\ntime = \"not-required\"\n");
        text = text.replace(&by_certificate, &by_key);
    }
    // A key is worth no more.
    assert!(text.contains("level      = 2"));
    text.replace("level      = 2", "level      = 1")
        .replace("\"ghcr.io/samebits/samebits/", "\"oci:registry/")
        .replace("\"ghcr.io/samebits/samebits\"", "\"oci:registry/production\"")
}

/// As the file stands in the repository it is a policy, without an error.
#[test]
fn the_policy_of_the_project_is_one() {
    let text = std::fs::read_to_string(here("release/samebits.toml")).unwrap();
    let draft = Draft::parse("release/samebits.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(draft.key_files().is_empty(), "three certificates, no key");
    draft.validate(&BTreeMap::new()).unwrap_or_else(|errors| panic!("{errors}"));
    for workflow in ["image-build", "image-staging", "image-promote"] {
        assert!(text.contains(&format!("/.github/workflows/{workflow}.yml@")));
        assert!(here(".github/workflows").join(format!("{workflow}.yml")).exists());
    }
}

/// What GitHub attests of a build by `image-build.yml`, called by `workflow`.
fn attest(yard: &Yard, image: &Image, workflow: &str) {
    let source = "https://github.com/samebits/samebits";
    let tag = format!("refs/tags/v{VERSION}");
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": image.repository, "digest": { "sha256": image.digest.hex() } }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://actions.github.io/buildtypes/workflow/v1",
                "externalParameters": { "workflow": { "ref": tag, "repository": source, "path": workflow } },
                "resolvedDependencies": [
                    { "uri": format!("git+{source}@{tag}"), "digest": { "gitCommit": "a".repeat(40) } },
                ],
            },
            "runDetails": { "builder": { "id": format!("{source}/.github/workflows/image-build.yml@{tag}") } },
        },
    });
    let bundle = sign_statement(statement.to_string().as_bytes(), &yard.key("build")).unwrap();
    let none = BTreeMap::new();
    let attached = yard.registries.attach(image, BUNDLE[0], BUNDLE[0], &bundle, &none);
    yard.runtime.block_on(attached).unwrap();
}

/// A container engine, as far as `staging.sh` asks it: it runs `program`, and says that it ran `image`.
fn engine(yard: &Yard, program: &str, image: &str) {
    yard.write(
        "engine",
        format!(
            "#!/bin/sh\ncase $1 in\n  pull) ;;\n  run) shift; while [ \"$1\" != '{image}' ]; do shift; done; shift; \
             exec {program} \"$@\" ;;\n  image) echo '{image}' ;;\nesac\n"
        ),
    );
    executable(&yard.path("engine"));
}

/// The whole way of our own image: refused without a signature, promoted, run on both platforms, promoted, tagged.
#[test]
fn our_own_image_goes_through_our_own_gate() {
    let yard = Yard::new();
    yard.write("release.toml", policy(&yard));
    let (amd64, arm64) = (stub(&yard, "amd64"), stub(&yard, "arm64"));
    let digest = image(&yard, "layout", &amd64, &arm64).exits(0).stdout.trim().to_owned();
    yard.run(["copy", &format!("oci:layout@{digest}"), &format!("oci:registry/build:{VERSION}")]).exits(0);
    let built = Image::new("oci:registry/build".parse().unwrap(), digest.parse().unwrap());
    let as_role = |name: &str, arguments: &[&str], role: &str| {
        let mut command = script(&yard, name, arguments);
        command.env("SAMEBITS", PROGRAM).env("SAMEBITS_SIGN", format!("--key=keys/{role}.key"));
        command.env("SAMEBITS_POLICY", "release.toml").env("CONTAINER_ENGINE", yard.path("engine"));
        ran(&mut command)
    };
    let promote = |image: &str, to: &str| as_role("promote.sh", &[image, to], "release");
    let there = |repository: &str| format!("oci:registry/{repository}@{digest}");

    let no = promote(&built.to_string(), "staging").exits(1);
    assert_eq!(no.stdout, "");
    yard.attest(&built, "build", COSIGN_SIGN);
    attest(&yard, &built, ".github/workflows/another.yml");
    assert_eq!(promote(&built.to_string(), "staging").exits(1).stdout, "");
    attest(&yard, &built, ".github/workflows/release.yml");
    let staged = promote(&built.to_string(), "staging").exits(0);
    assert_eq!(staged.stdout, format!("{}\n", there("staging")));

    let staging = there("staging");
    assert_eq!(promote(&staging, "production").exits(1).stdout, "", "it ran nowhere");
    engine(&yard, amd64.to_str().unwrap(), &staging);
    as_role("staging.sh", &[&staging, "amd64"], "staging").exits(0);
    assert_eq!(promote(&staging, "production").exits(1).stdout, "", "it ran on one platform");
    as_role("staging.sh", &[&staging, "arm64"], "release").exits(2);
    as_role("staging.sh", &[&staging, "arm64"], "staging").exits(0);
    let released = promote(&staging, "production").exits(0);
    assert_eq!(released.stdout, format!("{}\n", there("production")));
    assert_eq!(yard.tagged("oci:registry/production", "latest"), Some(built.digest));
    assert_eq!(yard.tagged("oci:registry/production", VERSION), Some(built.digest));
}

#[test]
fn an_image_that_does_not_run_is_recorded_as_such() {
    let yard = Yard::new();
    yard.write("release.toml", policy(&yard));
    let (amd64, arm64) = (stub(&yard, "amd64"), stub(&yard, "arm64"));
    let digest = image(&yard, "layout", &amd64, &arm64).exits(0).stdout.trim().to_owned();
    let staging = format!("oci:registry/staging@{digest}");
    yard.run(["copy", &format!("oci:layout@{digest}"), "oci:registry/staging:elsewhere"]).exits(0);
    engine(&yard, "false", &staging);
    let mut command = script(&yard, "staging.sh", &[&staging, "amd64"]);
    command.env("SAMEBITS", PROGRAM).env("SAMEBITS_SIGN", "--key=keys/staging.key");
    command.env("SAMEBITS_POLICY", "release.toml").env("CONTAINER_ENGINE", yard.path("engine"));
    let ran = ran(&mut command).exits(1);
    assert!(ran.stderr.contains("::error::the image says that it is: \n"), "{}", ran.stderr);
    let log = yard.run(["log", "--policy", "release.toml", "-o", "json"]).exits(0).json();
    assert_eq!(log["records"][0]["outcome"], "failed", "{log:#}");
}

#[test]
fn completions_and_manual_pages_are_one_archive() {
    let yard = Yard::empty();
    let mut command = script(&yard, "extras.sh", &[PROGRAM, "dist"]);
    let name = format!("samebits-{VERSION}-completions-and-man");
    assert_eq!(ran(&mut command).exits(0).stdout, format!("dist/{name}.tar.gz\n"));
    let first = std::fs::read(yard.path(&format!("dist/{name}.tar.gz"))).unwrap();
    ran(&mut command).exits(0);
    assert_eq!(std::fs::read(yard.path(&format!("dist/{name}.tar.gz"))).unwrap(), first);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&first[..]));
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    for file in ["completions/samebits.bash", "completions/_samebits", "man/man1/samebits-promote.1"] {
        assert!(names.contains(&format!("{name}/{file}")), "{names:?}");
    }
}

/// A stub of gh, which writes down what it was asked for.
#[test]
fn what_is_not_all_there_is_not_published() {
    let yard = Yard::empty();
    binaries(&yard, "dist");
    let sums = ran(&mut script(&yard, "checksums.sh", &["dist"])).exits(0).stdout;
    yard.write("dist/SHA256SUMS", &sums);
    let others =
        ["SHA256SUMS.sigstore.json", "provenance.sigstore.json", "cdx.json", "completions-and-man.tar.gz"];
    let others = others.map(|name| match name {
        "SHA256SUMS.sigstore.json" => name.to_owned(),
        "completions-and-man.tar.gz" => format!("samebits-{VERSION}-{name}"),
        name => format!("samebits-{VERSION}.{name}"),
    });
    std::fs::create_dir(yard.path("bin")).unwrap();
    yard.write("bin/gh", "#!/bin/sh\nprintf '%s\\n' \"$@\" >>../asked\n");
    executable(&yard.path("bin/gh"));
    #[allow(clippy::disallowed_methods, reason = "where the tools are")]
    let path = std::env::var("PATH").unwrap();
    let publish = || {
        let mut command = script(&yard, "publish.sh", &["dist"]);
        command.env("PATH", format!("{}:{path}", yard.path("bin").display()));
        ran(command.env("TAG", format!("v{VERSION}")).env("IMAGE", "oci:production@sha256:x"))
    };
    for name in &others {
        assert_ne!(publish().code, Some(0), "without {name}");
        yard.write(&format!("dist/{name}"), "x");
    }
    yard.write(&format!("dist/samebits-{VERSION}-{}", TARGETS[0]), "changed");
    assert_ne!(publish().code, Some(0), "a binary that is not the attested one");
    assert!(!yard.path("asked").exists());
    binaries(&yard, "dist");
    publish().exits(0);
    let asked = yard.read("asked");
    assert!(asked.starts_with(&format!("release\ncreate\nv{VERSION}\n--verify-tag\n")), "{asked}");
    for name in others.iter().cloned().chain(TARGETS.map(|target| format!("samebits-{VERSION}-{target}"))) {
        assert!(asked.lines().any(|line| line == name), "{asked}");
    }
}

/// What is written of jobs and assets in one place is so in the others.
#[test]
fn the_workflows_pin_what_they_use_and_splice_nothing() {
    for entry in std::fs::read_dir(here(".github/workflows")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\npermissions: {}\n"), "{}", path.display());
        for line in text.lines().map(str::trim) {
            if let Some((_, used)) = line.split_once("uses: ") {
                let pinned = used.split_once('@').is_some_and(|(_, rest)| {
                    rest.split(' ').next().unwrap().len() == 40 && rest.contains(" # v")
                });
                assert!(pinned || used.starts_with("./.github/workflows/"), "{line}");
            }
        }
        // An expression stands in a key of its own, never within a script.
        let scripts = text.split("run: |\n").skip(1);
        for script in scripts {
            let lines = script.lines().take_while(|line| line.is_empty() || line.starts_with("          "));
            for line in lines {
                assert!(!line.contains("${{"), "{}: {line}", path.display());
            }
        }
        for script in text.lines().filter_map(|line| line.split_once("release/")).map(|(_, rest)| rest) {
            let name = script.split([' ', '"', ')', '.']).next().unwrap();
            if script.starts_with(&format!("{name}.sh")) {
                assert!(here("release").join(format!("{name}.sh")).exists(), "{script}");
            }
        }
    }
    let release = std::fs::read_to_string(here(".github/workflows/release.yml")).unwrap();
    for target in TARGETS {
        assert!(release.contains(&format!("target: {}, ", target.trim_end_matches(".exe"))), "{target}");
    }
}
