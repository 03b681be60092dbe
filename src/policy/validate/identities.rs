//! Who is who: signers, and that nobody vouches for himself under another name.

use super::*;
use crate::key::PublicKey;
use crate::policy::problem::neutral;

impl raw::Signer {
    pub(in crate::policy) fn matchers(&self) -> &[raw::Matcher] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::AnyOf(any_of) => &any_of.value,
        }
    }
}

impl raw::Matcher {
    fn span(&self) -> &Span {
        match self {
            Self::Key { file, .. } => &file.span,
            Self::Keyless(keyless) => &keyless.subject.text().span,
        }
    }
}

/// How many regular expressions all patterns may take together, one for each service that a pattern names.
const PATTERNS: usize = 5_000;

/// An identity before a service is filled in.
type Written = (Option<Digest>, String, String);

fn written(matcher: &Matcher) -> Written {
    match matcher {
        Matcher::Key { key, .. } => (Some(key.id()), String::new(), String::new()),
        Matcher::Keyless { issuer, identity, root, .. } => {
            // Neither a root's name nor an issuer has a space.
            (None, format!("{root} {issuer}"), identity.as_str().to_owned())
        }
    }
}

fn spell(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Key { key, .. } => format!("key {}", key.id().short()),
        Matcher::Keyless { identity, .. } => format!("identity `{}`", neutral(identity.as_str())),
    }
}

