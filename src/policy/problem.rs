//! Everything that can be wrong with a policy file: the sentence above the line and the hint behind the carets.

use crate::closure::PlatformError;
use crate::digest::shorten;
use crate::key::KeyError;
use crate::reference::ReferenceError;
use crate::tlog::TlogError;
use crate::verify::{RootError, RootName, RootNameError};

use super::cel::ExpressionError;
use super::duration::DurationError;
use super::names::{EnvironmentName, NameError, Named, SignerName, UnknownName, list};
use super::pattern::PatternError;
use super::record_url::RecordUrlError;
use super::template::TemplateError;

/// One thing that can be wrong with a policy file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file is larger than a policy can be.
    #[error("the file is {length} bytes long: expected at most {limit}")]
    TooLong {
        /// Length found, in bytes.
        length: usize,
        /// Length allowed, in bytes.
        limit: usize,
    },
    /// A part was left out without a reason. A defect of this program.
    #[error("the policy file could not be read completely: this is a defect of samebits")]
    Incomplete,
    /// Not TOML.
    #[error("not valid TOML (1.1)")]
    Syntax {
        /// What the TOML parser says.
        source: toml::de::Error,
    },
    /// A key that means nothing here.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The key, shortened and escaped.
        key: String,
        /// The key that was most likely meant.
        nearest: Option<&'static str>,
        /// Every key that may stand here.
        known: Vec<&'static str>,
    },
    /// A key that must be there.
    #[error("`{key}` is missing")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What the key takes.
        expected: &'static str,
        /// The TOML type found.
        found: &'static str,
    },
    /// An empty string.
    #[error("an empty string")]
    EmptyText,
    /// An empty list.
    #[error("an empty list")]
    EmptyList,
    /// A list that says the same twice.
    #[error("`{value}` is in this list twice")]
    Repeated {
        /// The value, shortened and escaped.
        value: String,
    },
    /// A word outside a closed set.
    #[error("`{found}` is not one of the words that may stand here")]
    UnknownWord {
        /// The word, shortened and escaped.
        found: String,
        /// The word that was most likely meant.
        nearest: Option<&'static str>,
        /// Every word that may stand here.
        known: Vec<&'static str>,
    },
    /// Another version of the format.
    #[error("policy version {found}: this program reads version 1")]
    Version {
        /// The version found.
        found: String,
    },
    /// A name outside the alphabet of names.
    #[error(transparent)]
    Name(NameError),
    /// A name that nothing has.
    #[error("unknown {} `{}`", .0.what, .0.given)]
    UnknownName(UnknownName),
    /// No service, environment or signer at all.
    #[error("the policy has no {what}")]
    None {
        /// What there is none of.
        what: Named,
    },
    /// More of a kind than a policy can have.
    #[error("{found} tables of the kind {what}: expected at most {limit}")]
    TooMany {
        /// What there is too much of.
        what: Named,
        /// Number found.
        found: usize,
        /// Number allowed.
        limit: usize,
    },

    /// A signer that is not exactly one of the three kinds.
    #[error("a signer has exactly one of `public-key`, `issuer` and `identity`, or `any-of`")]
    SignerShape {
        /// The keys found.
        found: Vec<&'static str>,
    },
    /// An identity and a pattern: which of them?
    #[error("a signer has `identity` or `pattern`, not both")]
    IdentityAndPattern,
    /// A text that is no pattern, or one for everybody.
    #[error("`{text}` is not a pattern for an identity")]
    Pattern {
        /// The text, shortened and escaped.
        text: String,
        /// What is wrong with it.
        source: PatternError,
    },
    /// More patterns, times services, than can be tried.
    #[error(
        "the patterns with `{{service}}` take more than {limit} regular expressions, one for each service"
    )]
    TooManyPatterns {
        /// How many they may take.
        limit: usize,
    },
    /// A root that has nothing to say.
    #[error("`root` has no meaning with `time = \"not-required\"`")]
    RootOfNoTime,
    /// A name that no root can have.
    #[error(transparent)]
    RootName(RootNameError),
    /// A root that is not there.
    #[error("unknown root `{found}`")]
    UnknownRoot {
        /// The name, shortened and escaped.
        found: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A path outside the policy's folder, or with characters that have no place in one.
    #[error("`{found}` is not a path of a trusted root")]
    RootPath {
        /// The path, shortened and escaped.
        found: String,
    },
    /// A trusted root that was not there, or could not be read.
    #[error("the trusted root `{file}` could not be read")]
    RootFileMissing {
        /// The path, shortened and escaped.
        file: String,
    },
    /// A file that holds no trusted root.
    #[error("the trusted root `{file}` is not one")]
    Root {
        /// The path, shortened and escaped.
        file: String,
        /// What is wrong with it.
        source: RootError,
    },
    /// A root with two sources, or none.
    #[error("a root has exactly one of `trusted-root` and `refresh`")]
    RootShape,
    /// A day for a root that is not a file.
    #[error("`taken-on` is the day of a `trusted-root`")]
    TakenOnWithRefresh,
    /// A limit of age for a file of unknown age.
    #[error("`max-age` of a file that does not say how old it is")]
    MaxAgeWithoutDay,
    /// `refresh = "tuf"` for an instance whose repository nobody knows.
    #[error("`refresh = \"tuf\"` is for `public-good` and `github`")]
    RefreshWithoutRepository,
    /// A beginning of trust for an instance that has one.
    #[error("the beginning of trust in `{name}` is in this program")]
    RefreshWithRoot {
        /// The root.
        name: RootName,
    },
    /// A text that is no URL of a TUF repository.
    #[error("`{found}` is not the URL of a TUF repository")]
    TufUrl {
        /// The text, shortened and escaped.
        found: String,
    },
    /// A file that holds no TUF root metadata.
    #[error("`{file}` is not the `root.json` of a TUF repository")]
    TufRoot {
        /// The path, shortened and escaped.
        file: String,
    },
    /// A text that is no template.
    #[error("`{text}` is not an exact text")]
    Template {
        /// The text, shortened and escaped.
        text: String,
        /// What is wrong with it.
        source: TemplateError,
    },
    /// `{service}` where every service shares one text.
    #[error("`{{service}}` has no place here")]
    ServiceHasNoPlace,
    /// An issuer that is no `https` URL.
    #[error("`{found}` is not an issuer")]
    Issuer {
        /// The text, shortened and escaped.
        found: String,
    },
    /// A path outside the policy's folder, or with characters that have no place in one.
    #[error("`{found}` is not a path of a key file")]
    KeyPath {
        /// The path, shortened and escaped.
        found: String,
    },
    /// A key file that was not there, or could not be read.
    #[error("the key file `{file}` could not be read")]
    KeyFileMissing {
        /// The path, shortened and escaped.
        file: String,
    },
    /// A key file that holds no public key.
    #[error("the key file `{file}` holds no usable public key")]
    Key {
        /// The path, shortened and escaped.
        file: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// One signer lists one identity twice.
    #[error("{identity} is in signer `{signer}` twice")]
    IdentityTwice {
        /// The signer.
        signer: SignerName,
        /// The identity, neutralised.
        identity: String,
    },

    /// A text that is no repository.
    #[error("not a repository")]
    Repository {
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// A text that is no tag.
    #[error("not a tag")]
    Tag {
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// A text that is no platform.
    #[error("not a platform")]
    Platform {
        /// What is wrong with it.
        source: PlatformError,
    },
    /// One repository for several services.
    #[error("the repository does not name the service, and there are {services} services")]
    RepositoryWithoutService {
        /// Number of services.
        services: usize,
    },
    /// An environment that would run from an archive.
    #[error("`{repository}` is an archive, which is written once: no promotion could add to it")]
    RepositoryIsArchive {
        /// The repository.
        repository: String,
    },
    /// An evidence store that is an archive.
    #[error("`{store}` is an archive, which is written once: no evidence could be added to it")]
    StoreIsArchive {
        /// The store.
        store: String,
    },
    /// One repository in two roles.
    #[error("`{repository}` is the repository of {first} and of {second}")]
    Collision {
        /// The repository.
        repository: String,
        /// The role found first.
        first: String,
        /// The role found second, which the line belongs to.
        second: String,
    },

    /// A text that is no duration.
    #[error("`{found}` is not a duration")]
    Duration {
        /// The text, shortened and escaped.
        found: String,
        /// What is wrong with it.
        source: DurationError,
    },
    /// A time that is none for a permit.
    #[error("a permit that is good for `{found}`")]
    PermitFor {
        /// The text, shortened and escaped.
        found: String,
    },
    /// `entry = false`.
    #[error("`entry = false` says nothing")]
    EntryFalse,
    /// `entry` and `after` in one environment.
    #[error("environment `{environment}` has both `entry` and `after`")]
    EntryAndAfter {
        /// The environment.
        environment: EnvironmentName,
    },
    /// Neither `entry` nor `after`.
    #[error("environment `{environment}` has neither `entry = true` nor `after`")]
    NeitherEntryNorAfter {
        /// The environment.
        environment: EnvironmentName,
    },
    /// Environments, but none to begin with.
    #[error("no environment has `entry = true`")]
    NoEntry,
    /// An environment that comes after itself.
    #[error("environment `{environment}` comes after itself")]
    AfterItself {
        /// The environment.
        environment: EnvironmentName,
    },
    /// A circle of environments.
    #[error("environments in a circle: {}", spell_cycle(.cycle))]
    Cycle {
        /// The environments; each comes after the next, the last after the first.
        cycle: Vec<EnvironmentName>,
    },
    /// An entry environment that lets everything in.
    #[error("entry environment `{environment}` requires neither `signed-by` nor `provenance`")]
    EntryWithoutEvidence {
        /// The environment.
        environment: EnvironmentName,
    },
    /// An entry environment whose only requirement is a warning.
    #[error("entry environment `{environment}` requires only what is not enforced yet")]
    EntryOnlyWarns {
        /// The environment.
        environment: EnvironmentName,
    },
    /// One identity says that an image ran, and lets it into the next environment because it ran.
    #[error(
        "{identity} may both report deployments in `{deployed}` (`{deployer}`) and promote to `{environment}` (`{promoter}`)"
    )]
    SameIdentity {
        /// The identity, neutralised.
        identity: String,
        /// The signer as a deployer of the earlier environment.
        deployer: SignerName,
        /// The earlier environment.
        deployed: EnvironmentName,
        /// The signer as a promoter of the later environment.
        promoter: SignerName,
        /// The later environment.
        environment: EnvironmentName,
    },
    /// An acceptance of something that is not there.
    #[error("`same-identity-accepted` accepts nothing")]
    SameIdentityUnused {
        /// The environment that has it.
        environment: EnvironmentName,
    },
    /// A revoker or freezer that acts: it could lift what stops it.
    #[error("{identity} is a {role} (`{name}`) and acts in `{environment}` (`{other}`)")]
    ControlActs {
        /// The identity, neutralised.
        identity: String,
        /// `revoker` or `freezer`.
        role: &'static str,
        /// The signer in that role.
        name: SignerName,
        /// The signer as a promoter or deployer.
        other: SignerName,
        /// Where.
        environment: EnvironmentName,
    },
    /// An acceptance of something that is not there.
    #[error("`same-identity-accepted` accepts nothing")]
    ControlActsUnused,
    /// A count outside its range.
    #[error("{found} approvals")]
    ApprovalCount {
        /// The number found.
        found: String,
    },
    /// More approvals than there are identities to give them.
    #[error("{count} approvals can never come from {identities} {}", if *.identities == 1 { "identity" } else { "identities" })]
    ApprovalsUnreachable {
        /// Approvals wanted.
        count: u32,
        /// Different identities in `from`.
        identities: usize,
    },
    /// `any` among others.
    #[error("`any` in a list of refs")]
    AnyAmongRefs,
    /// A commit that is no full Git object id.
    #[error("`{found}` is not a commit")]
    Commit {
        /// The text, shortened and escaped.
        found: String,
    },
    /// A key of `parameters` that is no pointer.
    #[error("`{found}` is not a pointer")]
    Pointer {
        /// The text, shortened and escaped.
        found: String,
    },
    /// A level that SLSA does not have.
    #[error("there is no SLSA Build level {found}")]
    Level {
        /// The number found.
        found: String,
    },

    /// A type of attestation that is neither a word of the format nor a predicate type.
    #[error("`{found}` is not a type of attestation")]
    AttestationType {
        /// The text, shortened and escaped.
        found: String,
        /// The word that was most likely meant.
        nearest: Option<&'static str>,
    },
    /// A predicate type that has a word, and rules of its own.
    #[error("`{found}` has a word of its own")]
    AttestationHasWord {
        /// The predicate type, shortened and escaped.
        found: String,
        /// The word.
        word: &'static str,
    },
    /// A predicate type that another part of the policy is about, or that is no evidence.
    #[error("`{found}` is not required here")]
    NotRequiredHere {
        /// The predicate type, shortened and escaped.
        found: String,
        /// Where it belongs.
        instead: &'static str,
    },
    /// A type that any attestation would meet.
    #[error("nothing is said of what it must say")]
    AttestationSaysNothing,
    /// `present = false`, or `present` beside something that says more.
    #[error("`present` has no meaning here")]
    PresentHasNoMeaning,
    /// Our own verdict as evidence.
    #[error("`{found}` is this program: its own verdict is never evidence")]
    OwnVerifier {
        /// The verifier's id, shortened and escaped.
        found: String,
    },
    /// An environment that the bytes need not have run in.
    #[error("`{found}` is not an environment that `after` names here")]
    NotAPredecessor {
        /// The text, shortened and escaped.
        found: String,
    },
    /// A text that is no expression.
    #[error("`{text}` is not an expression")]
    Expression {
        /// The text, shortened and escaped.
        text: String,
        /// What is wrong with it.
        source: ExpressionError,
    },
    /// A table that says nothing.
    #[error("an empty table: `{key}`")]
    EmptyTable {
        /// Its key.
        key: &'static str,
    },
    /// A number of findings below nothing.
    #[error("at most {found} findings")]
    Limit {
        /// The number found.
        found: String,
    },
    /// A text that is no level.
    #[error("`{found}` is not a level")]
    SlsaResult {
        /// The text, shortened and escaped.
        found: String,
    },
    /// `vex-max-age` without `vex`.
    #[error("`vex-max-age` without `vex`")]
    AgeOfNothing,

    /// A text that is no registry host.
    #[error("`{found}` is not a registry host")]
    RegistryHost {
        /// The text, shortened and escaped.
        found: String,
    },
    /// A registry table without settings.
    #[error("nothing is said about this registry")]
    RegistrySaysNothing,
    /// A CA for a registry that is spoken to without TLS.
    #[error("`ca` has no meaning with `plain-http`")]
    PlainHttpWithCa,
    /// A text that is no ledger URL.
    #[error("`{found}` is not a ledger URL")]
    LedgerUrl {
        /// The text, shortened and escaped.
        found: String,
    },
    /// A text that is no address of a record.
    #[error("`{found}` is not where a record can be read")]
    RecordUrl {
        /// The text, shortened and escaped.
        found: String,
        /// What is wrong with it.
        source: RecordUrlError,
    },
    /// A text that is no log origin.
    #[error("`{found}` is not a log origin")]
    Origin {
        /// The text, shortened and escaped.
        found: String,
    },
    /// A text that is no C2SP verifier key.
    #[error("`{found}` is not the verifier key of a log")]
    Verifier {
        /// The text, shortened and escaped.
        found: String,
    },
    /// A verifier key of another log.
    #[error("the verifier key is of `{found}`, the origin is `{origin}`")]
    VerifierOrigin {
        /// The name in the key, shortened and escaped.
        found: String,
        /// The origin, shortened and escaped.
        origin: String,
    },
    /// A lock of another version of the format.
    #[error("lock version {found}: this program reads version 1")]
    LockVersion {
        /// The version found.
        found: String,
    },
    /// A number that no log has records.
    #[error("`{found}` is not the size of a log")]
    LogSize {
        /// The number.
        found: String,
    },
    /// A text that is no digest.
    #[error("`{found}` is not the root of a log")]
    LogRoot {
        /// The text, shortened and escaped.
        found: String,
    },
    /// A text that is no C2SP tlog-policy.
    #[error("the witness policy is not one")]
    WitnessPolicy {
        /// What is wrong with it.
        source: TlogError,
    },
    /// A file name with characters that have no place in one.
    #[error("`{found}` is not a file name")]
    FileName {
        /// The name, shortened and escaped.
        found: String,
    },
}

fn spell_cycle(cycle: &[EnvironmentName]) -> String {
    let names: Vec<&str> = cycle.iter().chain(cycle.first()).map(EnvironmentName::as_str).collect();
    names.join(" -> ")
}

fn did_you_mean<N: AsRef<str>>(nearest: Option<&str>, known: &[N]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("expected {}", list(known)),
    }
}

