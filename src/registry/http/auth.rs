//! Answers to a registry's challenges: nothing, Basic, or a bearer token for exactly the scopes needed.
//!
//! Guarantees: a challenge is answered wherever it comes up, not once at `/v2/` (attack F3); a login goes to the
//! registry's own origin or to a token server that [`trusted_realm`] accepts, nowhere else (attack F1); a token is
//! used until it expires and renewed once when refused. Never does: shows a login or token in a message.
//! Source: distribution-spec v1.1; docs.docker.com/registry/spec/auth/{token,oauth}.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use base64::Engine;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::body::{failed, read_at_most};
use super::challenge::{self, Challenge, trusted_realm};
use super::clients::Clients;
use super::login::{Login, Logins};
use super::retry::asked_wait;
use crate::digest::shorten;
use crate::registry::error::{Asked, Complaint, RegistryError};

/// What a request needs to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// The repository whose login is used.
    path: String,
    /// In the words of the token specification, the repository itself first.
    wanted: Vec<String>,
}

impl Scope {
    pub(super) fn pull(path: &str) -> Self {
        Self { path: path.to_owned(), wanted: vec![format!("repository:{path}:pull")] }
    }

    pub(super) fn push(path: &str) -> Self {
        Self { path: path.to_owned(), wanted: vec![format!("repository:{path}:pull,push")] }
    }

    /// A mount reads `from` and writes `path`: one token for both.
    pub(super) fn mount(path: &str, from: &str) -> Self {
        let mut scope = Self::push(path);
        if from != path {
            scope.wanted.push(format!("repository:{from}:pull"));
        }
        scope
    }

    /// Whether a token for `self` is good for `other` too.
    fn covers(&self, other: &Self) -> bool {
        other.wanted.iter().all(|wanted| {
            let wider = wanted.strip_suffix(":pull").map(|path| format!("{path}:pull,push"));
            self.wanted.iter().any(|have| have == wanted || Some(have) == wider.as_ref())
        })
    }
}

/// An `Authorization` that a registry was told or has handed out.
#[derive(Clone)]
pub(super) struct Grant {
    /// Marked sensitive.
    pub(super) header: HeaderValue,
    /// Whether a login stands behind it; an anonymous token has none.
    pub(super) logged_in: bool,
    expires: Option<Instant>,
}

impl Grant {
    fn is_good(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }
}

type Slot = Arc<Mutex<Option<Grant>>>;

/// The login side of one registry.
pub(super) struct Auth {
    /// As typed.
    host: String,
    home: Url,
    token_hosts: Vec<String>,
    logins: Logins,
    /// For token servers on the registry's own host, and on others.
    clients: Clients,
    timeout: Duration,
    /// One slot per scope; whoever holds the slot fetches, the others wait and share.
    slots: Lock<Vec<(Scope, Slot)>>,
    /// Repositories that are answered with Basic.
    basic: Lock<HashMap<String, Grant>>,
    /// The last token server that was accepted, so that the next scope needs no refused request first.
    bearer: Lock<Option<Challenge>>,
}

impl Auth {
    pub(super) fn new(
        host: &str,
        home: &Url,
        logins: Logins,
        token_hosts: &[String],
        clients: Clients,
        timeout: Duration,
    ) -> Self {
        Self {
            host: host.to_owned(),
            home: home.clone(),
            token_hosts: token_hosts.to_vec(),
            logins,
            clients,
            timeout,
            slots: Lock::default(),
            basic: Lock::default(),
            bearer: Lock::default(),
        }
    }

