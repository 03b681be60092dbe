//! `init`: a policy, a key for each role, an empty ledger.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use samebits::key::{Algorithm, PrivateKey};
use samebits::ledger::{Folders, Ledger, LedgerError};
use samebits::policy::{Draft, ServiceName};
use samebits::reference::Repository;
use samebits::tlog::{LogSigner, Origin};

use crate::Outcome;
use crate::args::{Common, Init};
use crate::output::Initialised;
use crate::report::{Outputs, clean, say};
use crate::session::{POLICY, cache_folder, variable};
use crate::trouble::{Trouble, undecided, usage};

/// Who has a key of their own from the first minute.
const ROLES: [&str; 4] = ["build", "release", "staging", "production"];

const LEDGER_URL: &str = "sqlite:.samebits/ledger.db";
const LEDGER_FILE: &str = ".samebits/ledger.db";
const LEDGER_KEY: &str = "keys/ledger.key";

pub(crate) fn init(common: &Common, outputs: &Outputs, init: &Init) -> Result<Outcome, Trouble> {
    let policy = common.policy.clone().unwrap_or_else(|| PathBuf::from(POLICY));
    let folder = match policy.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        // Paths are shown, so that they begin without `./`.
        _ => PathBuf::new(),
    };
    // A key in the environment is for the verbs that sign; only one that was typed is a mistake.
    let typed = common.key.as_deref().filter(|key| key.to_str() != variable("SAMEBITS_KEY").as_deref());
    if typed.is_some() {
        return Err(usage(anyhow!("init writes its own keys: expected no --key")));
    }
    let url = common.ledger.as_deref().unwrap_or(LEDGER_URL);
    // 1. Everything that can be wrong with what was typed, before anything is written.
    let service: ServiceName = init.service.parse().map_err(usage)?;
    let origin = init.origin.clone().unwrap_or_else(|| format!("{service}.example/promotions"));
    let origin: Origin = origin.parse().map_err(usage)?;
    let repository = |place: &str| {
        let registry = init.registry.trim_end_matches('/');
        format!("{registry}/{place}")
    };
    for place in [service.as_str(), "staging/x", "production/x"] {
        repository(place).parse::<Repository>().map_err(usage)?;
    }
    let mut planned: Vec<PathBuf> = vec![policy.clone(), folder.join(LEDGER_KEY)];
    planned.extend((url == LEDGER_URL).then(|| folder.join(LEDGER_FILE)));
    planned.extend(
        ROLES.iter().flat_map(|role| [key_file(&folder, role, "key"), key_file(&folder, role, "pub")]),
    );
    if let Some(there) = planned.iter().find(|file| file.exists()) {
        return Err(usage(anyhow!(
            "{} is there already: expected a folder without one; nothing was written",
            there.display()
        )));
    }
    // 2. Keys, ledger, policy; the policy last, so that a half-written set is never taken for a whole one.
    let mut files = Vec::new();
    let write = |file: &Path, content: &str, secret: bool, files: &mut Vec<String>| {
        write_new(file, content, secret).map_err(undecided)?;
        files.push(file.display().to_string());
        Ok::<_, Trouble>(())
    };
    for role in ROLES {
        let key = PrivateKey::generate(Algorithm::EcdsaP256).map_err(undecided)?;
        write(&key_file(&folder, role, "key"), &key.to_pem(), true, &mut files)?;
        write(&key_file(&folder, role, "pub"), &key.public().to_pem(), false, &mut files)?;
    }
    let log = LogSigner::generate(origin.clone()).map_err(undecided)?;
    write(&folder.join(LEDGER_KEY), &format!("{}\n", log.to_secret_text()), true, &mut files)?;
    let base = match folder.as_os_str().is_empty() {
        true => std::env::current_dir(),
        false => std::path::absolute(&folder),
    };
    let base = base.context("the folder cannot be found").map_err(undecided)?;
    let cache = cache_folder();
    if let Err(error) = Ledger::create(url, Folders { base: &base, cache: cache.as_deref() }, &log) {
        let nothing = matches!(
            error,
            LedgerError::Exists { .. } | LedgerError::Url { .. } | LedgerError::Scheme { .. }
        );
        let error = anyhow::Error::from(error);
        if !nothing {
            let key = folder.join(LEDGER_KEY);
            return Err(undecided(error.context(format!(
                "it is not known whether the ledger {url} was created. If it was, its key is {} (verifier {}): keep the \
                 keys until you have looked. No policy file was written",
                key.display(),
                log.vkey()
            ))));
        }
        // Keys of no ledger: all of them were made just now, by us.
        files.iter().for_each(|file| drop(fs::remove_file(file)));
        drop(fs::remove_dir(folder.join("keys")));
        return Err(usage(error.context("the ledger cannot be created; nothing was written")));
    }
    files.push(match url == LEDGER_URL {
        true => folder.join(LEDGER_FILE).display().to_string(),
        false => url.to_owned(),
    });
    let ignore = folder.join(".gitignore");
    match ignore.exists() {
        false => write(&ignore, "/.samebits/\n/keys/*.key\n", false, &mut files)?,
        true => say(format_args!(
            "warning: {} was there and is left alone: see that it names keys/*.key and .samebits/",
            ignore.display()
        )),
    }
    let text = template(&service, &init.registry, url, &origin, &log);
    write(&policy, &text, false, &mut files)?;
    // 3. What was written has to be a policy.
    let name = policy.display().to_string();
    let draft = Draft::parse(&name, &text).map_err(undecided)?;
    let keys = ROLES.iter().map(|role| {
        let pem = fs::read_to_string(key_file(&folder, role, "pub"))?;
        Ok((format!("keys/{role}.pub"), pem))
    });
    let keys = keys.collect::<std::io::Result<_>>().map_err(undecided)?;
    draft.validate(&keys).map_err(undecided)?;
    outputs
        .emit(&Initialised { schema: Initialised::SCHEMA, files, origin: origin.to_string() })
        .map_err(undecided)?;
    if !common.quiet {
        let next = next_steps(&service, init, &policy, &folder);
        let _ = anstream::stderr().write_all(next.as_bytes());
    }
    Ok(Outcome::Yes)
}

