//! Logins: the files docker and podman write, and the credential helpers they name.
//!
//! Guarantees: only the files that were named are read, never one of the working directory (attack F9); a file
//! that is there but cannot be understood is an error and never "anonymous"; secrets appear in no message and no
//! `Debug`, and are wiped from memory where they were kept here (attack F8). Never does: reads the environment; keeps what a
//! helper printed.

use std::collections::HashMap;
use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError as Trouble, DockerCredential};
use serde::Deserialize;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::digest::shorten;
use crate::registry::error::{LoginProblem, RegistryError};

/// What to present to a registry or its token server.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// A user name and a password or personal token.
    Password {
        /// The user.
        user: String,
        /// The secret.
        password: Zeroizing<String>,
    },
    /// A refresh token, exchanged at the token server.
    IdentityToken(Zeroizing<String>),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Login::Password(…)",
            Self::IdentityToken(_) => "Login::IdentityToken(…)",
        })
    }
}

/// The login files, in order; the first that knows the registry is used.
pub(super) struct Logins {
    files: Vec<PathBuf>,
    known: Mutex<HashMap<String, Option<Login>>>,
}

impl Logins {
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        Self { files, known: Mutex::default() }
    }

    /// The login for a repository, or `None` for anonymous. Files are read and helpers run once per repository.
    pub(super) async fn find(&self, host: &str, path: &str) -> Result<Option<Login>, RegistryError> {
        let mut known = self.known.lock().await;
        if let Some(login) = known.get(path) {
            return Ok(login.clone());
        }
        let (files, keys) = (self.files.clone(), keys(host, path));
        // Files and helper processes block.
        let login = tokio::task::spawn_blocking(move || {
            for file in &files {
                if let Some(login) = read(file, &keys)? {
                    return Ok(Some(login));
                }
            }
            Ok(None)
        })
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        known.insert(path.to_owned(), login.clone());
        Ok(login)
    }
}

/// The longest login file that is read.
const FILE_BYTES: u64 = 1 << 20;

/// A key that a file may file the login under.
struct Key {
    text: String,
    /// Podman's `host/org` keys: only an entry of exactly this name counts, and no helper is asked for it.
    namespaced: bool,
}

/// From the most to the least specific (containers-auth.json(5)).
fn keys(host: &str, path: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut namespace = Some(path).filter(|path| !path.is_empty());
    while let Some(some) = namespace {
        keys.push(Key { text: format!("{host}/{some}"), namespaced: true });
        namespace = some.rsplit_once('/').map(|(parent, _)| parent);
    }
    if matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io") {
        keys.push(Key { text: "https://index.docker.io/v1/".to_owned(), namespaced: false });
        keys.push(Key { text: "docker.io".to_owned(), namespaced: false });
    } else {
        keys.push(Key { text: host.to_owned(), namespaced: false });
    }
    keys
}

/// What we need to know of the file before `docker_credential` reads it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    auths: HashMap<String, serde::de::IgnoredAny>,
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: HashMap<String, String>,
}

