//! The real binary in a folder of its own: a policy, keys, a ledger, images in OCI layouts or a registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use samebits::collect::BUNDLE;
use samebits::key::PrivateKey;
use samebits::reference::{Image, Repository};
use samebits::registry::{HttpConfig, Registries};
use samebits::verify::{COSIGN_SIGN, sign_statement};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::image;

/// What a run of the binary left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The same run, after its exit code was looked at.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Its stdout as JSON, valid by the schema it names.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let document: Value = serde_json::from_str(&self.stdout).unwrap();
        valid(&document);
        document
    }
}

/// Fails unless `document` is what the schema says that it names.
#[track_caller]
pub(crate) fn valid(document: &Value) {
    let name = document["schema"].as_str().unwrap().rsplit('/').next().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name);
    let mut schemas = boon::Schemas::new();
    let index = boon::Compiler::new().compile(file.to_str().unwrap(), &mut schemas).unwrap();
    if let Err(error) = schemas.validate(document, index) {
        panic!("not {name}: {error:#}\n{document:#}");
    }
}

/// A folder after `samebits init --service shop`.
pub(crate) struct Yard {
    folder: TempDir,
    pub(crate) registries: Registries,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Yard {
    pub(crate) fn new() -> Self {
        let yard = Self::empty();
        yard.run(["init", "--service", "shop"]).exits(0);
        yard
    }

    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registries = Registries::new(HttpConfig::default(), folder.path().to_owned());
        Self { folder, registries, runtime: tokio::runtime::Runtime::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Rewrites the policy file.
    pub(crate) fn edit_policy(&self, edit: impl FnOnce(String) -> String) {
        self.write("samebits.toml", edit(self.read("samebits.toml")));
    }

    pub(crate) fn key(&self, role: &str) -> PrivateKey {
        PrivateKey::from_pem(&self.read(&format!("keys/{role}.key"))).unwrap()
    }

    /// The binary with nothing of the caller's environment.
    pub(crate) fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samebits"));
        command.args(args).current_dir(self.folder.path());
        command.env_clear().env("COLUMNS", "80");
        match cfg!(windows) {
            true => command.env("USERPROFILE", self.folder.path()).env("SystemRoot", "C:\\windows"),
            false => command.env("HOME", self.folder.path()),
        };
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Ran {
        ran(&mut self.command(args))
    }

    pub(crate) fn spawn<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn promote(&self, image: &str, to: &str) -> Ran {
        self.run(["promote", image, "--to", to, "--key", "keys/release.key"])
    }

    /// Says as staging that `image` runs there.
    pub(crate) fn deployed_in_staging(&self, image: &Image) -> Ran {
        let there = at("staging", image);
        self.run(["deployed", &there, "--in", "staging", "--key", "keys/staging.key"])
    }

    /// A build of `shop`: two platforms, signed by `build`. The same text gives the same bytes.
    pub(crate) fn build(&self, tag: &str, text: &str) -> Image {
        let image = self.push(tag, text);
        self.attest(&image, "build", COSIGN_SIGN);
        image
    }

    /// A build of `shop` that nobody signed.
    pub(crate) fn push(&self, tag: &str, text: &str) -> Image {
        self.push_to(&"oci:registry/shop".parse().unwrap(), tag, text)
    }

    /// As [`Yard::push`], to any repository.
    pub(crate) fn push_to(&self, repository: &Repository, tag: &str, text: &str) -> Image {
        self.runtime.block_on(image::push(&self.registries, repository, tag, text))
    }

    /// A statement about `image`, signed by the key of `role`, beside it.
    pub(crate) fn attest(&self, image: &Image, role: &str, predicate_type: &str) {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": image.repository, "digest": { "sha256": image.digest.hex() } }],
            "predicateType": predicate_type,
            "predicate": {},
        });
        let bundle = sign_statement(statement.to_string().as_bytes(), &self.key(role)).unwrap();
        let none = BTreeMap::new();
        let attached = self.registries.attach(image, BUNDLE[0], BUNDLE[0], &bundle, &none);
        self.runtime.block_on(attached).unwrap();
    }

    /// What a tag means, behind the back of the binary.
    pub(crate) fn tagged(&self, repository: &str, tag: &str) -> Option<samebits::digest::Digest> {
        let repository: Repository = repository.parse().unwrap();
        self.runtime.block_on(self.registries.tagged(&repository, &tag.parse().unwrap())).unwrap()
    }

