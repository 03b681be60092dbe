//! What every verb works with: the policy, its keys, the ledger, the registries. The environment is read here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, anyhow};
use samebits::collect::{self, Files, FilesError};
use samebits::key::{KeyError, PrivateKey};
use samebits::ledger::{Folders, Ledger};
use samebits::policy::{Draft, Policy};
use samebits::record::Position;
use samebits::reference::{Image, Location, Reference, Repository};
use samebits::registry::{HttpConfig, Registries};
use samebits::roots::{self, Network, Roots, Settings};
use samebits::signing::{Services, SigningError, Token, TokenError, Workload};
use samebits::tlog::{LogSigner, Vkey};
use samebits::verify::{RootName, Sign, Trust};
use zeroize::Zeroizing;

use crate::args::{COSIGN_PASSWORD, Common, Given, KEY_PASSWORD};
use crate::commands::block_on;
use crate::report::{Outputs, say};
use crate::trouble::{Trouble, undecided, usage};

/// The name of the policy file.
pub(crate) const POLICY: &str = "samebits.toml";

/// The largest policy or key file, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// An identity token that somebody else obtained, for the audience `sigstore` (GitLab's `id_tokens` write it).
const ID_TOKEN: &str = "SIGSTORE_ID_TOKEN";

/// A permit that another job was given.
pub(crate) const PERMIT: &str = "SAMEBITS_PERMIT";

/// The folder of this user, where Docker's own programs look for it as well.
const HOME: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

/// A password and where it came from, for messages. Has no `Debug`.
struct Password {
    bytes: Zeroizing<Vec<u8>>,
    from: String,
}

/// An opened policy and everything it leads to.
pub(crate) struct Session<'a> {
    pub(crate) common: &'a Common,
    pub(crate) outputs: &'a Outputs,
    pub(crate) policy: Policy,
    pub(crate) trust: Trust,
    /// The roots in it, and what there is to say about them.
    pub(crate) roots: Roots,
    /// The folder of the policy file; relative paths in it start here.
    pub(crate) folder: PathBuf,
    /// The policy file, as it was found.
    pub(crate) file: PathBuf,
    /// Why what is seen of the ledger now is not remembered, where it is not.
    pub(crate) unpinned: RefCell<Option<String>>,
}

/// The clock of this machine; the library takes it as an argument.
#[allow(clippy::disallowed_methods, reason = "the one place where the clock is read")]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// An environment variable; empty counts as absent only for the well-known ones of other tools.
#[allow(clippy::disallowed_methods, reason = "the one place where the environment is read")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The bytes of an environment variable, empty ones too.
#[allow(clippy::disallowed_methods, reason = "the environment is read in this file only")]
fn variable_as_it_is(name: &str) -> Option<Vec<u8>> {
    std::env::var_os(name).map(std::ffi::OsString::into_encoded_bytes)
}

/// What is in [`PERMIT`], if it is set.
pub(crate) fn permit_as_it_is() -> Option<Vec<u8>> {
    variable_as_it_is(PERMIT)
}

/// The CI run without the attempt number, so that a retried job resumes; empty at a terminal.
pub(crate) fn run() -> String {
    let github = variable("GITHUB_RUN_ID").map(|run| format!("github:{run}"));
    let gitlab = || variable("CI_PIPELINE_ID").map(|run| format!("gitlab:{run}"));
    let buildkite = || variable("BUILDKITE_BUILD_ID").map(|run| format!("buildkite:{run}"));
    github.or_else(gitlab).or_else(buildkite).unwrap_or_default()
}

impl<'a> Session<'a> {
    /// All that a verb needs: the policy, its keys, its roots of trust, refreshed where it says so.
    pub(crate) fn open(common: &'a Common, outputs: &'a Outputs) -> Result<Self, Trouble> {
        let mut session = Self::read(common, outputs)?;
        let network = if common.offline { Network::Offline } else { Network::Refresh };
        session.roots = session.load_roots(network)?;
        let trusted = session.roots.trusted(now()).map_err(undecided)?;
        session.trust = std::mem::take(&mut session.trust).with_roots(trusted);
        Ok(session)
    }

    /// The roots of trust of the policy, whether they may be used or not.
    pub(crate) fn load_roots(&self, network: Network) -> Result<Roots, Trouble> {
        let http = http_config(&self.policy, &self.folder);
        let settings = Settings { cache: cache_folder().map(|cache| cache.join("tuf")), network, http };
        block_on(roots::load(&self.policy, &settings, now()))?.map_err(undecided)
    }

    /// Where a record can be read, where the policy says it: for links alone.
    pub(crate) fn record_url(&self, at: Position) -> Option<String> {
        Some(self.policy.ledger().record_url()?.of(at.index))
    }