impl Problem {
    /// What is written behind the carets: what was expected, or what to do.
    pub fn label(&self) -> Option<String> {
        let text = match self {
            Self::TooLong { .. } | Self::TooMany { .. } | Self::Incomplete => return None,
            Self::Syntax { source } => return Some(neutral(source.message())),
            Self::UnknownKey { nearest, known, .. } => return Some(did_you_mean(*nearest, known)),
            Self::MissingKey { key } => return Some(format!("expected `{key} = …` in here")),
            Self::WrongType { .. } => return None,
            Self::EmptyText => "an unset variable?",
            Self::EmptyList => "name at least one, or leave the key out where it is optional",
            Self::Repeated { .. } => "once is enough",
            Self::UnknownWord { nearest, known, .. } => return Some(did_you_mean(*nearest, known)),
            Self::Version { .. } => "expected `version = 1`",
            Self::Name(_) => return None,
            Self::UnknownName(name) => return Some(did_you_mean(name.nearest.as_deref(), &name.known)),
            Self::None { what: Named::Service } => "add a table `[services.NAME]`",
            Self::None { what: Named::Environment } => "add a table `[environments.NAME]`",
            Self::None { what: Named::Signer } => "add a table `[signers.NAME]`",
            Self::SignerShape { found } => {
                return Some(match found.is_empty() {
                    true => "none of them is here".to_owned(),
                    false => format!("found `{}`", found.join("`, `")),
                });
            }
            Self::RecordUrl { source, .. } => {
                return Some(format!("{source}: expected the like of `https://HOST/records/{{index}}.json`"));
            }
            Self::Template { source, .. } => {
                let hint = match source {
                    TemplateError::Placeholder { .. } => ": `{service}` is the only placeholder",
                    TemplateError::Pattern { .. } => {
                        ": patterns are not in this version, texts are compared exactly"
                    }
                    TemplateError::Brace { .. } | TemplateError::Character { .. } => "",
                };
                return Some(format!("{source}{hint}"));
            }
            Self::IdentityAndPattern => "remove one of the two",
            Self::Pattern { source, .. } => {
                let hint = match source {
                    PatternError::NotAnchored => ": it is compared with the whole identity",
                    PatternError::Everybody { .. } => ": say whose, `identity = \"…\"` is exact",
                    PatternError::Placeholder => ": not in brackets, not behind a backslash",
                    PatternError::TooLarge | PatternError::Syntax => "",
                };
                return Some(format!("{source}{hint}"));
            }
            Self::TooManyPatterns { .. } => "use `identity` with `{service}`, which costs nothing",
            Self::RootOfNoTime => "remove one of the two: the root says when the key signed",
            Self::RootName(_) => return None,
            Self::UnknownRoot { known, .. } => return Some(format!("expected {}", list(known))),
            Self::RootPath { .. } => {
                "expected a path in the policy file's folder: relative, with `/`, without `..` and odd characters"
            }
            Self::RootFileMissing { .. } => "paths are relative to the folder of the policy file",
            Self::Root { source, .. } => return Some(neutral(&source.to_string())),
            Self::RootShape => "either a file, `trusted-root = \"…\"`, or `refresh = \"tuf\"`",
            Self::TakenOnWithRefresh => "when a root was refreshed is noted by itself: remove it",
            Self::MaxAgeWithoutDay => {
                "add `taken-on = 2026-12-31`, the day on which the file was taken from its keeper"
            }
            Self::RefreshWithoutRepository => {
                "say which: `refresh = { tuf = \"https://…\", root = \"root.json\" }`"
            }
            Self::RefreshWithRoot { .. } => {
                "remove `root`; a file of another instance gets a name of its own"
            }
            Self::TufUrl { .. } => {
                "expected a URL that starts with `https://`, without user, query and fragment (`http://` on loopback)"
            }
            Self::TufRoot { .. } => "expected TUF metadata of the role root, as its keeper publishes it",
            Self::ServiceHasNoPlace => "expected a text that is the same for every service",
            Self::Issuer { .. } => {
                "expected a URL that starts with `https://`, without user, query, fragment or placeholder"
            }
            Self::KeyPath { .. } => {
                "expected a path in the policy file's folder: relative, with `/`, without `..` and odd characters"
            }
            Self::KeyFileMissing { .. } => "paths are relative to the folder of the policy file",
            Self::Key { source, .. } => return Some(neutral(&source.to_string())),
            Self::IdentityTwice { .. } => "once is enough",
            Self::Repository { source } | Self::Tag { source } => return Some(neutral(&source.to_string())),
            Self::Platform { source } => return Some(shorten_message(&source.to_string())),
            Self::RepositoryWithoutService { .. } => "put `{service}` into the path",
            Self::RepositoryIsArchive { .. } => {
                "an environment runs from a registry or a folder: expected a name without `.tar`"
            }
            Self::StoreIsArchive { .. } => {
                "evidence is kept in a registry or a folder: expected a name without `.tar`"
            }
            Self::Collision { .. } => {
                "every service needs a repository of its own in every environment, and another for its evidence store"
            }
            Self::Duration { source, .. } => return Some(source.to_string()),
            Self::PermitFor { .. } => {
                "expected `1m` to `24h`: long enough to deploy, and no longer, for nothing takes a permit back"
            }
            Self::EntryFalse => "an environment has `entry = true` or `after`",
            Self::EntryAndAfter { .. } => "an entry environment comes after nothing: remove one of the two",
            Self::NeitherEntryNorAfter { .. } => {
                "say `entry = true`, or `after = [{ environment = \"…\" }]`: which environment must the bytes have run in?"
            }
            Self::NoEntry => "one environment must be the first",
            Self::AfterItself { .. } => "the bytes would have to run here before they may run here",
            Self::Cycle { .. } => "each comes after the next: no image could ever get in",
            Self::EntryWithoutEvidence { .. } => {
                "anything could get in: require a signature or provenance of the build"
            }
            Self::EntryOnlyWarns { .. } => {
                "anything could get in until then: add `signed-by`, or remove `warn-until`"
            }
            Self::SameIdentity { .. } => {
                "use two identities, or say why not: `same-identity-accepted = \"reason\"` in the later environment"
            }
            Self::SameIdentityUnused { .. } => {
                "no promoter here is a deployer of the environment before: remove it"
            }
            Self::ControlActs { .. } => {
                "it could lift what stops it: use two identities, or say why not with `same-identity-accepted = \"reason\"` \
                 in [control]"
            }
            Self::ControlActsUnused => "no revoker and no freezer is a promoter or deployer: remove it",
            Self::ApprovalCount { .. } => "expected a whole number, at least 1",
            Self::ApprovalsUnreachable { .. } => {
                "an identity counts once: name more of them, or ask for fewer"
            }
            Self::AnyAmongRefs => "`ref = \"any\"` stands alone, or list exact refs",
            Self::Commit { .. } => "expected the whole commit: 40 or 64 lowercase hexadecimal digits",
            Self::Pointer { .. } => {
                "expected an RFC 6901 pointer that starts with `/`, as in \"/workflow/path\"; `~1` is a slash in a \
                 name, `~0` a tilde"
            }
            Self::Level { .. } => "expected 1, 2 or 3",
            Self::AttestationType { nearest, .. } => {
                return Some(match nearest {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => {
                        format!("expected {}, or a predicate type: a URI", list(&super::attestation::WORDS))
                    }
                });
            }
            Self::AttestationHasWord { word, .. } => return Some(format!("say `type = \"{word}\"`")),
            Self::NotRequiredHere { instead, .. } => instead,
            Self::AttestationSaysNothing => {
                "anything would do: add `fields` or `cel`, or say `present = true`"
            }
            Self::PresentHasNoMeaning => "`present = true` stands alone, for a type by its URI; or remove it",
            Self::OwnVerifier { .. } => "name another verifier",
            Self::NotAPredecessor { .. } => "expected one in which the bytes must have run before",
            Self::Expression { source, .. } => return Some(neutral(&source.to_string())),
            Self::EmptyTable { .. } => "say something in it, or remove it",
            Self::Limit { .. } => "expected a whole number, at least 0",
            Self::SlsaResult { .. } => {
                "expected `SLSA_<TRACK>_LEVEL_<n>`, or a word that does not begin with `SLSA_`"
            }
            Self::AgeOfNothing => "name the signer of the OpenVEX, or remove it",
            Self::RegistryHost { .. } => {
                "expected what a repository begins with, as in `registry.example:5000`"
            }
            Self::RegistrySaysNothing => "set `plain-http`, `ca` or `token-host`, or remove the table",
            Self::PlainHttpWithCa => "remove one of the two",
            Self::LedgerUrl { .. } => "expected a scheme and a place, as in `sqlite:.samebits/ledger.db`",
            Self::Origin { .. } => {
                "expected printable ASCII without spaces and `+`, as in `acme.example/promotions`"
            }
            Self::Verifier { .. } => {
                "expected a C2SP verifier key, `ORIGIN+8 hexadecimal digits+base64`, as `samebits init` prints it"
            }
            Self::VerifierOrigin { .. } => "expected the key of this very log",
            Self::LockVersion { .. } => "expected `version = 1`",
            Self::LogSize { .. } => "expected a whole number, at least 0",
            Self::LogRoot { .. } => "expected `sha256:` and 64 lowercase hexadecimal digits",
            Self::WitnessPolicy { source } => return Some(neutral(&source.to_string())),
            Self::FileName { .. } => "expected a path without control characters and backslashes",
        };
        Some(text.to_owned())
    }
}

