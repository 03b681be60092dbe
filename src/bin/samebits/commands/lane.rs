//! What the verbs that write to the control lane have in common: where something holds, and who may say it.

use anyhow::anyhow;
use samebits::policy::{Policy, Service, SignerName};
use samebits::record::Scope;
use samebits::verify::Author;

use crate::session::Session;
use crate::trouble::{Trouble, usage};

/// What somebody does to the control lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Revoke,
    Freeze,
}

impl Does {
    fn word(self) -> &'static str {
        match self {
            Self::Revoke => "revoke",
            Self::Freeze => "freeze",
        }
    }

    fn who(self, policy: &Policy) -> &[SignerName] {
        let control = policy.control();
        let who = control.map(|control| match self {
            Self::Revoke => control.revokers(),
            Self::Freeze => control.freezers(),
        });
        who.unwrap_or_default()
    }

    fn key(self) -> &'static str {
        match self {
            Self::Revoke => "revokers",
            Self::Freeze => "freezers",
        }
    }

    fn may(self, policy: &Policy, author: &Author, service: &Service) -> bool {
        match self {
            Self::Revoke => policy.may_revoke(author, service.name()),
            Self::Freeze => policy.may_freeze(author, service.name()),
        }
    }
}

pub(super) fn scope(
    session: &Session<'_>,
    service: Option<&str>,
    environment: Option<&str>,
) -> Result<Scope, Trouble> {
    let service = service.map(|name| session.policy.find_service(name)).transpose();
    let environment = environment.map(|name| session.policy.find_environment(name)).transpose();
    Ok(Scope {
        service: service.map_err(usage)?.map(|service| service.name().clone()),
        environment: environment.map_err(usage)?.map(|environment| environment.name().clone()),
    })
}

/// The services of a scope.
pub(super) fn services<'s>(session: &'s Session<'_>, scope: &Scope) -> Vec<&'s Service> {
    session.policy.services().filter(|service| scope.has_service(service.name())).collect()
}

/// The author has to have the role for every service in the scope: what counts for some of them only has to say so.
pub(super) fn may(session: &Session<'_>, does: Does, author: &Author, scope: &Scope) -> Result<(), Trouble> {
    let policy = &session.policy;
    let (word, key) = (does.word(), does.key());
    let who = does.who(policy);
    if who.is_empty() {
        return Err(usage(anyhow!(
            "the policy lets nobody {word}: expected a table [control] with `{key}`, as in \
             `{key} = [\"security\"]`"
        )));
    }
    let not = services(session, scope).into_iter().find(|it| !does.may(policy, author, it));
    let Some(service) = not else { return Ok(()) };
    let names: Vec<String> = who.iter().map(|name| format!("`{name}`")).collect();
    let found = match policy.who(author, service.name()).first() {
        Some(name) => format!("`{name}`"),
        None => format!("{}, which the policy does not name", author.identity()),
    };
    Err(usage(anyhow!(
        "who signs here may not {word} for `{}`: expected {}, found {found}",
        service.name(),
        names.join(" or ")
    )))
}