    /// What there is to say about the roots, for the answer.
    pub(crate) fn root_notes(&self) -> Vec<String> {
        let now = now();
        self.roots.iter().filter_map(|root| root.remark(now)).collect()
    }

    /// The same, for whoever reads along.
    pub(crate) fn warn_of_roots(&self) {
        for note in self.root_notes() {
            self.warn(format_args!("warning: {note}"));
        }
    }

    /// Finds, reads and validates the policy file and the keys it names; roots of trust are not looked for.
    pub(crate) fn read(common: &'a Common, outputs: &'a Outputs) -> Result<Self, Trouble> {
        let path = match &common.policy {
            Some(path) => path.clone(),
            None => find_policy().map_err(usage)?,
        };
        let text = read_text(&path)
            .with_context(|| format!("the policy file {} cannot be read", path.display()))
            .map_err(usage)?;
        outputs.ci().read_policy(&path, &text);
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let folder = std::path::absolute(&folder)
            .with_context(|| format!("the folder {} cannot be found", folder.display()))
            .map_err(usage)?;
        let name = path.file_name().map_or_else(|| POLICY.into(), |name| name.to_string_lossy());
        let draft = Draft::parse(&name, &text).map_err(usage)?;
        let mut keys = BTreeMap::new();
        for file in draft.key_files() {
            // A key that is not there is reported at its line by the validation.
            if let Ok(pem) = read_text(&folder.join(&file)) {
                keys.insert(file, pem);
            }
        }
        let policy = draft.validate(&keys).map_err(usage)?;
        let trust = collect::trust(&policy);
        let (file, unpinned) = (path.clone(), RefCell::default());
        let session =
            Self { common, outputs, policy, trust, roots: Roots::default(), folder, file, unpinned };
        session.say_more(format_args!("policy {} ({})", path.display(), session.policy.digest()));
        if common.verbose {
            for warning in session.policy.warnings() {
                // Neutralised where it was made; its lines and caret are its own.
                let _ = writeln!(anstream::stderr(), "{warning}");
            }
        }
        Ok(session)
    }

    /// Who signs records.
    pub(crate) fn signer(&self) -> Result<Box<dyn Sign>, Trouble> {
        match self.signer_if_given()? {
            Some(signer) => Ok(signer),
            None => Err(usage(anyhow!(
                "nobody to sign as: this command signs what it records, expected --key FILE or SAMEBITS_KEY, or \
                 --keyless in a CI job"
            ))),
        }
    }

    /// Who signs records, where that was said.
    pub(crate) fn signer_if_given(&self) -> Result<Option<Box<dyn Sign>>, Trouble> {
        match (self.common.key.as_deref(), &self.common.keyless) {
            (None, None) => Ok(None),
            (Some(file), None) => {
                let key = self.read_key(file).map_err(usage)?;
                self.warn_if_shared("key", file);
                Ok(Some(Box::new(key)))
            }
            (None, Some(root)) => Ok(Some(Box::new(self.workload(root)?))),
            (Some(_), Some(_)) => Err(usage(anyhow!(
                "--keyless and a key: expected one of --keyless and --key FILE (or SAMEBITS_KEY)"
            ))),
        }
    }

    /// This CI job, by the certificate it gets.
    fn workload(&self, root: &RootName) -> Result<Workload, Trouble> {
        if !self.policy.roots().any(|known| known.name() == root) {
            return Err(usage(anyhow!(
                "--keyless={root}: no signer of the policy is known under that root, so nobody could read the \
                 record; expected a root that a signer names"
            )));
        }
        let http = http_config(&self.policy, &self.folder);
        let services = match &self.common.signing_config {
            None if *root == RootName::PublicGood => Services::public_good(&http),
            None => {
                return Err(usage(anyhow!(
                    "--keyless={root}: where its services are is not known here, expected --signing-config FILE"
                )));
            }
            Some(file) => {
                let shown = file.display();
                let text = read_text(file)
                    .with_context(|| format!("the signing config {shown} cannot be read"))
                    .map_err(usage)?;
                Services::read(&text, &http)
            }
        };
        let services = services.context("--keyless cannot be used").map_err(usage)?;
        let token = match variable(ID_TOKEN) {
            Some(text) => Token::Given(text.into()),
            None => Token::Ambient,
        };
        self.progress(format_args!("asking for a certificate for this job"));
        let workload = Workload::open(services, root.clone(), self.trust.clone(), token, &http, now);
        let workload = workload.map_err(|error| match error {
            SigningError::Token(TokenError::None | TokenError::Malformed | TokenError::Audience) => {
                usage(error)
            }
            error => undecided(error),
        })?;
        self.say_more(format_args!("signing as {}", workload.author().identity()));
        Ok(workload)
    }