fn read(file: &Path, keys: &[Key]) -> Result<Option<Login>, RegistryError> {
    let trouble = |source| RegistryError::LoginFile { file: file.to_owned(), source };
    let mut text = Vec::new();
    match std::fs::File::open(file) {
        // One byte more than is allowed tells a long file from a whole one.
        Ok(opened) => opened.take(FILE_BYTES + 1).read_to_end(&mut text).map_err(trouble)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(trouble(source)),
    };
    if text.len() as u64 > FILE_BYTES {
        let why = format!("it is longer than {FILE_BYTES} bytes");
        return Err(trouble(std::io::Error::new(ErrorKind::InvalidData, why)));
    }
    let outline: Outline = serde_json::from_slice(&text)
        .map_err(|source| RegistryError::LoginMalformed { file: file.to_owned(), source })?;
    for key in keys {
        if key.namespaced && !outline.auths.contains_key(&key.text) {
            continue;
        }
        let problem =
            |problem| RegistryError::Login { registry: key.text.clone(), file: file.to_owned(), problem };
        let helper = outline.cred_helpers.get(&key.text).or(outline.creds_store.as_ref());
        let name = helper.map_or("", String::as_str);
        let ordinary = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !name.chars().all(ordinary) {
            return Err(problem(LoginProblem::HelperName(shorten(name))));
        }
        match docker_credential::get_credential_from_reader(text.as_slice(), &key.text) {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                return Ok(Some(Login::Password { user, password: password.into() }));
            }
            Ok(DockerCredential::IdentityToken(token)) => {
                return Ok(Some(Login::IdentityToken(token.into())));
            }
            Err(Trouble::NoCredentialConfigured) => {}
            // The helper protocol's way to say "no such login" (docker-credential-helpers, credentials/error.go).
            Err(Trouble::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => {}
            Err(Trouble::HelperFailure { .. }) => {
                return Err(problem(LoginProblem::HelperFailed(name.to_owned())));
            }
            Err(Trouble::HelperCommunicationError) => {
                return Err(problem(LoginProblem::HelperAbsent(name.to_owned())));
            }
            Err(Trouble::MalformedHelperResponse) => {
                return Err(problem(LoginProblem::HelperAnswer(name.to_owned())));
            }
            Err(
                Trouble::CredentialDecodingError
                | Trouble::CredentialMismatchError
                | Trouble::ConfigReadError
                | Trouble::ConfigNotFound,
            ) => return Err(problem(LoginProblem::Entry)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(text: &str, host: &str, path: &str) -> Result<Option<Login>, RegistryError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, text).unwrap();
        let absent = folder.path().join("absent.json");
        Logins::new(vec![absent, file]).find(host, path).await
    }

    fn password(user: &str, password: &str) -> Option<Login> {
        Some(Login::Password { user: user.into(), password: password.to_owned().into() })
    }

    #[tokio::test]
    async fn a_login_is_found_the_way_docker_and_podman_file_it() {
        // "u:p", "hub:p", "org:p"
        let text = r#"{"auths": {
            "registry.example": {"auth": "dTpw"},
            "https://index.docker.io/v1/": {"auth": "aHViOnA="},
            "registry.example/org": {"auth": "b3JnOnA="},
            "acr.example": {"identitytoken": "refresh"}
        }}"#;
        assert_eq!(find(text, "registry.example", "team/app").await.unwrap(), password("u", "p"));
        assert_eq!(find(text, "registry.example", "org/app").await.unwrap(), password("org", "p"));
        assert_eq!(find(text, "docker.io", "library/app").await.unwrap(), password("hub", "p"));
        assert_eq!(
            find(text, "acr.example", "app").await.unwrap(),
            Some(Login::IdentityToken("refresh".to_owned().into()))
        );
        assert_eq!(find(text, "other.example", "app").await.unwrap(), None);
        assert_eq!(find(text, "registry.example.evil", "app").await.unwrap(), None);
    }

    #[tokio::test]
    async fn f8_a_file_that_cannot_be_understood_is_not_anonymous() {
        for text in ["", "{", "[]", r#"{"auths": 3}"#] {
            let error = find(text, "registry.example", "app").await.unwrap_err();
            assert!(matches!(error, RegistryError::LoginMalformed { .. }), "{text}: {error}");
            assert!(error.to_string().contains("config.json"));
        }
        let error =
            find(r#"{"auths": {"registry.example": {"auth": "!"}}}"#, "registry.example", "app").await;
        assert!(matches!(error, Err(RegistryError::Login { problem: LoginProblem::Entry, .. })));
    }

    #[tokio::test]
    async fn f8_a_failing_helper_is_named_and_not_quoted() {
        let text = r#"{"credHelpers": {"registry.example": "samebits-there-is-no-such-helper"}}"#;
        let error = find(text, "registry.example", "app").await.unwrap_err();
        assert!(error.to_string().contains("docker-credential-samebits-there-is-no-such-helper"), "{error}");
        let text = r#"{"credsStore": "/../../tmp/evil"}"#;
        let error = find(text, "registry.example", "app").await;
        assert!(matches!(error, Err(RegistryError::Login { problem: LoginProblem::HelperName(_), .. })));
    }

    #[tokio::test]
    async fn f4_a_login_file_without_end_is_not_read() {
        let text = " ".repeat((1 << 20) + 1);
        let error = find(&text, "registry.example", "app").await.unwrap_err();
        assert!(matches!(error, RegistryError::LoginFile { .. }), "{error}");
    }

    proptest::proptest! {
        /// Neither arbitrary bytes nor arbitrary entries panic, and neither is ever somebody else's login.
        #[test]
        fn arbitrary_login_files_never_panic(
            bytes: Vec<u8>,
            entry in "[A-Za-z0-9+/=]{0,40}",
            token in "\\PC{0,20}",
        ) {
            let entries = serde_json::json!({ "auths": {
                "registry.example": { "auth": entry, "identitytoken": token },
            } });
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("config.json");
            for text in [bytes, entries.to_string().into_bytes()] {
                std::fs::write(&file, text).unwrap();
                let _ = read(&file, &keys("registry.example", "app"));
                let other = read(&file, &keys("other.example", "app"));
                proptest::prop_assert!(!matches!(other, Ok(Some(_))));
            }
        }
    }

    #[test]
    fn f8_a_login_does_not_print_its_secret() {
        let login = Login::Password { user: "user".into(), password: "hunter2".to_owned().into() };
        assert!(
            !format!("{login:?} {:?}", Login::IdentityToken("hunter2".to_owned().into())).contains("hunter2")
        );
    }
}