    /// As [`Yard::tagged`], where there may be no repository at all.
    pub(crate) fn tagged_if_there(&self, repository: &str, tag: &str) -> Option<samebits::digest::Digest> {
        self.path(repository.strip_prefix("oci:").unwrap()).exists().then(|| self.tagged(repository, tag))?
    }

    /// Every record, oldest first.
    pub(crate) fn records(&self) -> Vec<Value> {
        let mut page = self.run(["log", "-o", "json", "--limit", "100000"]).exits(0).json();
        let mut records = std::mem::take(page["records"].as_array_mut().unwrap());
        records.reverse();
        records
    }

    /// The kinds of promotion records about `image` in `to`, oldest first: `intent`, `commit`, …
    pub(crate) fn phases(&self, image: &Image, to: &str) -> Vec<String> {
        let about = |record: &&Value| {
            record["kind"] == "promotion" && record["image"] == at(to, image) && record["environment"] == to
        };
        let outcome = |record: &Value| record["outcome"].as_str().unwrap().to_owned();
        self.records().iter().filter(about).map(outcome).collect()
    }

    /// Every decision, made again from what was kept with it, is the one that was recorded. Returns how many there are.
    #[track_caller]
    pub(crate) fn replays_the_same(&self) -> usize {
        let decisions = |record: &&Value| record["kind"] == "promotion";
        let records = self.records();
        let indexes: Vec<String> =
            records.iter().filter(decisions).map(|record| record["index"].to_string()).collect();
        for index in &indexes {
            let again = self.run(["replay", index, "-o", "json"]).exits(0).json();
            assert_eq!(again["same"], true, "{again:#}");
        }
        indexes.len()
    }

    /// Holds the ledger's write lock until dropped; readers go on.
    pub(crate) fn lock_ledger(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.path(".samebits/ledger.db")).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection
    }
}

pub(crate) fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `image` in the repository of an environment.
pub(crate) fn at(environment: &str, image: &Image) -> String {
    format!("oci:registry/{environment}/shop@{}", image.digest)
}

/// `text` with everything that differs from run to run named: known digests by `names`, others by number in order
/// of appearance; times, durations, and sizes that depend on them.
pub(crate) fn redact(text: &str, names: &[(&str, samebits::digest::Digest)]) -> String {
    let mut seen: Vec<String> = Vec::new();
    let mut redacted = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let hex =
            rest.bytes().take_while(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte)).count();
        if hex == 64 || hex == 12 {
            let (digits, after) = rest.split_at(hex);
            let known = names.iter().find(|(_, digest)| digest.hex().starts_with(digits));
            let name = match known {
                Some((name, _)) => (*name).to_owned(),
                None => {
                    let place =
                        seen.iter().position(|known| known.starts_with(digits)).unwrap_or_else(|| {
                            seen.push(digits.to_owned());
                            seen.len() - 1
                        });
                    format!("DIGEST-{}", place + 1)
                }
            };
            redacted.push_str(&name);
            rest = after;
        } else if let Some(length) = time(rest) {
            redacted.push_str("TIME");
            rest = &rest[length..];
        } else if let Some(after) = rest.strip_prefix(" for ")
            && let Some((said, after)) = after.split_once(" (ledger:")
        {
            assert!(said.ends_with('s'), "{said}");
            redacted.push_str(" for DURATION (ledger:");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\"bytesCopied\": ") {
            // Records have times in them, and a time is as long as its last digit that is not zero.
            redacted.push_str("\"bytesCopied\": SIZE");
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        } else {
            // Not into the middle of a run of hexadecimal digits.
            let step = hex.max(rest.chars().next().map_or(1, char::len_utf8));
            redacted.push_str(&rest[..step]);
            rest = &rest[step..];
        }
    }
    redacted
}

/// The length of an RFC 3339 time in UTC at the beginning of `text`.
fn time(text: &str) -> Option<usize> {
    let shape = "dddd-dd-ddTdd:dd:dd";
    let bytes = text.as_bytes();
    let fits = bytes.len() > shape.len()
        && shape.bytes().zip(bytes).all(|(wanted, found)| match wanted {
            b'd' => found.is_ascii_digit(),
            other => *found == other,
        });
    let end = text.find('Z').filter(|_| fits)?;
    text[shape.len()..end].bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()).then_some(end + 1)
}