    /// A private key from a PEM file; its password, where it has one, is looked for only then.
    fn read_key(&self, file: &Path) -> anyhow::Result<PrivateKey> {
        let shown = file.display();
        let pem = Zeroizing::new(read_text(file).with_context(|| format!("the key {shown} cannot be read"))?);
        let unread = match PrivateKey::from_pem(&pem) {
            Err(error @ KeyError::Encrypted { .. }) => error,
            read => return read.with_context(|| format!("the key {shown} cannot be used")),
        };
        let Some(password) = self.key_password()? else {
            return Err(unread)
                .with_context(|| format!("the key {shown} cannot be used without its password"));
        };
        PrivateKey::from_encrypted_pem(&pem, &password.bytes).with_context(|| {
            format!("the key {shown} cannot be used with the password from {}", password.from)
        })
    }

    /// The password of an encrypted key: from the file that was typed, else from our variable, else from cosign's.
    ///
    /// Empty is an error (E12), except in `COSIGN_PASSWORD`: there it is cosign's way to say the empty password.
    fn key_password(&self) -> anyhow::Result<Option<Password>> {
        if let Some(file) = &self.common.key_password_file {
            let shown = file.display();
            let text =
                read_text(file).with_context(|| format!("the password file {shown} cannot be read"))?;
            let text = Zeroizing::new(text);
            self.warn_if_shared("password file", file);
            // The one line end that an editor adds is not part of it.
            let line = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(&text);
            if line.is_empty() {
                return Err(anyhow!("the password file {shown} is empty: expected the password of the key"));
            }
            let bytes = Zeroizing::new(line.as_bytes().to_vec());
            return Ok(Some(Password { bytes, from: format!("the file {shown}") }));
        }
        for name in [KEY_PASSWORD, COSIGN_PASSWORD] {
            let Some(bytes) = variable_as_it_is(name).map(Zeroizing::new) else { continue };
            if bytes.is_empty() && name == KEY_PASSWORD {
                return Err(anyhow!(
                    "{KEY_PASSWORD} is empty: expected the password of the key (an unset variable?)"
                ));
            }
            return Ok(Some(Password { bytes, from: name.to_owned() }));
        }
        Ok(None)
    }

    /// The ledger, for reading: one that continues what was seen of it.
    pub(crate) fn ledger(&self) -> Result<Ledger, Trouble> {
        let mut ledger = self.ledger_as_it_is(None)?;
        self.guard(&mut ledger)?;
        Ok(ledger)
    }

    /// The ledger, for appending: one that continues what was seen of it.
    pub(crate) fn ledger_to_append(&self) -> Result<Ledger, Trouble> {
        let signer = self.log_signer().map_err(usage)?;
        let mut ledger = self.ledger_as_it_is(Some(signer))?;
        self.guard(&mut ledger)?;
        Ok(ledger)
    }

    /// The ledger, whatever was seen of it.
    pub(crate) fn ledger_as_it_is(&self, signer: Option<LogSigner>) -> Result<Ledger, Trouble> {
        let (url, base) = self.ledger_url().map_err(usage)?;
        self.ledger_at(&url, &base, signer)
    }

    fn ledger_at(&self, url: &str, base: &Path, signer: Option<LogSigner>) -> Result<Ledger, Trouble> {
        let vkey = self.vkey().map_err(usage)?;
        let cache = cache_folder();
        let folders = Folders { base, cache: cache.as_deref() };
        let ledger = Ledger::open(url, folders, &vkey, signer);
        let mut ledger = ledger.context("the ledger cannot be opened").map_err(undecided)?;
        ledger.combine_by(now);
        self.say_more(format_args!("ledger {url} ({})", vkey.origin()));
        Ok(ledger)
    }

    /// One ledger that continues what was seen of it, and a new and empty one beside it, of the same key; both to be
    /// appended to. Relative paths start at the current folder.
    pub(crate) fn ledger_and_new(&self, from: &str, to: &str) -> Result<(Ledger, Ledger), Trouble> {
        let base = std::env::current_dir().context("there is no current folder").map_err(usage)?;
        let signer = self.log_signer().map_err(usage)?;
        let mut old = self.ledger_at(from, &base, Some(signer.clone()))?;
        self.guard(&mut old)?;
        let cache = cache_folder();
        let folders = Folders { base: &base, cache: cache.as_deref() };
        let new = Ledger::create(to, folders, &signer);
        Ok((old, new.context("the new ledger cannot be made").map_err(undecided)?))
    }