    /// What to send without having been asked, if anything.
    pub(super) async fn ready(&self, asked: &Asked, scope: &Scope) -> Result<Option<Grant>, RegistryError> {
        if let Some(grant) = lock(&self.basic).get(&scope.path) {
            return Ok(Some(grant.clone()));
        }
        let covering: Vec<Slot> = lock(&self.slots)
            .iter()
            .filter(|(known, _)| known.covers(scope))
            .map(|(_, slot)| Arc::clone(slot))
            .collect();
        for slot in covering {
            if let Some(grant) = slot.lock().await.as_ref().filter(|grant| grant.is_good()) {
                return Ok(Some(grant.clone()));
            }
        }
        let bearer = lock(&self.bearer).clone();
        match bearer {
            Some(bearer) => self.token(asked, scope, &bearer, None).await.map(Some),
            None => Ok(None),
        }
    }

    /// The answer to a 401, or `None` when there is nothing (more) to say. `used` is what was just refused.
    pub(super) async fn answer(
        &self,
        asked: &Asked,
        scope: &Scope,
        headers: &HeaderMap,
        used: Option<&Grant>,
    ) -> Result<Option<Grant>, RegistryError> {
        let mut challenges = Vec::new();
        for header in headers.get_all(WWW_AUTHENTICATE) {
            let text = String::from_utf8_lossy(header.as_bytes());
            challenges.extend(challenge::parse(&text).map_err(|_| RegistryError::Challenge {
                asked: Box::new(asked.clone()),
                header: shorten(&text),
            })?);
        }
        let bearer = challenges.iter().position(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        match bearer.map(|at| challenges.swap_remove(at)) {
            Some(bearer) => self.token(asked, scope, &bearer, used).await.map(Some),
            None if challenges.contains(&Challenge::Basic) => self.basic(scope, used).await,
            None => Ok(None),
        }
    }

    async fn basic(&self, scope: &Scope, used: Option<&Grant>) -> Result<Option<Grant>, RegistryError> {
        let Some(Login::Password { user, password }) = self.logins.find(&self.host, &scope.path).await?
        else {
            return Ok(None);
        };
        let grant = Grant { header: basic(&user, &password), logged_in: true, expires: None };
        if used.is_some_and(|used| used.header == grant.header) {
            lock(&self.basic).remove(&scope.path);
            return Ok(None);
        }
        lock(&self.basic).insert(scope.path.clone(), grant.clone());
        Ok(Some(grant))
    }

    async fn token(
        &self,
        asked: &Asked,
        scope: &Scope,
        bearer: &Challenge,
        used: Option<&Grant>,
    ) -> Result<Grant, RegistryError> {
        let slot = self.slot(scope);
        let mut slot = slot.lock().await;
        // Somebody else may have renewed it while we waited.
        let refused = |grant: &Grant| used.is_some_and(|used| used.header == grant.header);
        if let Some(grant) = slot.as_ref().filter(|grant| grant.is_good() && !refused(grant)) {
            return Ok(grant.clone());
        }
        let login = self.logins.find(&self.host, &scope.path).await?;
        *slot = None;
        let grant = self.fetch(asked, scope, bearer, login.as_ref()).await?;
        *lock(&self.bearer) = Some(bearer.clone());
        Ok(slot.insert(grant).clone())
    }

    fn slot(&self, scope: &Scope) -> Slot {
        let mut slots = lock(&self.slots);
        if let Some((_, slot)) = slots.iter().find(|(known, _)| known == scope) {
            return Arc::clone(slot);
        }
        let slot = Slot::default();
        slots.push((scope.clone(), Arc::clone(&slot)));
        slot
    }

    /// One request to the token server. It is repeated, if at all, with the request it is for.
    async fn fetch(
        &self,
        asked: &Asked,
        scope: &Scope,
        bearer: &Challenge,
        login: Option<&Login>,
    ) -> Result<Grant, RegistryError> {
        let Challenge::Bearer { realm, service, scope: proposed } = bearer else {
            unreachable!("only bearer challenges are remembered");
        };
        let asked = || Box::new(asked.clone());
        let mut url = trusted_realm(realm, &self.home, &self.token_hosts)
            .map_err(|reason| RegistryError::Realm { asked: asked(), realm: shorten(realm), reason })?;
        let client = self.clients.to(&url)?;
        // Scopes of repositories are ours to choose; others (`aws`) are the registry's own business.
        let foreign = proposed.iter().flat_map(|scopes| scopes.split(' '));
        let foreign = foreign.filter(|one| !one.is_empty() && !one.starts_with("repository:"));
        let scopes = scope.wanted.iter().map(String::as_str).chain(foreign);
        let started = Instant::now();
        let request = match login {
            Some(Login::IdentityToken(token)) => {
                // OAuth2: one `scope` parameter, separated by spaces.
                let scopes: Vec<&str> = scopes.collect();
                let mut form = Url::parse("form:").map_err(|_| self.no_token(asked(), realm))?;
                form.query_pairs_mut()
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("client_id", "samebits")
                    .append_pair("service", service.as_deref().unwrap_or_default())
                    .append_pair("scope", &scopes.join(" "))
                    .append_pair("refresh_token", token);
                client
                    .post(url)
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.query().unwrap_or_default().to_owned())
            }
            Some(Login::Password { .. }) | None => {
                {
                    let mut query = url.query_pairs_mut();
                    if let Some(service) = service {
                        query.append_pair("service", service);
                    }
                    for one in scopes {
                        query.append_pair("scope", one);
                    }
                }
                match login {
                    Some(Login::Password { user, password }) => {
                        client.get(url).header(AUTHORIZATION, basic(user, password))
                    }
                    Some(Login::IdentityToken(_)) | None => client.get(url),
                }
            }
        };
        let unasked = |source| RegistryError::TokenServer {
            asked: asked(),
            realm: shorten(realm),
            source: Box::new(source),
        };
        let response = request.timeout(self.timeout).send().await;
        let response = response.map_err(|error| unasked(failed(asked(), error)))?;
        let (status, wait) = (response.status(), asked_wait(response.headers()));
        let body = read_at_most(asked(), response, 64 * 1024).await.map_err(unasked)?;
        if !status.is_success() {
            return Err(RegistryError::Token {
                asked: asked(),
                realm: shorten(realm),
                status: status.as_u16(),
                complaint: Complaint::read(&body),
                wait,
                logged_in: login.is_some(),
            });
        }
        #[derive(serde::Deserialize)]
        struct Body {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let body: Body = serde_json::from_slice(&body).map_err(|_| self.no_token(asked(), realm))?;
        let token = body.token.or(body.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| self.no_token(asked(), realm))?;
        let mut header =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| self.no_token(asked(), realm))?;
        header.set_sensitive(true);
        // 60 s when nothing is said (token specification); a tenth less, for the way there.
        let life = Duration::from_secs(body.expires_in.unwrap_or(60).min(24 * 3600));
        let expires = started + (life - (life / 10).min(Duration::from_secs(10)));
        Ok(Grant { header, logged_in: login.is_some(), expires: Some(expires) })
    }

    fn no_token(&self, asked: Box<Asked>, realm: &str) -> RegistryError {
        RegistryError::TokenMalformed { asked, realm: shorten(realm) }
    }
}

/// A panic while holding one of these leaves whole values behind.
fn lock<T>(lock: &Lock<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn basic(user: &str, password: &str) -> HeaderValue {
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    // Base64 is always a header value.
    let mut header =
        HeaderValue::try_from(format!("Basic {text}")).unwrap_or(HeaderValue::from_static("Basic"));
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_token_is_good_for_less() {
        let mount = Scope::mount("prod/app", "staging/app");
        for covered in [
            Scope::push("prod/app"),
            Scope::pull("prod/app"),
            Scope::pull("staging/app"),
            Scope::mount("prod/app", "staging/app"),
        ] {
            assert!(mount.covers(&covered), "{covered:?}");
        }
        assert!(!mount.covers(&Scope::push("staging/app")));
        assert!(!Scope::pull("prod/app").covers(&Scope::push("prod/app")));
        assert!(!Scope::push("prod/app").covers(&mount));
        assert!(!Scope::push("prod/app").covers(&Scope::pull("prod/app2")));
    }
}
