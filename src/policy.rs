//! The policy file: which images may enter which environment, and who says so.
//!
//! Guarantees: a [`Policy`] exists only if every rule of the format was checked. Every signer has an identity,
//! every environment has requirements, every name is known, every key was read; nothing is permitted because it
//! was left out. Errors are all reported at once, each with its line.
//! Never does: I/O. The caller reads the file and the key files it names.
//!
//! Start at [`Draft::parse`], then [`Draft::key_files`], then [`Draft::validate`].

mod attestation;
mod cel;
mod claims;
mod diagnostic;
mod duration;
mod environment;
mod field;
mod lock;
mod mismatch;
mod names;
mod pattern;
mod problem;
mod raw;
mod read;
mod record_url;
mod root;
mod signer;
mod template;
mod validate;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use toml::Spanned;
use toml::de::DeTable;

pub use self::attestation::{AttestationKind, AttestationRule, SvrRule, TestRule, VsaRule, VulnsRule};
pub use self::cel::{Expression, ExpressionError, NAMES as EXPRESSION_NAMES, Refusal};
pub use self::claims::{ClaimName, ClaimRules, WrongClaim};
pub use self::diagnostic::{PolicyError, PolicyErrors, Warning};
pub use self::duration::{DurationError, spell_duration};
pub use self::environment::{
    After, ApprovalRule, Environment, EvidenceClass, Excluded, Predecessor, ProvenanceRule, RefRule, Require,
};
pub use self::field::Field;
pub use self::lock::{Lock, LockError};
pub use self::mismatch::Mismatch;
pub use self::names::{EnvironmentName, NameError, Named, ServiceName, SignerName, UnknownName};
pub use self::pattern::{Pattern, PatternError};
pub use self::problem::{Problem, Remark};
pub use self::raw::schema;
pub use self::record_url::{RecordUrl, RecordUrlError};
pub use self::root::{RootRule, RootSource, TufSource};
pub use self::signer::{KeyTime, Matcher, Signer, Subject};
pub use self::template::{Template, TemplateError};

use crate::closure::Platform;
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::reference::Repository;
use crate::verify::{Author, RootName};

/// The longest policy file, in bytes.
pub const LIMIT: usize = 1024 * 1024;

/// A policy file that is well formed; what it means is not checked yet.
#[derive(Debug)]
pub struct Draft {
    file: String,
    text: String,
    raw: raw::File,
}

impl Draft {
    /// Reads the text of a policy file. `file` is its name in error messages and in [`Policy::file`].
    ///
    /// # Errors
    /// Everything that is not TOML, is of the wrong type, is missing, is empty, or has an unknown key.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyErrors> {
        let mut errors = diagnostic::Errors::default();
        if text.len() > LIMIT {
            return Err(PolicyErrors::whole(file, Problem::TooLong { length: text.len(), limit: LIMIT }));
        }
        let table = toml_table(text, &mut errors);
        let raw = table.and_then(|table| raw::File::read(table.get_ref(), &mut errors));
        errors.finish(file, text)?;
        match raw {
            Some(raw) => Ok(Self { file: file.to_owned(), text: text.to_owned(), raw }),
            // Cannot happen: nothing is left out without an error. If it does, the answer is still no.
            None => Err(PolicyErrors::whole(file, Problem::Incomplete)),
        }
    }

    /// The files the policy names, public keys and roots of trust, as written: relative to the folder of the policy
    /// file.
    pub fn key_files(&self) -> BTreeSet<String> {
        let matchers = self.raw.signers.0.iter().flat_map(|(_, signer)| signer.matchers());
        let keys = matchers.filter_map(|matcher| match matcher {
            raw::Matcher::Key { file, .. } => Some(file.value.clone()),
            raw::Matcher::Keyless(_) => None,
        });
        let roots = self.raw.roots.0.iter().flat_map(|(_, root)| root.files()).map(|file| file.value.clone());
        keys.chain(roots).collect()
    }

    /// Checks what the file means. `keys` holds the text of every file of [`Draft::key_files`]; one that is
    /// absent could not be read.
    ///
    /// # Errors
    /// Everything that breaks a rule of the format, in the order of the lines.
    pub fn validate(self, keys: &BTreeMap<String, String>) -> Result<Policy, PolicyErrors> {
        validate::validate(&self, keys)
    }
}

/// The TOML of a file. What is behind a syntax error is guesswork: it is not read.
fn toml_table<'t>(text: &'t str, errors: &mut diagnostic::Errors) -> Option<Spanned<DeTable<'t>>> {
    let (table, syntax) = DeTable::parse_recoverable(text);
    for source in syntax {
        let span = source.span().unwrap_or(0..0);
        errors.push(&span, Problem::Syntax { source });
    }
    errors.is_empty().then_some(table)
}

