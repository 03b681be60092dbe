//! Where things are: the ledger, the registries, and one role for every repository.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::policy::problem::neutral;
use crate::reference::Location;

/// The service, and the environment unless it is the service's own.
pub(super) type Homes = BTreeMap<Repository, (ServiceName, Option<EnvironmentName>)>;

impl Check<'_> {
    pub(super) fn ledger(&mut self) -> Option<LedgerSettings> {
        let raw = &self.draft.raw.ledger;
        let url = self.say(&raw.url, is_ledger_url, |found| Problem::LedgerUrl { found });
        let origin = self.say(&raw.origin, is_origin, |found| Problem::Origin { found });
        let verifier = self.say(&raw.verifier, is_verifier, |found| Problem::Verifier { found });
        let signing_key = raw
            .signing_key
            .as_ref()
            .map(|file| self.say(file, is_file_name, |found| Problem::FileName { found }));
        if let (Some(origin), Some(verifier)) = (&origin, &verifier)
            && let Some((name, _)) = verifier.split_once('+')
            && name != origin
        {
            let problem = Problem::VerifierOrigin { found: shorten(name), origin: shorten(origin) };
            self.errors.push(&raw.verifier.span, problem);
        }
        let signing_key = match signing_key {
            Some(file) => Some(file?),
            None => None,
        };
        let record_url = match &raw.record_url {
            Some(text) => Some(self.errors.keep(&text.span, RecordUrl::parse(&text.value), |source| {
                Problem::RecordUrl { found: shorten(&text.value), source }
            })?),
            None => None,
        };
        Some(LedgerSettings { url: url?, origin: origin?, verifier: verifier?, signing_key, record_url })
    }

    fn say(&mut self, text: &Text, good: fn(&str) -> bool, no: fn(String) -> Problem) -> Option<String> {
        match good(&text.value) {
            true => Some(text.value.clone()),
            false => {
                self.errors.push(&text.span, no(shorten(&text.value)));
                None
            }
        }
    }

    pub(super) fn registries(&mut self) -> BTreeMap<String, RegistrySettings> {
        let mut registries = BTreeMap::new();
        for (host, raw) in &self.draft.raw.registries.0 {
            if !is_registry_host(&host.value) {
                self.errors.push(&host.span, Problem::RegistryHost { found: shorten(&host.value) });
            }
            let plain_http = raw.plain_http.as_ref().is_some_and(|plain| plain.value);
            let file = |found: &Text, this: &mut Self| {
                this.say(found, is_file_name, |found| Problem::FileName { found })
            };
            let ca = raw.ca.as_ref().and_then(|ca| file(ca, self));
            let token_host = raw
                .token_host
                .as_ref()
                .and_then(|host| self.say(host, is_registry_host, |found| Problem::RegistryHost { found }));
            match (&raw.plain_http, &raw.ca, &raw.token_host) {
                (None, None, None) => self.errors.push(&raw.at, Problem::RegistrySaysNothing),
                (Some(_), Some(ca), _) if plain_http => {
                    self.errors.push(&ca.span, Problem::PlainHttpWithCa);
                }
                (Some(_), _, _) | (_, Some(_), _) | (_, _, Some(_)) => {}
            }
            registries.insert(host.value.clone(), RegistrySettings { plain_http, ca, token_host });
        }
        registries
    }

    /// What is added to bit by bit cannot be an archive.
    pub(super) fn evidence_store(&mut self, text: &Text) -> Option<Repository> {
        let parsed = text.value.parse::<Repository>();
        let store = self.errors.keep(&text.span, parsed, |source| Problem::Repository { source })?;
        if is_archive(&store) {
            self.errors.push(&text.span, Problem::StoreIsArchive { store: store.to_string() });
            return None;
        }
        Some(store)
    }

    /// Every repository with its one role: a digest found in it then belongs to one service, and what an
    /// environment pulls from is written by promotions to this environment alone.
    pub(super) fn homes(&mut self, environments: &[Checked<'_>]) -> Homes {
        let mut homes = Homes::new();
        let mut roles: BTreeMap<String, String> = BTreeMap::new();
        let raw = &self.draft.raw;
        // 1. The services' own, in the order of the file.
        for (name, raw) in &raw.services.0 {
            let Some(service) = self.services.get(name.value.as_str()) else { continue };
            let role = format!("service `{}`", service.name);
            if let Some(problem) = take(&mut roles, &service.repository, role) {
                self.errors.push(&raw.repository.span, problem);
            }
            if let (Some(store), Some(text)) = (&service.evidence_store, &raw.evidence_store) {
                let role = format!("the evidence store of service `{}`", service.name);
                // No home: what lies there is no image.
                if let Some(problem) = take(&mut roles, store, role) {
                    self.errors.push(&text.span, problem);
                }
            }
            homes.insert(service.repository.clone(), (service.name.clone(), None));
        }
        // 2. The environments', for every service.
        for environment in environments {
            let Some(template) = &environment.repository else { continue };
            let span = &environment.raw.repository.span;
            let services = self.draft.raw.services.0.len();
            if services > 1 && !template.names_service() {
                self.errors.push(span, Problem::RepositoryWithoutService { services });
                continue;
            }
            for service in self.services.keys() {
                let repository = match template.fill(service).parse::<Repository>() {
                    Ok(repository) => repository,
                    Err(source) => {
                        self.errors.push(span, Problem::Repository { source });
                        break;
                    }
                };
                if is_archive(&repository) {
                    let repository = repository.to_string();
                    self.errors.push(span, Problem::RepositoryIsArchive { repository });
                    break;
                }
                let role = format!("service `{service}` in environment `{}`", environment.name);
                if let Some(problem) = take(&mut roles, &repository, role) {
                    self.errors.push(span, problem);
                    break;
                }
                homes.insert(repository, (service.clone(), Some(environment.name.clone())));
            }
        }
        homes
    }

    pub(super) fn registry_remarks(&self, homes: &Homes) -> Vec<(Span, Remark)> {
        let mut used: BTreeSet<&str> = BTreeSet::new();
        let stores = self.services.values().filter_map(Service::evidence_store);
        for repository in homes.keys().chain(stores) {
            match repository.location() {
                Location::Registry { host, .. } => used.extend([host]),
                Location::Layout { .. } => {}
            }
        }
        for (_, raw) in &self.draft.raw.registries.0 {
            used.extend(raw.token_host.as_ref().map(|host| host.value.as_str()));
        }
        let mut remarks = Vec::new();
        for (host, raw) in &self.draft.raw.registries.0 {
            if !used.contains(host.value.as_str()) {
                remarks.push((host.span.clone(), Remark::UnusedRegistry { host: host.value.clone() }));
            }
            if let Some(plain) = raw.plain_http.as_ref().filter(|plain| plain.value) {
                remarks.push((plain.span.clone(), Remark::PlainHttp { host: host.value.clone() }));
            }
        }
        remarks
    }
}

