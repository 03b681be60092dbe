//! The story: each step says what happens, runs the real binary, and fails if the answer is not the one told.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use samebits::collect;
use samebits::digest::Digest;
use samebits::key::PrivateKey;
use samebits::ledger::Ledger;
use samebits::ledger::protocol::{ProtocolError, Step, Writer};
use samebits::policy::{Draft as PolicyDraft, EvidenceClass, Policy};
use samebits::record::{Actor, Body, Deployment, Draft, Status, Subjects};
use samebits::reference::{Image, Repository, Tag};
use samebits::registry::{HttpConfig, Registries};
use samebits::tlog::{LogSigner, Vkey};
use samebits::verify::Identity;

use crate::image::{BUILDER, REF, SOURCE, build};

const MARKER: &str = ".samebits-quickstart";
const IMAGE: &str = "oci:registry/shop:1.4.2";

pub(crate) fn tell(folder: &Path) -> anyhow::Result<()> {
    let stage = Stage::set(folder)?;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let repository: Repository = "oci:registry/shop".parse()?;
    let tag: Tag = "1.4.2".parse()?;

    say("1. Set up: a policy, a key for each role, a ledger.");
    stage.run(&["init", "--service", "shop"], 0)?;
    stage.fill_in_provenance()?;
    let key = stage.key("build")?;

    say(
        "2. The build pushes shop:1.4.2 for linux/amd64 and linux/arm64, signs it and attests its SLSA provenance.",
    );
    let first = runtime.block_on(build(&stage.registries, &repository, &tag, &key, 1))?;
    println!("   pushed {first}");

    say("3. May it enter staging? It is signed and built as the policy wants: yes.");
    stage.run(&["promote", IMAGE, "--to", "staging", "--key", "keys/release.key"], 0)?;

    say("4. May it enter production? It never ran in staging: no, and what to do about it.");
    stage.run(
        &["promote", "oci:registry/staging/shop:staging", "--to", "production", "--key", "keys/release.key"],
        1,
    )?;

    say("5. Staging deploys it, and says so with staging's own key.");
    let in_staging = format!("oci:registry/staging/shop@{}", first.digest);
    stage.run(&["deployed", &in_staging, "--in", "staging", "--key", "keys/staging.key"], 0)?;

    say(
        "6. The same question again: exactly these bytes ran in staging. Yes, and the pinned reference to deploy.",
    );
    let promoted =
        stage.run(&["promote", &in_staging, "--to", "production", "--key", "keys/release.key"], 0)?;
    let pinned = format!("oci:registry/production/shop@{}", first.digest);
    ensure!(promoted.trim() == pinned, "expected {pinned} on stdout, found {promoted}");

    say(
        "7. Somebody rebuilds 1.4.2: same tag, same source, properly signed, other bytes. No, and both digests.",
    );
    let second = runtime.block_on(build(&stage.registries, &repository, &tag, &key, 2))?;
    ensure!(first.digest != second.digest, "the rebuild has the same digest");
    stage.run(&["promote", IMAGE, "--to", "production", "--key", "keys/release.key"], 1)?;

    say(
        "8. Whoever holds the promoter's key writes a record that the rebuild ran in staging. It is in the ledger, its\n   signature is good, and it is not staging's: no.",
    );
    stage.forge_deployment(&second)?;
    stage.run(&["promote", IMAGE, "--to", "production", "--key", "keys/release.key"], 1)?;

    say(
        "9. The ledger is intact; in a copy of it one byte of record 3 is changed, and the audit names the record.",
    );
    stage.run(&["ledger", "verify"], 0)?;
    stage.copy_ledger_with_one_byte_changed(3)?;
    let found = stage.run(&["ledger", "verify", "--ledger", "sqlite:tampered.db"], 1)?;
    ensure!(found.contains("record 3 "), "the audit did not name record 3: {found}");

    say("10. What is where.");
    stage.run(&["log"], 0)?;
    stage.run(&["status"], 0)?;

    println!("\nEverything is in {}: go there and try", stage.folder.display());
    println!("   samebits check {IMAGE} --to production");
    println!("   samebits verify {IMAGE}");
    println!("   samebits show {}", first.digest);
    println!("with samebits = {}", stage.binary.display());
    Ok(())
}

fn say(text: &str) {
    println!("\n── {text}\n");
}

/// The folder of the story and the binary it drives.
struct Stage {
    folder: PathBuf,
    binary: PathBuf,
    registries: Registries,
}

impl Stage {
    /// An empty folder; one that an earlier quickstart left behind is made anew, any other is left alone.
    fn set(folder: &Path) -> anyhow::Result<Self> {
        if folder.exists() {
            let ours = folder.join(MARKER).exists();
            let empty = fs::read_dir(folder).context("reading the folder")?.next().is_none();
            ensure!(
                ours || empty,
                "{} is there already and is not a quickstart's: name another",
                folder.display()
            );
            fs::remove_dir_all(folder).context("clearing the folder")?;
        }
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let folder = fs::canonicalize(folder).context("finding the folder")?;
        fs::write(folder.join(MARKER), "made by cargo run --example quickstart\n")?;
        let registries = Registries::new(HttpConfig::default(), folder.clone());
        Ok(Self { folder, binary: binary()?, registries })
    }

