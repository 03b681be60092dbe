//! From a draft to a policy: what the words mean, and whether that is safe.
//!
//! Every check goes on after an error, with what is left; a policy is only built when there was none.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;

use super::diagnostic::{Errors, Span, Warning};
use super::problem::{Problem, Remark};
use super::read::{At, Entries};
use super::template::Template;
use super::*;
use crate::digest::shorten;
use crate::reference::Tag;

mod attestations;
mod control;
mod graph;
mod identities;
mod places;
mod provenance;
mod roots;

/// Numbers of tables that keep the checks of all pairs quick.
const SERVICES: usize = 2_000;
const ENVIRONMENTS: usize = 250;
const SIGNERS: usize = 2_000;

/// How long a permit is good where the policy does not say it, and what it may say.
const PERMIT_FOR: Duration = Duration::from_secs(60 * 60);
const PERMIT_RANGE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(24 * 60 * 60);

type Text = At<String>;

/// An environment on its way: what could be read of it.
struct Checked<'d> {
    name: EnvironmentName,
    raw: &'d raw::Environment,
    after: Vec<After>,
    repository: Option<Template>,
    tag: Option<Tag>,
    promoters: Vec<(SignerName, Span)>,
    deployers: Vec<SignerName>,
    require: Require,
    control_max_staleness: Option<Duration>,
    permit_for: Duration,
}

/// What the checks share.
struct Check<'d> {
    draft: &'d Draft,
    keys: &'d BTreeMap<String, String>,
    errors: Errors,
    signer_names: BTreeSet<SignerName>,
    environment_names: BTreeSet<EnvironmentName>,
    service_names: BTreeSet<ServiceName>,
    /// Regular expressions made so far.
    compiled: usize,
    roots: BTreeMap<RootName, RootRule>,
    /// Roots that the file names, and what their files hold.
    root_digests: BTreeMap<String, Digest>,
    used_roots: BTreeSet<RootName>,
    signers: BTreeMap<SignerName, Signer>,
    services: BTreeMap<ServiceName, Service>,
    /// Signers that something names.
    used: BTreeSet<SignerName>,
}