    /// Where the ledger is, and the folder relative paths start at: the policy's, or the current one for a flag.
    pub(crate) fn ledger_url(&self) -> anyhow::Result<(String, PathBuf)> {
        match &self.common.ledger {
            Some(url) => Ok((url.clone(), std::env::current_dir().context("there is no current folder")?)),
            None => Ok((self.policy.ledger().url().to_owned(), self.folder.clone())),
        }
    }

    pub(crate) fn vkey(&self) -> anyhow::Result<Vkey> {
        self.policy
            .ledger()
            .verifier()
            .parse::<Vkey>()
            .context("`verifier` in [ledger] of the policy is wrong")
    }

    fn log_signer(&self) -> anyhow::Result<LogSigner> {
        let file = match (&self.common.ledger_key, self.policy.ledger().signing_key()) {
            (Some(file), _) => file.clone(),
            (None, Some(file)) => self.folder.join(file),
            (None, None) => {
                return Err(anyhow!(
                    "no ledger key: appending signs a checkpoint, expected SAMEBITS_LEDGER_KEY or `signing-key` in \
                     [ledger]"
                ));
            }
        };
        let text =
            read_text(&file).with_context(|| format!("the ledger key {} cannot be read", file.display()))?;
        self.warn_if_shared("key", &file);
        text.trim()
            .parse::<LogSigner>()
            .with_context(|| format!("the ledger key {} is wrong", file.display()))
    }

    /// Evidence that was named on the command line.
    pub(crate) fn files(&self, given: &[Given]) -> Result<Files, Trouble> {
        let (mut paths, mut repositories) = (Vec::new(), Vec::new());
        for one in given {
            match one {
                Given::Path(path) => paths.push(path.clone()),
                Given::Repository(repository) => repositories.push(self.repository(repository)?),
            }
        }
        let files = Files::read(&paths).map_err(|error| match error {
            // Nothing is there: what was typed is wrong, not the evidence.
            FilesError::Absent { .. } => usage(error),
            FilesError::Unreadable { .. }
            | FilesError::NotAFile { .. }
            | FilesError::Json { .. }
            | FilesError::NotABundle { .. }
            | FilesError::Empty { .. }
            | FilesError::TooLarge { .. }
            | FilesError::TooMuch { .. } => undecided(error),
        });
        Ok(files?.and_from(repositories))
    }

    /// The registries, with the logins of Docker and Podman.
    pub(crate) fn registries(&self) -> Result<Registries, Trouble> {
        let config = http_config(&self.policy, &self.folder);
        Ok(Registries::new(config, self.folder.clone()))
    }

    /// A reference as typed: a relative layout folder is meant from the current folder, and kept relative to the
    /// policy's, so that it is spelled as the policy spells it.
    pub(crate) fn reference(&self, typed: &Reference) -> Result<Reference, Trouble> {
        let repository = self.repository(typed.repository())?;
        Ok(match typed {
            Reference::Tagged(_, tag) => Reference::Tagged(repository, tag.clone()),
            Reference::Pinned(image) => Reference::Pinned(Image::new(repository, image.digest)),
            Reference::Expected(image, tag) => {
                Reference::Expected(Image::new(repository, image.digest), tag.clone())
            }
        })
    }

    /// See [`Session::reference`].
    pub(crate) fn repository(&self, typed: &Repository) -> Result<Repository, Trouble> {
        let Location::Layout { folder } = typed.location() else { return Ok(typed.clone()) };
        let absolute = std::path::absolute(folder)
            .with_context(|| format!("the layout folder {folder} cannot be found"))
            .map_err(usage)?;
        let absolute = without_dots(&absolute);
        let text = as_in_a_policy(&absolute, &without_dots(&self.folder));
        let text = text.ok_or_else(|| usage(anyhow!("{} is not UTF-8", absolute.display())))?;
        Repository::layout(if text.is_empty() { "." } else { &text }).map_err(usage)
    }

    /// A warning: on stderr, unless only the result is wanted.
    pub(crate) fn warn(&self, text: std::fmt::Arguments<'_>) {
        if !self.common.quiet {
            say(text);
        }
    }

    /// What is being done, for somebody who waits at a terminal or asked for more.
    pub(crate) fn progress(&self, text: std::fmt::Arguments<'_>) {
        if self.common.verbose || (!self.common.quiet && std::io::stderr().is_terminal()) {
            say(text);
        }
    }

    /// A word only for those who asked for more.
    pub(crate) fn say_more(&self, text: std::fmt::Arguments<'_>) {
        if self.common.verbose {
            say(text);
        }
    }