    /// Runs the real binary as a person would, and returns what it printed as its result.
    fn run(&self, args: &[&str], expected: i32) -> anyhow::Result<String> {
        println!("   $ samebits {}", args.join(" "));
        let output = Command::new(&self.binary)
            .args(args)
            .current_dir(&self.folder)
            .env_remove("SAMEBITS_KEY")
            .env_remove("SAMEBITS_LEDGER_KEY")
            .output()
            .with_context(|| format!("running {}", self.binary.display()))?;
        // As a terminal would show it: `promote` explains before it prints the reference, `init` says afterwards what
        // is next.
        let order = match args.first() {
            Some(&"init") => [&output.stdout, &output.stderr],
            Some(_) | None => [&output.stderr, &output.stdout],
        };
        for text in order {
            for line in String::from_utf8_lossy(text).lines() {
                println!("   {line}");
            }
        }
        let code = output.status.code();
        println!("   (exit {})", code.map_or_else(|| "by signal".to_owned(), |code| code.to_string()));
        ensure!(code == Some(expected), "expected exit {expected} of `samebits {}`", args.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn key(&self, role: &str) -> anyhow::Result<PrivateKey> {
        let pem = fs::read_to_string(self.folder.join(format!("keys/{role}.key")))?;
        Ok(PrivateKey::from_pem(&pem)?)
    }

    /// `init` leaves provenance for the reader to fill in; here we know what the build says.
    fn fill_in_provenance(&self) -> anyhow::Result<()> {
        let file = self.folder.join("samebits.toml");
        let text = fs::read_to_string(&file)?
            .replace(
                "# [environments.staging.require.provenance]",
                "[environments.staging.require.provenance]",
            )
            .replace("# signer = \"build\"", "signer = \"build\"")
            .replace("# builder = \"https://ci.example/builder\"", &format!("builder = \"{BUILDER}\""))
            .replace("# source = \"https://git.example/acme/{service}\"", &format!("source = \"{SOURCE}\""))
            .replace("# ref = \"refs/heads/main\"", &format!("ref = \"{REF}\""));
        fs::write(file, text)?;
        Ok(())
    }

    fn policy(&self) -> anyhow::Result<Policy> {
        let text = fs::read_to_string(self.folder.join("samebits.toml"))?;
        let draft = PolicyDraft::parse("samebits.toml", &text)?;
        let keys = draft.key_files().into_iter().map(|file| {
            let pem = fs::read_to_string(self.folder.join(&file))?;
            Ok((file, pem))
        });
        let keys = keys.collect::<std::io::Result<BTreeMap<_, _>>>()?;
        Ok(draft.validate(&keys)?)
    }

    /// What an attacker would do: `samebits deployed` refuses to sign with the wrong key, a library does not.
    fn forge_deployment(&self, image: &Image) -> anyhow::Result<()> {
        let policy = self.policy()?;
        let trust = collect::trust(&policy);
        let vkey: Vkey = policy.ledger().verifier().parse()?;
        let signer: LogSigner = fs::read_to_string(self.folder.join("keys/ledger.key"))?.trim().parse()?;
        let mut ledger = Ledger::open(policy.ledger().url(), &self.folder, &vkey, Some(signer))?;
        let key = self.key("release")?;
        let service = policy.find_service("shop")?.name().clone();
        let environment = policy.find_environment("staging")?;
        let repository = environment.repository(&service).context("staging has no repository")?;
        let now = jiff::Timestamp::now();
        let mut writer = Writer { ledger: &mut ledger, policy: &policy, trust: &trust, signer: &key };
        let actor = Actor::from(&Identity::Key { id: key.public().id() });
        let (written, ()) = writer.append(&service, environment.name(), |view| {
            let body = Body::Deployment(Deployment {
                actor: actor.clone(),
                service: service.clone(),
                environment: environment.name().clone(),
                deployment_name: "default".to_owned(),
                status: Status::Succeeded,
                started_on: now,
                finished_on: now,
                evidence_class: EvidenceClass::Asserted,
                runtime: None,
                parity: BTreeMap::new(),
                external_url: None,
                ledger: view.ledger(Digest::of(b"forged")),
            });
            let image = Image::new(repository.clone(), image.digest);
            let draft = Draft { subjects: Subjects { image, platforms: Vec::new() }, body };
            Ok::<_, ProtocolError>(Step::Append(Box::new(draft), ()))
        })?;
        let written = written.context("the forged record was not appended")?;
        println!(
            "   forged record {}: shop {} ran in staging, signed by release\n",
            written.position.index, image.digest
        );
        Ok(())
    }

    fn copy_ledger_with_one_byte_changed(&self, index: i64) -> anyhow::Result<()> {
        let copy = self.folder.join("tampered.db");
        fs::copy(self.folder.join(".samebits/ledger.db"), &copy)?;
        let database = rusqlite::Connection::open(&copy)?;
        let mut body: Vec<u8> =
            database.query_row("SELECT body FROM entries WHERE idx = ?1", [index], |row| row.get(0))?;
        let middle = body.len() / 2;
        body[middle] ^= 1;
        database.execute("UPDATE entries SET body = ?1 WHERE idx = ?2", rusqlite::params![body, index])?;
        Ok(())
    }
}

/// The release binary; built here, since cargo builds an example without it.
fn binary() -> anyhow::Result<PathBuf> {
    let example = std::env::current_exe().context("finding this program")?;
    let profile =
        example.parent().and_then(Path::parent).context("this program lies outside a target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // With the example, so that both are built with the same features, once.
    command.args(["build", "--quiet", "--bin", "samebits", "--example", "quickstart"]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    if profile.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    ensure!(command.status().context("running cargo build")?.success(), "the binary does not build");
    let binary = profile.join(format!("samebits{}", std::env::consts::EXE_SUFFIX));
    ensure!(binary.is_file(), "{} is not there", binary.display());
    Ok(binary)
}