/// Gives a repository its role, or says whose it is already.
fn take(roles: &mut BTreeMap<String, String>, repository: &Repository, role: String) -> Option<Problem> {
    let place = repository.canonical();
    match roles.get(&place) {
        Some(first) => Some(Problem::Collision {
            repository: repository.to_string(),
            first: first.clone(),
            second: role,
        }),
        None => {
            roles.insert(place, role);
            None
        }
    }
}

/// Whether a repository is an archive, by its name: that is all that is known here.
fn is_archive(repository: &Repository) -> bool {
    match repository.location() {
        Location::Layout { folder } => Path::new(folder).extension().is_some_and(|ending| ending == "tar"),
        Location::Registry { .. } => false,
    }
}

/// What a repository may begin with; the grammar is the repository's own.
fn is_registry_host(text: &str) -> bool {
    format!("{text}/x").parse::<Repository>().is_ok_and(|repository| match repository.location() {
        Location::Registry { host, path } => host == text && path == "x",
        Location::Layout { .. } => false,
    })
}

/// `scheme:` and something; which schemes there are is the ledger's business.
fn is_ledger_url(text: &str) -> bool {
    let scheme = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '+';
    is_file_name(text)
        && text.split_once(':').is_some_and(|(name, rest)| {
            name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(scheme) && !rest.is_empty()
        })
}

/// No control characters, nothing that reorders a line, no backslash.
fn is_file_name(text: &str) -> bool {
    !text.contains('\\') && text.trim() == text && neutral(text) == text
}

/// C2SP signed-note: a key name is non-empty, without spaces and `+`; ours is printable ASCII too.
fn is_origin(text: &str) -> bool {
    // The control lane's name is this one with `/control` behind it, and nobody else's.
    let lanes = (1..=255 - "/control".len()).contains(&text.len()) && !text.ends_with("/control");
    lanes && text.chars().all(|c| c.is_ascii_graphic() && c != '+')
}

/// C2SP signed-note, "verifier key": `NAME+KEYID+base64(TYPE ‖ KEY)`, and the key id is
/// `SHA-256(NAME ‖ 0x0A ‖ TYPE ‖ KEY)[:4]`. Type 1 is Ed25519, the only one here.
fn is_verifier(text: &str) -> bool {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let Ok(key) = STANDARD.decode(key) else { return false };
    let expected = Digest::of(&[name.as_bytes(), b"\n", &key].concat()).hex();
    is_origin(name) && key.len() == 33 && key[0] == 1 && expected[..8] == *id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_key_names_itself() {
        let key = [[1].as_slice(), &[7; 32]].concat();
        let id = &Digest::of(&[b"a.example/log\n".as_slice(), &key].concat()).hex()[..8];
        let good = format!("a.example/log+{id}+{}", STANDARD.encode(&key));
        assert!(is_verifier(&good), "{good}");
        for wrong in [
            good.replace("a.example", "b.example"),
            good.replace(id, "00000000"),
            good.replace(id, &id.to_uppercase().replace(char::is_numeric, "x")),
            good[..good.len() - 1].to_owned(),
            format!("{good} "),
            format!("{good}\n"),
            "a.example/log".to_owned(),
            "++".to_owned(),
        ] {
            assert!(!is_verifier(&wrong), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn f7_hosts_are_hosts_only() {
        for good in ["registry.internal:5000", "localhost", "localhost:5000", "[::1]:5000", "a.example"] {
            assert!(is_registry_host(good), "{good}");
        }
        for wrong in
            ["", "a", "a.example/b", "https://a.example", "A.example", "a.example ", "oci:", "a@b.c", "*.x"]
        {
            assert!(!is_registry_host(wrong), "{wrong:?} was accepted");
        }
    }
}