    /// A private key, or its password, that others can read is worth a warning (F8).
    fn warn_if_shared(&self, what: &str, file: &Path) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(file).map(|metadata| metadata.permissions().mode() & 0o777);
            if let Ok(mode) = mode
                && mode & 0o077 != 0
            {
                let file = file.display();
                self.warn(format_args!(
                    "warning: the {what} {file} is open to others (mode {mode:03o}); only its owner should read it: \
                     chmod 600 {file}"
                ));
            }
        }
        #[cfg(not(unix))]
        let _ = (what, file);
    }
}

/// A folder as a policy in `base` spells it: with `/`, and without a drive, so that on Windows one of another drive has no
/// spelling that is taken. `None` where it is not UTF-8.
fn as_in_a_policy(absolute: &Path, base: &Path) -> Option<String> {
    let relative = absolute.strip_prefix(base).unwrap_or(absolute);
    let drive = base.components().next().filter(|first| matches!(first, Component::Prefix(_)));
    let relative = drive.and_then(|drive| relative.strip_prefix(drive).ok()).unwrap_or(relative);
    let text = relative.to_str()?;
    Some(if cfg!(windows) { text.replace('\\', "/") } else { text.to_owned() })
}

fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => clean.push(component),
        }
    }
    clean
}

pub(crate) fn find_policy() -> anyhow::Result<PathBuf> {
    let start = std::env::current_dir().context("there is no current folder")?;
    start.ancestors().map(|folder| folder.join(POLICY)).find(|path| path.is_file()).ok_or_else(|| {
        anyhow!(
            "no {POLICY} in {} or above: expected a policy file, `samebits init` writes a first one",
            start.display()
        )
    })
}

/// Why a small text file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it has {found} bytes: expected at most {LIMIT}")]
    TooLong { found: u64 },
    #[error("it is not UTF-8 text")]
    NotText,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The text of a policy or key file: a regular file of reasonable size; never a device or a pipe that has no end.
pub(crate) fn read_text(path: &Path) -> Result<String, FileError> {
    String::from_utf8(read_small(path)?).map_err(|_| FileError::NotText)
}

/// The same, of any bytes.
pub(crate) fn read_small(path: &Path) -> Result<Vec<u8>, FileError> {
    // Before it is opened: opening a pipe waits for its other end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(FileError::NotAFile);
    }
    let file = std::fs::File::open(path)?;
    let found = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(FileError::TooLong { found });
    }
    Ok(bytes)
}

/// What the policy says of registries, the logins of Docker and Podman, and the proxies of the environment. Nothing
/// is looked for in the working folder (F9).
pub(crate) fn http_config(policy: &Policy, folder: &Path) -> HttpConfig {
    let mut config = http_config_without_policy();
    for (host, settings) in policy.registries() {
        // A host that the policy names without `plain-http` speaks TLS, on loopback too.
        let transport =
            if settings.plain_http() { &mut config.plain_http_hosts } else { &mut config.tls_hosts };
        transport.push(host.clone());
        config.ca_files.extend(settings.ca().map(|file| folder.join(file)));
        config.token_hosts.extend(settings.token_host().map(str::to_owned));
    }
    config
}

/// The same where there is no policy that says anything of registries.
pub(crate) fn http_config_without_policy() -> HttpConfig {
    let mut config = HttpConfig { login_files: login_files(), ..HttpConfig::default() };
    let either = |name: &str| variable(&name.to_lowercase()).or_else(|| variable(name));
    config.proxies.http = either("HTTP_PROXY");
    config.proxies.https = either("HTTPS_PROXY");
    config.proxies.except = either("NO_PROXY");
    config
}

/// Where copies of what lies elsewhere are kept.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    user_folder("XDG_CACHE_HOME", ".cache").map(|cache| cache.join("samebits"))
}

/// A folder of this user (XDG Base Directory Specification 0.8); a relative one would be looked for in the working
/// folder (F9).
pub(crate) fn user_folder(name: &str, below_home: &str) -> Option<PathBuf> {
    let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    folder(name).or_else(|| folder(HOME).map(|home| home.join(below_home)))
}

/// Where Docker and Podman keep logins, Podman's own variable first (containers-auth.json(5)).
fn login_files() -> Vec<PathBuf> {
    // A relative one would be looked for in the working folder.
    let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = |below: &str| folder(HOME).map(|home| home.join(below));
    let docker = folder("DOCKER_CONFIG").or_else(|| home(".docker"));
    [
        folder("REGISTRY_AUTH_FILE"),
        folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
        home(".config/containers/auth.json"),
        docker.map(|folder| folder.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}