/// A policy that was checked.
#[derive(Clone, Debug)]
pub struct Policy {
    digest: Digest,
    file: String,
    key_digests: BTreeMap<String, Digest>,
    sources: Vec<Bytes>,
    ledger: LedgerSettings,
    registries: BTreeMap<String, RegistrySettings>,
    roots: BTreeMap<RootName, RootRule>,
    signers: BTreeMap<SignerName, Signer>,
    control: Option<Control>,
    services: BTreeMap<ServiceName, Service>,
    environments: Vec<Environment>,
    homes: BTreeMap<Repository, (ServiceName, Option<EnvironmentName>)>,
    warnings: Vec<Warning>,
}

/// The role a repository has in a policy; it has one only.
#[derive(Clone, Copy, Debug)]
pub enum Home<'p> {
    /// Where the build of the service pushes.
    Service(&'p Service),
    /// Where an environment pulls the service from.
    Environment(&'p Service, &'p Environment),
}

impl Policy {
    /// The digest of the file's bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The name of the file, as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The id of every public key and the digest of every file of a root of trust, by file as written: with
    /// [`Policy::digest`] all that a decision depends on beside the roots in this program and those that are refreshed.
    pub fn key_digests(&self) -> &BTreeMap<String, Digest> {
        &self.key_digests
    }

    /// The bytes with [`Policy::digest`] and those with [`Policy::key_digests`]: the file, the DER of every public
    /// key, every trusted root that is a file.
    pub fn sources(&self) -> &[Bytes] {
        &self.sources
    }

    /// The ledger.
    pub fn ledger(&self) -> &LedgerSettings {
        &self.ledger
    }

    /// Exceptions for registries, by host with port.
    pub fn registries(&self) -> &BTreeMap<String, RegistrySettings> {
        &self.registries
    }

    /// The hosts, with port, that are spoken to without TLS.
    pub fn plain_http_hosts(&self) -> BTreeSet<&str> {
        let plain = self.registries.iter().filter(|(_, settings)| settings.plain_http);
        plain.map(|(host, _)| host.as_str()).collect()
    }

    /// The roots of trust that signers name, and those the file keeps for keys whose signatures are logged. One that
    /// has to be refreshed is here only if a signer names it.
    pub fn roots(&self) -> impl Iterator<Item = &RootRule> {
        self.roots.values()
    }

    /// Every signer.
    pub fn signers(&self) -> impl Iterator<Item = &Signer> {
        self.signers.values()
    }

    /// Every key of every signer. Certificates bring theirs; there is none to know beforehand.
    pub fn keys(&self) -> Vec<PublicKey> {
        self.signers().flat_map(Signer::keys).cloned().collect()
    }

    /// Who may say what is no longer good; none where the file does not say: then nobody may.
    pub fn control(&self) -> Option<&Control> {
        self.control.as_ref()
    }

    /// Whether an author may revoke, and lift a revocation, when they speak about a service.
    pub fn may_revoke(&self, author: &Author, service: &ServiceName) -> bool {
        self.control.as_ref().is_some_and(|control| {
            self.who(author, service).into_iter().any(|name| control.revokers.contains(name))
        })
    }

    /// Whether some of those who may revoke or freeze are known by certificate: then a certificate that nobody here can
    /// judge may be one of theirs.
    pub fn may_say_no_by_certificate(&self) -> bool {
        let names = self.control.iter().flat_map(|control| control.revokers.iter().chain(&control.freezers));
        self.by_certificate(names)
    }