/// A foreign message, one line, no control characters.
fn shorten_message(text: &str) -> String {
    let short: String = text.chars().take(300).collect();
    neutral(&short)
}

/// Something that is allowed and probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// No environment names the signer.
    #[error("signer `{signer}` is used nowhere")]
    UnusedSigner {
        /// The signer.
        signer: SignerName,
    },
    /// No signer names the root.
    #[error("root `{}` is used nowhere", shorten(.name))]
    UnusedRoot {
        /// The root.
        name: String,
    },
    /// Two names for one identity.
    #[error("signers `{first}` and `{second}` share {identity}")]
    SharedIdentity {
        /// The first name.
        first: SignerName,
        /// The second name.
        second: SignerName,
        /// The identity, neutralised.
        identity: String,
    },
    /// A table of a registry that no repository is at.
    #[error("no repository is at `{}`", shorten(.host))]
    UnusedRegistry {
        /// The host.
        host: String,
    },
    /// The registry is spoken to in the clear.
    #[error("`{}` is spoken to without TLS", shorten(.host))]
    PlainHttp {
        /// The host.
        host: String,
    },
}

/// Foreign text as it may be shown: tabs as spaces, letters as they are, everything that steers a terminal or
/// reorders a line (control and format characters, bidirectional marks) spelled out.
pub(super) fn neutral(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        match c {
            '\t' => shown.push_str("    "),
            ' '..='~' => shown.push(c),
            // Dashes, quotation marks, bullets, ellipsis: U+2010 to U+2027 hold no format character.
            '\u{2010}'..='\u{2027}' => shown.push(c),
            c if c.is_alphanumeric() => shown.push(c),
            c => shown.extend(c.escape_unicode()),
        }
        shown
    })
}