/// Who gets which key, and the first commands, to be copied as they are.
fn next_steps(service: &ServiceName, init: &Init, policy: &Path, folder: &Path) -> String {
    let registry = init.registry.trim_end_matches('/');
    // A layout is named from the folder one stands in, so that is where the commands are typed.
    let go = match folder.as_os_str().is_empty() {
        true => String::new(),
        false => format!("  cd {}\n", folder.display()),
    };
    let policy = match policy.file_name() {
        Some(name) if name != POLICY => format!(" --policy {}", name.display()),
        Some(_) | None => String::new(),
    };
    let next = format!(
        "
Give each key to the job that needs it, and to no other:
  keys/build.key       the build, to sign and attest
  keys/release.key     the job that promotes
  keys/staging.key     the job that deploys to staging
  keys/production.key  the job that deploys to production
  keys/ledger.key      every job that records: it signs the log, not what is in it

Once {registry}/{service} has an image that is signed with keys/build.key:
{go}  tag=1.0.0
  image=$(samebits promote{policy} {registry}/{service}:$tag --to staging --key keys/release.key)
  samebits deployed{policy} \"$image\" --in staging --key keys/staging.key
  samebits promote{policy} \"$image\" --to production --key keys/release.key
"
    );
    next.lines().map(clean).collect::<Vec<_>>().join("\n") + "\n"
}

fn key_file(folder: &Path, role: &str, extension: &str) -> PathBuf {
    folder.join(format!("keys/{role}.{extension}"))
}

/// Writes a file that must not be there; a secret is for its owner alone.
fn write_new(file: &Path, content: &str, secret: bool) -> anyhow::Result<()> {
    if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if secret {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = secret;
    let mut opened = options.open(file).with_context(|| format!("writing {}", file.display()))?;
    opened.write_all(content.as_bytes()).with_context(|| format!("writing {}", file.display()))
}

fn template(service: &ServiceName, registry: &str, url: &str, origin: &Origin, log: &LogSigner) -> String {
    let url = toml::Value::from(url);
    let registry = registry.trim_end_matches('/');
    format!(
        r#"# Who may do what. Review changes to this file like code: its digest is in every decision.
version = 1

[ledger]
url = {url}
origin = "{origin}"
verifier = "{verifier}"
signing-key = "{LEDGER_KEY}"

# Every role has an identity of its own.
[signers.build]
public-key = "keys/build.pub"
# A key says who signed, not when. Take this line away and what it signs counts only with an entry in Sigstore's public
# log or a timestamp beside it, as `cosign sign --key` leaves unless it is told not to.
time = "not-required"
[signers.release]
public-key = "keys/release.pub"
[signers.staging]
public-key = "keys/staging.pub"
[signers.production]
public-key = "keys/production.pub"

[services.{service}]
repository = "{registry}/{service}"

[environments.staging]
entry = true
repository = "{registry}/staging/{{service}}"
tag = "staging"
promoters = ["release"]
deployers = ["staging"]
[environments.staging.require]
signed-by = "build"
# What the build says of itself, compared exactly. Fill in and take the # away:
# [environments.staging.require.provenance]
# signer = "build"
# builder = "https://ci.example/builder"
# source = "https://git.example/acme/{{service}}"
# ref = "refs/heads/main"

[environments.production]
after = [{{ environment = "staging" }}]        # add for-at-least = "1h" to let it soak
repository = "{registry}/production/{{service}}"
tag = "production"
promoters = ["release"]
deployers = ["production"]
[environments.production.require]
signed-by = "build"
"#,
        verifier = log.vkey(),
    )
}
