//! `roots`: what certificates are judged under, and how old it is.

use std::fmt::Write as _;

use samebits::roots::{Network, Roots};

use crate::Outcome;
use crate::args::{RootsCommand, RootsOf};
use crate::output::{RootStands, RootsTable};
use crate::report::{Report, clean};
use crate::session::{self, Session};
use crate::trouble::{Trouble, undecided, usage};

pub(crate) fn roots(session: &Session<'_>, args: &RootsOf) -> Result<Outcome, Trouble> {
    let network = match args.command {
        None => Network::Offline,
        Some(RootsCommand::Refresh) if session.common.offline => {
            return Err(usage(anyhow::anyhow!(
                "`roots refresh` asks the repositories: expected no --offline"
            )));
        }
        Some(RootsCommand::Refresh) => Network::Required,
    };
    let roots = session.load_roots(network)?;
    let report = table(&roots);
    session.outputs.emit(&report).map_err(undecided)?;
    let refused = report.roots.iter().any(|root| root.refused.is_some());
    Ok(if refused { Outcome::No } else { Outcome::Yes })
}

fn table(roots: &Roots) -> RootsTable {
    let now = session::now();
    RootsTable {
        schema: RootsTable::SCHEMA,
        roots: roots.iter().map(|root| RootStands::new(root, now)).collect(),
        notes: roots.iter().filter_map(|root| root.remark(now)).collect(),
    }
}

impl Report for RootsTable {
    fn text(&self) -> String {
        let mut text = String::new();
        for stands in &self.roots {
            let (root, keys) = (&stands.root, &stands.keys);
            let _ = writeln!(text, "{}  {}", root.name, clean(&root.said()));
            let _ = writeln!(text, "  digest      {}", root.digest);
            if let Some(day) = root.taken_on {
                let _ = writeln!(text, "  taken on    {day}");
            }
            if let Some(time) = root.refreshed_on {
                let _ = writeln!(text, "  refreshed   {time:.0}");
            }
            if let Some(time) = root.good_until {
                let _ = writeln!(text, "  good until  {time:.0}");
            }
            if let Some(limit) = &stands.max_age {
                let _ = writeln!(text, "  max-age     {limit}");
            }
            let kinds = [
                ("logs", keys.logs),
                ("certificate logs", keys.ct_logs),
                ("certificate authorities", keys.authorities),
                ("timestamp authorities", keys.timestamp_authorities),
            ];
            let said = kinds.map(|(kind, known)| format!("{kind} {} of {}", known.current, known.all));
            let _ = writeln!(text, "  of today    {}", said.join(", "));
            if let Some(why) = &stands.refused {
                let _ = writeln!(text, "  refused     {}", clean(why));
            }
        }
        if self.roots.is_empty() {
            let _ = writeln!(text, "no signer of the policy signs by certificate: no root of trust is used");
        }
        for note in &self.notes {
            let _ = writeln!(text, "! {}", clean(note));
        }
        text
    }
}