pub(super) fn validate(draft: &Draft, keys: &BTreeMap<String, String>) -> Result<Policy, PolicyErrors> {
    let raw = &draft.raw;
    let mut check = Check {
        draft,
        keys,
        errors: Errors::default(),
        signer_names: BTreeSet::new(),
        environment_names: BTreeSet::new(),
        service_names: BTreeSet::new(),
        compiled: 0,
        roots: BTreeMap::new(),
        root_digests: BTreeMap::new(),
        used_roots: BTreeSet::new(),
        signers: BTreeMap::new(),
        services: BTreeMap::new(),
        used: BTreeSet::new(),
    };
    // 1. The format itself.
    if raw.version.value != 1 {
        let found = raw.version.value.to_string();
        check.errors.push(&raw.version.span, Problem::Version { found });
    }
    // 2. Places: ledger, registries.
    let ledger = check.ledger();
    let registries = check.registries();
    // 3. The closed sets of names, before anything refers to them.
    let signers = check.names::<SignerName, _>(&raw.signers, Named::Signer, SIGNERS);
    let services = check.names::<ServiceName, _>(&raw.services, Named::Service, SERVICES);
    let environments = check.names::<EnvironmentName, _>(&raw.environments, Named::Environment, ENVIRONMENTS);
    if let Some(over) = check.too_many() {
        return over;
    }
    check.signer_names = signers.iter().map(|(name, _)| name.clone()).collect();
    check.environment_names = environments.iter().map(|(name, _)| name.clone()).collect();
    check.service_names = services.iter().map(|(name, _)| name.clone()).collect();
    // 4. Each table by itself; roots first, signers name them.
    check.roots();
    for (name, signer) in &signers {
        if let Some(any_of) = check.signer(name, signer) {
            check.signers.insert(name.clone(), Signer { name: name.clone(), any_of });
        }
    }
    for (name, service) in services {
        if let Some(service) = check.service(&name, service) {
            check.services.insert(name, service);
        }
    }
    let environments: Vec<Checked<'_>> =
        environments.into_iter().map(|(name, raw)| check.environment(name, raw)).collect();
    // 5. The tables together.
    let order = check.order(&environments);
    check.separation(&environments);
    check.attesters(&environments);
    check.refreshed_roots_are_used();
    let control = check.control(&environments);
    let homes = check.homes(&environments);
    let warnings = check.warnings(&homes);

    check.errors.finish(&draft.file, &draft.text)?;
    // Nothing below can fail: every `None` above pushed an error.
    let incomplete = || PolicyErrors::whole(&draft.file, Problem::Incomplete);
    let mut built = BTreeMap::new();
    for environment in environments {
        let environment = environment.build().ok_or_else(incomplete)?;
        built.insert(environment.name.clone(), environment);
    }
    for (repository, (service, environment)) in &homes {
        if let Some(environment) = environment.as_ref().and_then(|name| built.get_mut(name)) {
            environment.repositories.insert(service.clone(), repository.clone());
        }
    }
    let key_digest = |matcher: &Matcher| match matcher {
        Matcher::Key { file, key, .. } => Some((file.clone(), key.id())),
        Matcher::Keyless { .. } => None,
    };
    let key_der = |matcher: &Matcher| match matcher {
        Matcher::Key { key, .. } => Some(Bytes::copy_from_slice(key.der())),
        Matcher::Keyless { .. } => None,
    };
    let text = |text: &String| Bytes::copy_from_slice(text.as_bytes());
    let roots = check.root_digests.keys().filter_map(|file| keys.get(file)).map(text);
    let key_ders = check.signers.values().flat_map(|signer| &signer.any_of).filter_map(key_der);
    let sources = std::iter::once(text(&draft.text)).chain(key_ders).chain(roots).collect();
    Ok(Policy {
        sources,
        digest: Digest::of(draft.text.as_bytes()),
        file: draft.file.clone(),
        key_digests: check
            .signers
            .values()
            .flat_map(|signer| &signer.any_of)
            .filter_map(key_digest)
            .chain(check.root_digests)
            .collect(),
        ledger: ledger.ok_or_else(incomplete)?,
        registries,
        roots: check.roots,
        signers: check.signers,
        control,
        services: check.services,
        environments: order.iter().filter_map(|name| built.remove(name)).collect(),
        homes,
        warnings,
    })
}

impl Checked<'_> {
    fn build(self) -> Option<Environment> {
        Some(Environment {
            name: self.name,
            entry: self.raw.entry.is_some(),
            after: self.after,
            repository: self.repository?,
            repositories: BTreeMap::new(),
            tag: self.tag,
            promoters: self.promoters.into_iter().map(|(name, _)| name).collect(),
            deployers: self.deployers,
            require: self.require,
            control_max_staleness: self.control_max_staleness,
            permit_for: self.permit_for,
            same_identity_accepted: self.raw.same_identity_accepted.as_ref().map(|at| at.value.clone()),
        })
    }
}