impl Check<'_> {
    pub(super) fn signer(&mut self, name: &SignerName, raw: &raw::Signer) -> Option<Vec<Matcher>> {
        if let raw::Signer::AnyOf(list) = raw
            && list.value.is_empty()
        {
            self.errors.push(&list.span, Problem::EmptyList);
        }
        let mut seen = BTreeSet::new();
        let mut any_of = Vec::new();
        for raw in raw.matchers() {
            let Some(matcher) = self.matcher(raw) else { continue };
            let rules = match &matcher {
                Matcher::Key { .. } => ClaimRules::default(),
                Matcher::Keyless { claims, .. } => (**claims).clone(),
            };
            if !seen.insert((written(&matcher), rules)) {
                let problem = Problem::IdentityTwice { signer: name.clone(), identity: spell(&matcher) };
                self.errors.push(raw.span(), problem);
            }
            any_of.push(matcher);
        }
        (!any_of.is_empty()).then_some(any_of)
    }

    fn matcher(&mut self, raw: &raw::Matcher) -> Option<Matcher> {
        match raw {
            raw::Matcher::Key { file, time, root } => {
                let (key, time) = (self.key(file), self.key_time(time.as_ref(), root.as_ref()));
                Some(Matcher::Key { file: file.value.clone(), key: key?, time: time? })
            }
            raw::Matcher::Keyless(keyless) => self.keyless(keyless),
        }
    }

    fn keyless(&mut self, raw: &raw::Keyless) -> Option<Matcher> {
        let issuer = &raw.issuer;
        let good = is_issuer(&issuer.value);
        if !good {
            self.errors.push(&issuer.span, Problem::Issuer { found: shorten(&issuer.value) });
        }
        let identity = match &raw.subject {
            raw::Subject::Identity(text) => self.template(text).map(Subject::Exactly),
            raw::Subject::Pattern(text) => self.pattern(text).map(Subject::Pattern),
        };
        let root = match &raw.root {
            Some(text) => self.root_name(text),
            None => self.public(RootName::PublicGood, &issuer.span),
        };
        let claims: Vec<_> =
            raw.claims.iter().map(|(claim, text)| Some((*claim, self.template(text)?))).collect();
        // A rule that could not be read must not become no rule.
        let claims = claims.into_iter().collect::<Option<_>>().map(ClaimRules);
        let (identity, root, claims) = (identity?, root?, claims?);
        good.then(|| Matcher::Keyless {
            issuer: issuer.value.clone(),
            identity,
            root,
            claims: Box::new(claims),
        })
    }

    /// What has to say when a key signed.
    fn key_time(&mut self, time: Option<&Text>, root: Option<&Text>) -> Option<KeyTime> {
        let Some(time) = time else {
            let root = match root {
                Some(root) => self.root_name(root)?,
                // Taken from this program only where something has to be dated: see `attesters`.
                None => RootName::PublicGood,
            };
            return Some(KeyTime::Vouched { root });
        };
        if let Some(root) = root {
            self.errors.push(&root.span, Problem::RootOfNoTime);
            return None;
        }
        self.word(time, &[("not-required", KeyTime::NotRequired)])
    }

    /// The keys that attest have to be dated under a root, so that root has to be there; who signs records only is
    /// dated by the ledger.
    pub(super) fn attesters(&mut self, environments: &[Checked<'_>]) {
        let names = environments.iter().flat_map(|environment| environment.require.attesters());
        let signers = names.filter_map(|name| self.signers.get(name));
        let public = Matcher::is_dated_by_the_public;
        if signers.flat_map(|signer| &signer.any_of).any(public) {
            self.public(RootName::PublicGood, &(0..0));
        }
    }

    /// A pattern, compiled for every service it names; all of them together must not take too long.
    fn pattern(&mut self, text: &Text) -> Option<Pattern> {
        if self.compiled > PATTERNS {
            return None; // Said already.
        }
        let problem = |source| Problem::Pattern { text: shorten(&text.value), source };
        let parsed = Pattern::parse(&text.value, &self.service_names);
        let pattern = self.errors.keep(&text.span, parsed, problem)?;
        self.compiled += pattern.compiled();
        if self.compiled > PATTERNS {
            self.errors.push(&text.span, Problem::TooManyPatterns { limit: PATTERNS });
        }
        Some(pattern)
    }

    fn key(&mut self, file: &Text) -> Option<PublicKey> {
        if !is_key_path(&file.value) {
            self.errors.push(&file.span, Problem::KeyPath { found: shorten(&file.value) });
            return None;
        }
        let name = shorten(&file.value);
        let Some(pem) = self.keys.get(&file.value) else {
            self.errors.push(&file.span, Problem::KeyFileMissing { file: name });
            return None;
        };
        self.errors.keep(&file.span, PublicKey::from_pem(pem), |source| Problem::Key { file: name, source })
    }

    /// No identity may report deployments in an environment and promote from it because of them, unless the
    /// file says why. Compared are identities, not names: one key in two files is one identity.
    pub(super) fn separation(&mut self, environments: &[Checked<'_>]) {
        for later in environments {
            let before: BTreeSet<&EnvironmentName> = later
                .after
                .iter()
                .flat_map(|after| &after.any_of)
                .map(|predecessor| &predecessor.environment)
                .collect();
            let mut accepted = false;
            for earlier in environments.iter().filter(|earlier| before.contains(&earlier.name)) {
                for (promoter, span) in &later.promoters {
                    let Some((deployer, identity)) = self.shared(promoter, &earlier.deployers) else {
                        continue;
                    };
                    accepted = true;
                    if later.raw.same_identity_accepted.is_none() {
                        let problem = Problem::SameIdentity {
                            identity,
                            deployer,
                            deployed: earlier.name.clone(),
                            promoter: promoter.clone(),
                            environment: later.name.clone(),
                        };
                        self.errors.push(span, problem);
                    }
                }
            }
            if let (Some(reason), false) = (&later.raw.same_identity_accepted, accepted) {
                let problem = Problem::SameIdentityUnused { environment: later.name.clone() };
                self.errors.push(&reason.span, problem);
            }
        }
    }

    /// The first deployer that has an identity in common with the promoter when both speak of one service.
    pub(super) fn shared(
        &self,
        promoter: &SignerName,
        deployers: &[SignerName],
    ) -> Option<(SignerName, String)> {
        let promoter = self.signers.get(promoter)?;
        for deployer in deployers.iter().filter_map(|name| self.signers.get(name)) {
            for mine in &promoter.any_of {
                if let Some(theirs) = deployer.any_of.iter().find(|theirs| self.meet(mine, theirs)) {
                    return Some((deployer.name.clone(), spell(theirs)));
                }
            }
        }
        None
    }

    fn meet(&self, one: &Matcher, other: &Matcher) -> bool {
        match (one, other) {
            (Matcher::Key { key: one, .. }, Matcher::Key { key: other, .. }) => one.id() == other.id(),
            (Matcher::Key { .. }, Matcher::Keyless { .. })
            | (Matcher::Keyless { .. }, Matcher::Key { .. }) => false,
            (
                Matcher::Keyless { issuer: one, identity: mine, root: here, .. },
                Matcher::Keyless { issuer: other, identity: theirs, root: there, .. },
            ) => one == other && here == there && self.overlap(mine, theirs),
        }
    }

    /// Whether one identity can be both. What else is asked of the certificates does not make two of one.
    fn overlap(&self, mine: &Subject, theirs: &Subject) -> bool {
        match (mine, theirs) {
            (Subject::Exactly(mine), Subject::Exactly(theirs)) => {
                // Equal as written, or made equal by the name of some service.
                let fills = mine.names_service() || theirs.names_service();
                let equal = |service| mine.fill(service) == theirs.fill(service);
                mine == theirs || fills && self.services.keys().any(equal)
            }
            (Subject::Exactly(text), Subject::Pattern(pattern))
            | (Subject::Pattern(pattern), Subject::Exactly(text)) => {
                self.services.keys().any(|service| pattern.matches(&text.fill(service), service))
            }
            // Two patterns may have an identity in common: assume that they do.
            (Subject::Pattern(_), Subject::Pattern(_)) => true,
        }
    }

    /// Approvals are counted by identity: there must be as many as are asked for.
    pub(super) fn enough_approvers(&mut self, count: u32, span: &Span, from: &[SignerName]) {
        let signers: Option<Vec<&Signer>> = from.iter().map(|name| self.signers.get(name)).collect();
        // A signer that has errors of its own may yet turn out to have enough identities.
        let Some(signers) = signers.filter(|signers| !signers.is_empty()) else { return };
        let pattern =
            |matcher: &Matcher| matches!(matcher, Matcher::Keyless { identity: Subject::Pattern(_), .. });
        if signers.iter().flat_map(|signer| &signer.any_of).any(pattern) {
            return; // As many as match.
        }
        let identities: BTreeSet<Written> =
            signers.iter().flat_map(|signer| &signer.any_of).map(written).collect();
        if usize::try_from(count).is_ok_and(|count| count > identities.len()) {
            let problem = Problem::ApprovalsUnreachable { count, identities: identities.len() };
            self.errors.push(span, problem);
        }
    }

    /// Two names for one identity: allowed, and worth a look.
    pub(super) fn shared_identities(&self) -> Vec<(Span, Remark)> {
        let mut owners: BTreeMap<Written, &SignerName> = BTreeMap::new();
        let mut remarks = Vec::new();
        for (name, _) in &self.draft.raw.signers.0 {
            let Some(signer) = self.signers.get(name.value.as_str()) else { continue };
            for matcher in &signer.any_of {
                let first = *owners.entry(written(matcher)).or_insert(&signer.name);
                if *first != signer.name {
                    let remark = Remark::SharedIdentity {
                        first: first.clone(),
                        second: signer.name.clone(),
                        identity: spell(matcher),
                    };
                    remarks.push((name.span.clone(), remark));
                }
            }
        }
        remarks
    }
}

/// An `https` URL without user, query, fragment (OpenID Connect Discovery 1.0, section 3: "issuer").
fn is_issuer(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~' | ':' | '/' | '%');
    text.strip_prefix("https://")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()) && rest.chars().all(good))
}

/// A relative path that stays in its folder, on every system.
pub(super) fn is_key_path(text: &str) -> bool {
    let odd = |c: char| matches!(c, '\\' | ':' | '~');
    !text.starts_with('/')
        && !text.contains(odd)
        && neutral(text) == text
        && text.split('/').all(|part| !part.is_empty() && part != "..")
}