    /// Whether some of these signers are known by certificate.
    pub fn by_certificate<'n>(&self, names: impl IntoIterator<Item = &'n SignerName>) -> bool {
        let signers = names.into_iter().filter_map(|name| self.signer(name));
        signers.into_iter().any(|signer| signer.keys().count() < signer.any_of().len())
    }

    /// Whether an author may freeze, and thaw, when they speak about a service.
    pub fn may_freeze(&self, author: &Author, service: &ServiceName) -> bool {
        self.control.as_ref().is_some_and(|control| {
            self.who(author, service).into_iter().any(|name| control.freezers.contains(name))
        })
    }

    /// Every service, by name.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// Every environment: those it comes after first, and in the order of the file where that leaves a choice.
    pub fn environments(&self) -> &[Environment] {
        &self.environments
    }

    /// The signer of that name.
    pub fn signer(&self, name: &SignerName) -> Option<&Signer> {
        self.signers.get(name)
    }

    /// The service of that name.
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.get(name)
    }

    /// The environment of that name.
    pub fn environment(&self, name: &EnvironmentName) -> Option<&Environment> {
        self.environments.iter().find(|environment| environment.name == *name)
    }

    /// The service a person typed: byte for byte, nothing is trimmed or folded.
    ///
    /// # Errors
    /// [`UnknownName`] with the name that was most likely meant.
    pub fn find_service(&self, text: &str) -> Result<&Service, UnknownName> {
        let unknown = || UnknownName::new(Named::Service, text, self.services.keys());
        self.services.get(text).ok_or_else(unknown)
    }

    /// The environment a person typed: byte for byte, nothing is trimmed or folded.
    ///
    /// # Errors
    /// [`UnknownName`] with the name that was most likely meant.
    pub fn find_environment(&self, text: &str) -> Result<&Environment, UnknownName> {
        let names = self.environments.iter().map(Environment::name);
        let unknown = || UnknownName::new(Named::Environment, text, names);
        self.environments.iter().find(|environment| environment.name.as_str() == text).ok_or_else(unknown)
    }

    /// The service whose own repository, or whose repository in an environment, this is.
    pub fn service_of(&self, repository: &Repository) -> Option<&Service> {
        self.home_of(repository).map(|home| match home {
            Home::Service(service) | Home::Environment(service, _) => service,
        })
    }

    /// The one role of a repository.
    pub fn home_of(&self, repository: &Repository) -> Option<Home<'_>> {
        let (service, environment) = self.homes.get(repository)?;
        let service = self.service(service)?;
        match environment {
            None => Some(Home::Service(service)),
            Some(environment) => Some(Home::Environment(service, self.environment(environment)?)),
        }
    }

    /// Every repository that an environment runs from.
    pub fn environment_repositories(&self) -> impl Iterator<Item = (&Repository, &Environment)> {
        self.homes.iter().filter_map(|(repository, (_, environment))| {
            environment
                .as_ref()
                .and_then(|name| self.environment(name))
                .map(|environment| (repository, environment))
        })
    }

    /// The names an author goes by when they speak about a service, sorted: by identity, and by what else the
    /// certificate says where a signer asks for it.
    pub fn who(&self, author: &Author, service: &ServiceName) -> Vec<&SignerName> {
        self.signers.values().filter(|signer| signer.is(author, service)).map(Signer::name).collect()
    }

    /// What keeps an author from being the signer of that name, where they nearly are: for explaining a refusal.
    pub fn why_not(&self, signer: &SignerName, author: &Author, service: &ServiceName) -> Vec<Mismatch> {
        self.signer(signer).map(|signer| signer.why_not(author, service)).unwrap_or_default()
    }

    /// These rules, where another file's were: an approval that was given for that file is then for this one. For
    /// questions about the past alone; nothing is promoted by it.
    pub(crate) fn in_the_place_of(self, other: &Self) -> Self {
        Self { digest: other.digest, key_digests: other.key_digests.clone(), ..self }
    }

    /// What is allowed and probably not meant.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

/// `[ledger]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    url: String,
    origin: String,
    verifier: String,
    signing_key: Option<String>,
    record_url: Option<RecordUrl>,
}

impl LedgerSettings {
    /// Where the ledger is kept; paths in it are relative to the folder of the policy file.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name of the log (C2SP tlog-checkpoint, origin).
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The log's C2SP verifier key; its name is [`LedgerSettings::origin`], its key id was recomputed.
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    /// The file of the log's signing key, relative to the folder of the policy file.
    pub fn signing_key(&self) -> Option<&str> {
        self.signing_key.as_deref()
    }

    /// Where people read a record. For links alone: nothing is fetched from there, and nothing is decided by it.
    pub fn record_url(&self) -> Option<&RecordUrl> {
        self.record_url.as_ref()
    }
}

/// `[control]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    revokers: Vec<SignerName>,
    freezers: Vec<SignerName>,
    same_identity_accepted: Option<String>,
}

impl Control {
    /// The signers who may revoke, and lift a revocation.
    pub fn revokers(&self) -> &[SignerName] {
        &self.revokers
    }

    /// The signers who may freeze what enters, and thaw; nobody where the file does not say.
    pub fn freezers(&self) -> &[SignerName] {
        &self.freezers
    }

    /// Why a revoker or freezer may be a promoter or deployer too.
    pub fn same_identity_accepted(&self) -> Option<&str> {
        self.same_identity_accepted.as_deref()
    }
}

/// `[registries."HOST"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    plain_http: bool,
    ca: Option<String>,
    token_host: Option<String>,
}

impl RegistrySettings {
    /// Whether the registry is spoken to without TLS (F6).
    pub fn plain_http(&self) -> bool {
        self.plain_http
    }

    /// A PEM file of further certificates to trust, relative to the folder of the policy file.
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// The host that may be sent the registry's credentials for a token.
    pub fn token_host(&self) -> Option<&str> {
        self.token_host.as_deref()
    }
}

/// `[services.NAME]`.
#[derive(Clone, Debug)]
pub struct Service {
    name: ServiceName,
    repository: Repository,
    platforms: Vec<Platform>,
    evidence_store: Option<Repository>,
}

impl Service {
    /// Its name.
    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// Where the build pushes.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The platforms that count; empty: every platform of the image.
    pub fn platforms(&self) -> &[Platform] {
        &self.platforms
    }

    /// Where evidence goes that a registry refuses to keep beside the image, and is looked for too; none where the file
    /// does not allow it to live elsewhere.
    pub fn evidence_store(&self) -> Option<&Repository> {
        self.evidence_store.as_ref()
    }
}