impl<'d> Check<'d> {
    /// The names of a table of tables, each good one with its table. There has to be one, and not too many.
    fn names<N, T>(&mut self, entries: &'d Entries<T>, what: Named, limit: usize) -> Vec<(N, &'d T)>
    where
        N: std::str::FromStr<Err = NameError>,
    {
        let found = entries.0.len();
        if found == 0 {
            self.errors.push_whole(Problem::None { what });
        }
        if found > limit {
            self.errors.push_whole(Problem::TooMany { what, found, limit });
            return Vec::new();
        }
        let name = |(name, table): &'d (Text, T)| {
            let name = self.errors.keep(&name.span, name.value.parse(), Problem::Name)?;
            Some((name, table))
        };
        entries.0.iter().filter_map(name).collect()
    }

    /// The list without anything said twice; an empty one is an error.
    fn each<'l>(&mut self, list: &'l At<Vec<Text>>) -> Vec<&'l Text> {
        if list.value.is_empty() {
            self.errors.push(&list.span, Problem::EmptyList);
        }
        let mut seen = BTreeSet::new();
        let mut kept = Vec::new();
        for text in &list.value {
            match seen.insert(&text.value) {
                true => kept.push(text),
                false => {
                    self.errors.push(&text.span, Problem::Repeated { value: shorten(&text.value) });
                }
            }
        }
        kept
    }

    /// A name of the closed set of signers.
    fn signer_name(&mut self, text: &Text) -> Option<SignerName> {
        match self.signer_names.get(text.value.as_str()) {
            Some(name) => {
                self.used.insert(name.clone());
                Some(name.clone())
            }
            None => {
                let unknown = || UnknownName::new(Named::Signer, &text.value, &self.signer_names);
                self.errors.push_lazily(&text.span, || Problem::UnknownName(unknown()));
                None
            }
        }
    }

    fn signer_list(&mut self, list: &At<Vec<Text>>) -> Vec<(SignerName, Span)> {
        let each = self.each(list);
        each.into_iter().filter_map(|text| Some((self.signer_name(text)?, text.span.clone()))).collect()
    }

    fn template(&mut self, text: &Text) -> Option<Template> {
        let problem = |source| Problem::Template { text: shorten(&text.value), source };
        self.errors.keep(&text.span, Template::parse(&text.value), problem)
    }

    /// A text that is compared as it is: no placeholder either.
    fn exact(&mut self, text: &Text) -> Option<String> {
        let template = self.template(text)?;
        if template.names_service() {
            self.errors.push(&text.span, Problem::ServiceHasNoPlace);
            return None;
        }
        Some(text.value.clone())
    }

    fn service(&mut self, name: &ServiceName, raw: &raw::Service) -> Option<Service> {
        let repository = self.errors.keep(&raw.repository.span, raw.repository.value.parse(), |source| {
            Problem::Repository { source }
        });
        let mut platforms: Vec<Platform> = Vec::new();
        if let Some(list) = &raw.platforms {
            for text in self.each(list) {
                let platform =
                    self.errors.keep(&text.span, text.value.parse(), |source| Problem::Platform { source });
                match platform {
                    // Two spellings of one platform.
                    Some(platform) if platforms.contains(&platform) => {
                        self.errors.push(&text.span, Problem::Repeated { value: platform.to_string() });
                    }
                    Some(platform) => platforms.push(platform),
                    None => {}
                }
            }
        }
        let evidence_store = match &raw.evidence_store {
            Some(text) => Some(self.evidence_store(text)?),
            None => None,
        };
        Some(Service { name: name.clone(), repository: repository?, platforms, evidence_store })
    }

    fn environment(&mut self, name: EnvironmentName, raw: &'d raw::Environment) -> Checked<'d> {
        // 1. The beginning, or what comes before.
        match (&raw.entry, &raw.after) {
            (Some(entry), _) if !entry.value => self.errors.push(&entry.span, Problem::EntryFalse),
            (Some(entry), Some(_)) => {
                self.errors.push(&entry.span, Problem::EntryAndAfter { environment: name.clone() });
            }
            (None, None) => {
                self.errors.push(&raw.at, Problem::NeitherEntryNorAfter { environment: name.clone() });
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        let after = raw.after.as_ref().map(|after| self.after(&name, after)).unwrap_or_default();
        // 2. Where to.
        let repository = self.template(&raw.repository);
        let tag = raw
            .tag
            .as_ref()
            .and_then(|tag| self.errors.keep(&tag.span, tag.value.parse(), |source| Problem::Tag { source }));
        // 3. Who.
        let promoters = self.signer_list(&raw.promoters);
        let deployers = self.signer_list(&raw.deployers).into_iter().map(|(name, _)| name).collect();
        // 4. What else.
        let require = raw.require.as_ref().map(|require| self.require(require, &after)).unwrap_or_default();
        if raw.entry.is_some() {
            self.entry_requirements(&name, raw);
        }
        // 5. For how long.
        let control_max_staleness = raw.control_max_staleness.as_ref().and_then(|text| self.duration(text));
        let permit_for = raw.permit_for.as_ref().and_then(|text| self.permit_for(text)).unwrap_or(PERMIT_FOR);
        Checked {
            name,
            raw,
            after,
            repository,
            tag,
            promoters,
            deployers,
            require,
            control_max_staleness,
            permit_for,
        }
    }

    /// Long enough to be used, and not so long that what was revoked since ships with it.
    fn permit_for(&mut self, text: &Text) -> Option<Duration> {
        let duration = self.duration(text)?;
        if !PERMIT_RANGE.contains(&duration) {
            self.errors.push(&text.span, Problem::PermitFor { found: shorten(&text.value) });
            return None;
        }
        Some(duration)
    }

    /// An entry environment is guarded by the build's evidence alone, so there has to be some, from today.
    fn entry_requirements(&mut self, environment: &EnvironmentName, raw: &raw::Environment) {
        let environment = environment.clone();
        let signed = raw.require.as_ref().is_some_and(|require| require.signed_by.is_some());
        let provenance = raw.require.as_ref().and_then(|require| require.provenance.as_ref());
        match (signed, provenance.map(|provenance| &provenance.warn_until)) {
            (true, _) | (false, Some(None)) => {}
            (false, Some(Some(warn_until))) => {
                self.errors.push(&warn_until.span, Problem::EntryOnlyWarns { environment });
            }
            (false, None) => self.errors.push(&raw.at, Problem::EntryWithoutEvidence { environment }),
        }
    }

    fn after(&mut self, name: &EnvironmentName, after: &At<Vec<raw::After>>) -> Vec<After> {
        if after.value.is_empty() {
            self.errors.push(&after.span, Problem::EmptyList);
        }
        let mut alone = BTreeSet::new();
        let mut groups = Vec::new();
        for group in &after.value {
            let any_of = match group {
                raw::After::One(one) => {
                    self.predecessor(name, one, &mut alone).map(|one| vec![one]).unwrap_or_default()
                }
                raw::After::Any(any) => {
                    if any.any_of.value.is_empty() {
                        self.errors.push(&any.any_of.span, Problem::EmptyList);
                    }
                    let mut together = BTreeSet::new();
                    let each = any.any_of.value.iter();
                    each.filter_map(|one| self.predecessor(name, one, &mut together)).collect()
                }
            };
            groups.push(After { any_of });
        }
        groups
    }

    fn predecessor(
        &mut self,
        name: &EnvironmentName,
        raw: &raw::Predecessor,
        seen: &mut BTreeSet<EnvironmentName>,
    ) -> Option<Predecessor> {
        let text = &raw.environment;
        let environment = match self.environment_names.get(text.value.as_str()) {
            Some(environment) if environment == name => {
                self.errors.push(&text.span, Problem::AfterItself { environment: name.clone() });
                None
            }
            Some(environment) if !seen.insert(environment.clone()) => {
                self.errors.push(&text.span, Problem::Repeated { value: environment.to_string() });
                None
            }
            Some(environment) => Some(environment.clone()),
            None => {
                let unknown = || UnknownName::new(Named::Environment, &text.value, &self.environment_names);
                self.errors.push_lazily(&text.span, || Problem::UnknownName(unknown()));
                None
            }
        };
        let for_at_least = match &raw.for_at_least {
            None => Some(Duration::ZERO),
            Some(text) => self.errors.keep(&text.span, super::duration::parse(&text.value), |source| {
                Problem::Duration { found: shorten(&text.value), source }
            }),
        };
        let evidence = match &raw.evidence {
            None => Some(EvidenceClass::Asserted),
            Some(text) => self
                .word(text, &[("asserted", EvidenceClass::Asserted), ("observed", EvidenceClass::Observed)]),
        };
        Some(Predecessor { environment: environment?, for_at_least: for_at_least?, evidence: evidence? })
    }

    /// A word of a closed set.
    fn word<T: Clone>(&mut self, text: &Text, words: &[(&'static str, T)]) -> Option<T> {
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(value.clone());
        }
        let known: Vec<&'static str> = words.iter().map(|(word, _)| *word).collect();
        let nearest = super::names::nearest(&text.value, known.iter().copied())
            .and_then(|near| known.iter().copied().find(|word| *word == near));
        self.errors.push(&text.span, Problem::UnknownWord { found: shorten(&text.value), nearest, known });
        None
    }

    fn require(&mut self, raw: &raw::Require, after: &[After]) -> Require {
        let signed_by = raw.signed_by.as_ref().map(|list| self.signer_list(&list.0)).unwrap_or_default();
        Require {
            signed_by: signed_by.into_iter().map(|(name, _)| name).collect(),
            provenance: raw.provenance.as_ref().and_then(|rule| self.provenance(rule)),
            attestations: raw
                .attestations
                .as_ref()
                .map(|list| self.attestations(list, after))
                .unwrap_or_default(),
            approvals: raw.approvals.as_ref().and_then(|rule| self.approvals(rule)),
        }
    }

    fn approvals(&mut self, raw: &raw::Approvals) -> Option<ApprovalRule> {
        let from: Vec<SignerName> = self.signer_list(&raw.from).into_iter().map(|(name, _)| name).collect();
        let not_from = match &raw.not_from {
            None => BTreeSet::from([Excluded::Requester, Excluded::Builder]),
            // The only list that may be empty: it says aloud that everybody's approval counts.
            Some(list) if list.value.is_empty() => BTreeSet::new(),
            Some(list) => {
                let words = [("requester", Excluded::Requester), ("builder", Excluded::Builder)];
                self.each(list).into_iter().filter_map(|text| self.word(text, &words)).collect()
            }
        };
        let count = match u32::try_from(raw.count.value) {
            Ok(count) if count > 0 => Some(count),
            Ok(_) | Err(_) => {
                let found = raw.count.value.to_string();
                self.errors.push(&raw.count.span, Problem::ApprovalCount { found });
                None
            }
        };
        if let Some(count) = count {
            self.enough_approvers(count, &raw.count.span, &from);
        }
        let warn_until = raw.warn_until.as_ref().map(|date| date.value);
        Some(ApprovalRule { count: count?, from, not_from, warn_until })
    }

    /// Signers nobody uses, names that share an identity, registries nobody uses.
    fn warnings(&mut self, homes: &places::Homes) -> Vec<Warning> {
        let (file, text) = (&self.draft.file, &self.draft.text);
        let mut warnings: Vec<(Span, Remark)> = Vec::new();
        for (name, _) in &self.draft.raw.signers.0 {
            if let Some(signer) = self.signer_names.get(name.value.as_str())
                && !self.used.contains(signer)
            {
                warnings.push((name.span.clone(), Remark::UnusedSigner { signer: signer.clone() }));
            }
        }
        warnings.extend(self.shared_identities());
        warnings.extend(self.unused_roots());
        warnings.extend(self.registry_remarks(homes));
        warnings.sort_by_key(|(span, _)| span.start);
        warnings.truncate(super::diagnostic::SHOWN);
        warnings.into_iter().map(|(span, remark)| Warning::new(file, text, &span, remark)).collect()
    }

    /// The refusal when a table has more entries than the checks of all pairs can bear.
    fn too_many(&mut self) -> Option<Result<Policy, PolicyErrors>> {
        if !self.errors.problems().any(|problem| matches!(problem, Problem::TooMany { .. })) {
            return None;
        }
        let errors = std::mem::take(&mut self.errors);
        errors.finish(&self.draft.file, &self.draft.text).err().map(Err)
    }
}
