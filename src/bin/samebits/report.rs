//! What people read: every foreign text is neutralised here, once, on its way out.

mod outputs;

use std::fmt::Write as _;
use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use samebits::gate::Code;
use samebits::record::{EffectiveFrom, RevocationEffect, Revoked};
use serde::Serialize;

pub(crate) use self::outputs::{Outputs, Unwritten, to_stdout};
use crate::ci::{Facts, Word};
use crate::kept;
use crate::output::freeze::frozen;
use crate::output::{
    Agreement, Copy, Decision, InForce, Initialised, LedgerAudit, LockStands, LogEntry, LogPage, Recorded,
    RequirementStands, Revoking, RootInUse, Status, StatusCell, StatusTable, YesOrNo,
};

pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const BOLD: Style = Style::new().bold();

/// Whether a terminal or a reader would not see `character` as it is: control, bidirectional, zero-width.
fn is_hidden(character: char) -> bool {
    let unseen = matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    character.is_control() || unseen
}

/// Foreign text on one line: hidden characters are escaped, and no runner's commands survive, neither GitHub's
/// (`::set-output`, `##[error]`) nor Azure's (`##vso[…]`), and it does not begin as a line of ours in Jenkins (D8).
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            let _ = write!(clean, "{}", character.escape_unicode());
            continue;
        }
        if character == '#' && clean.ends_with('#') {
            clean.push(' ');
        }
        clean.push(character);
    }
    match clean.trim_start() {
        begins if begins.starts_with("::") => clean.replacen("::", ": :", 1),
        begins if begins.starts_with("[samebits]") => clean.replacen('[', "[ ", 1),
        _ => clean,
    }
}

/// A result that can be written in every format.
pub(crate) trait Report: Serialize {
    /// The text form, with styles that `anstream` strips where they are not wanted.
    fn text(&self) -> String;

    /// What a CI system is told of it, if anything.
    fn facts(&self) -> Option<Facts<'_>> {
        None
    }
}

/// JSON that a reader of the log takes for nothing else: what [`clean`] would change is escaped.
fn json(report: &impl Serialize) -> Result<String, serde_json::Error> {
    let plain = serde_json::to_string_pretty(report)?;
    let mut json = String::with_capacity(plain.len());
    for character in plain.chars() {
        // Outside strings there is none of these but the line breaks, and inside there is no bare one.
        let hash = character == '#' && json.ends_with('#');
        if hash || (character != '\n' && is_hidden(character)) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(json, "\\u{unit:04x}");
            }
        } else {
            json.push(character);
        }
    }
    json.push('\n');
    Ok(json)
}

impl Report for Decision {
    fn text(&self) -> String {
        let mut text = String::new();
        let (word, style) = match self.decision {
            YesOrNo::Approved => ("yes", GOOD),
            YesOrNo::Denied => ("no", BAD),
        };
        let _ = writeln!(
            text,
            "{style}{word}{style:#}  {BOLD}{}{BOLD:#}  {}  →  {}\n",
            self.service,
            clean(&self.image.to_string()),
            self.to
        );
        requirements(&mut text, &self.requirements);
        for note in &self.notes {
            let _ = writeln!(text, "  {WARN}!{WARN:#} {}", clean(note));
        }
        if let Some(moved) = &self.tag_moved {
            let _ = writeln!(
                text,
                "  {WARN}!{WARN:#} tag-moved: `{}` means {} by now; what was decided is {}",
                moved.tag, moved.now, self.image.digest
            );
        }
        roots(&mut text, &self.roots);
        if self.record.is_some() || self.copy.is_some() {
            text.push('\n');
        }
        if let Some(record) = &self.record {
            let place = self.record_url.as_deref().map_or_else(|| "(samebits log)".to_owned(), clean);
            let _ = writeln!(text, "  {DIM}recorded as {} {place}{DIM:#}", record.index);
        }
        if let Some(copy) = &self.copy {
            let _ = writeln!(text, "  {DIM}copied {}{DIM:#}", copied(copy));
        }
        if let Some(permit) = &self.permit {
            let (file, until) = (clean(&permit.file), permit.valid_until);
            let _ = writeln!(text, "  {DIM}permit {file}, good until {until:.0}{DIM:#}");
        }
        more(&mut text, &self.codes, self.record.is_none());
        text
    }

    fn facts(&self) -> Option<Facts<'_>> {
        let (word, pinned) = match self.decision {
            YesOrNo::Approved => (Word::Approved, self.promoted.as_ref()),
            YesOrNo::Denied => (Word::Denied, None),
        };
        Some(Facts {
            word,
            service: self.service.to_string(),
            image: self.image.to_string(),
            pinned: pinned.map(ToString::to_string),
            permit: self.permit.as_ref().map(|permit| permit.bundle.clone()),
            digest: Some(self.image.digest.to_string()),
            codes: self.codes.iter().map(ToString::to_string).collect(),
            requirements: &self.requirements,
            notes: &self.notes,
            record: self.record.map(|record| record.index),
            record_url: self.record_url.as_deref(),
            causes: &[],
            hint: None,
            at: None,
        })
    }
}

/// Every requirement and how it stands.
pub(crate) fn requirements(text: &mut String, requirements: &[RequirementStands]) {
    for stands in requirements {
        let (glyph, style) = match stands.status {
            Status::Met => ("✓", GOOD),
            Status::Unmet => ("✗", BAD),
            Status::Warned => ("!", WARN),
        };
        let name = stands.requirement.to_string();
        match stands.code {
            None => {
                let _ = writeln!(text, "  {style}{glyph}{style:#} {name:<11} {}", clean(&stands.expected));
                let _ = writeln!(text, "    {DIM}found       {}{DIM:#}", clean(&stands.found));
            }
            Some(code) => {
                let until = stands.warn_until.as_deref().map(|day| format!(" (refuses after {day})"));
                let until = until.unwrap_or_default();
                let _ = writeln!(text, "  {style}{glyph}{style:#} {name:<11} {style}{code}{style:#}{until}");
                let _ = writeln!(text, "    wanted      {}", clean(&stands.expected));
                let _ = writeln!(text, "    found       {}", clean(&stands.found));
                for nearest in &stands.nearest {
                    let _ = writeln!(text, "    nearest     {}", clean(nearest));
                }
                fixes(text, &stands.fix);
            }
        }
    }
}

/// Where the codes of a refusal are explained.
pub(crate) fn more(text: &mut String, codes: &[Code], gap: bool) {
    if codes.is_empty() {
        return;
    }
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    let gap = if gap { "\n" } else { "" };
    let _ = writeln!(text, "{gap}  {DIM}more: samebits explain {}{DIM:#}", codes.join(" "));
}

/// A command stands alone on its line, ready to be copied.
fn fixes(text: &mut String, steps: &[String]) {
    let mut label = "to fix";
    for step in steps {
        let step = clean(step);
        if step.starts_with("samebits ") {
            if !label.is_empty() {
                let _ = writeln!(text, "    {label}");
            }
            let _ = writeln!(text, "      {BOLD}{step}{BOLD:#}");
        } else {
            let _ = writeln!(text, "    {label:<11} {step}");
        }
        label = "";
    }
}

/// What a copy did, on one line.
pub(crate) fn copied(copy: &Copy) -> String {
    let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (manifests, referrers) = (many(copy.manifests, "manifest"), many(copy.referrers, "referrer"));
    let manifests = match copy.manifests_present {
        0 => manifests,
        present => format!("{manifests} ({present} there before)"),
    };
    let mut blobs = vec![format!("{} sent ({})", copy.blobs_copied, size(copy.bytes_copied))];
    if copy.blobs_mounted > 0 {
        blobs.push(format!("{} mounted", copy.blobs_mounted));
    }
    blobs.push(format!("{} there before", copy.blobs_present));
    let referrers = match copy.referrers_stored.len() {
        0 => referrers,
        stored => format!("{referrers}, {stored} in the evidence store"),
    };
    format!("{manifests}, {referrers}; blobs: {}", blobs.join(", "))
}

/// Bytes as people say them, in powers of 1024.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        // One decimal, rounded down: enough for a look.
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

impl Report for Recorded {
    fn text(&self) -> String {
        let mut text = format!(
            "recorded {BOLD}{}{BOLD:#}: {} {} of {} in {}\n  {}\n  signed by {}\n",
            self.record.index,
            self.kind,
            self.outcome,
            self.service,
            self.environment,
            clean(&self.image.to_string()),
            clean(&self.signer.to_string()),
        );
        if let Some(url) = &self.record_url {
            let _ = writeln!(text, "  {DIM}{}{DIM:#}", clean(url));
        }
        for note in &self.notes {
            let _ = writeln!(text, "  {WARN}!{WARN:#} {}", clean(note));
        }
        text
    }

    fn facts(&self) -> Option<Facts<'_>> {
        Some(Facts {
            word: Word::Recorded,
            service: self.service.to_string(),
            image: self.image.to_string(),
            pinned: None,
            permit: None,
            digest: Some(self.image.digest.to_string()),
            codes: Vec::new(),
            requirements: &[],
            notes: &self.notes,
            record: Some(self.record.index),
            record_url: self.record_url.as_deref(),
            causes: &[],
            hint: None,
            at: None,
        })
    }
}

/// One line, only where certificates are judged.
pub(crate) fn roots(text: &mut String, roots: &[RootInUse]) {
    let said: Vec<String> = roots.iter().map(|root| format!("{} {}", root.name, root.said())).collect();
    if !said.is_empty() {
        let _ = writeln!(text, "  {DIM}roots         {}{DIM:#}", clean(&said.join("; ")));
    }
}

impl Report for Revoking {
    fn text(&self) -> String {
        let mut text = match self.effect {
            RevocationEffect::Refuse => format!(
                "{BAD}revoked{BAD:#} {}, as control record {}\n",
                revoked(&self.target, self.effective_from),
                self.record.index
            ),
            RevocationEffect::Lift => format!(
                "{GOOD}lifted{GOOD:#} {}, as control record {}\n",
                match self.lifts {
                    Some(lifted) => format!("control record {}", lifted.index),
                    None => "nothing".to_owned(),
                },
                self.record.index
            ),
        };
        let _ = writeln!(text, "  reason      {}", clean(&self.reason));
        let _ = writeln!(text, "  signed by   {}", clean(&self.signer.to_string()));
        if !self.closes.is_empty() {
            let closes: Vec<String> = self.closes.iter().map(ToString::to_string).collect();
            let only = self.scope.service.as_ref().map(|name| format!(" (for {name})")).unwrap_or_default();
            let _ = writeln!(text, "  holds for   {}{only}", closes.join(", "));
        }
        live(&mut text, &self.live);
        for note in &self.notes {
            let _ = writeln!(text, "  {WARN}!{WARN:#} {}", clean(note));
        }
        text
    }
}

/// What is revoked, in words.
fn revoked(target: &Revoked, from: Option<EffectiveFrom>) -> String {
    match target {
        Revoked::Digests(digests) => match digests.split_first() {
            Some((first, [])) => first.to_string(),
            Some((first, others)) => format!("{first} and {} manifest(s) of it", others.len()),
            None => "nothing".to_owned(),
        },
        Revoked::Identities(identities) => {
            let who: Vec<String> = identities.iter().map(|identity| clean(&identity.to_string())).collect();
            match from {
                Some(from) => format!("{} since record {}", who.join(", "), from.index),
                None => who.join(", "),
            }
        }
        Revoked::Record(position) => format!("record {}", position.index),
    }
}

/// Where something is that is revoked.
fn live(text: &mut String, cells: &[StatusCell]) {
    for cell in cells {
        for here in &cell.revoked {
            let how = match &here.deployment {
                None => "is promoted".to_owned(),
                Some(name) => format!("runs ({})", clean(name)),
            };
            let _ = writeln!(
                text,
                "  {BAD}REVOKED{BAD:#}     {} {} {how} in {} (record {}): control record {}, {}",
                cell.service,
                here.image.short(),
                cell.environment,
                here.record,
                here.revoked_by,
                clean(&here.reason)
            );
        }
    }
}

fn in_force(text: &mut String, revocations: &[InForce]) {
    for it in revocations {
        let parts = [
            it.scope.service.as_ref().map(|name| format!(" for {name}")),
            it.scope.environment.as_ref().map(|name| format!(" in {name}")),
        ];
        let scope: String = parts.into_iter().flatten().collect();
        let _ = writeln!(
            text,
            "{BAD}revoked{BAD:#} {}{scope}: {} (control record {}, {:.0})",
            revoked(&it.target, it.effective_from),
            clean(&it.reason),
            it.index,
            it.decided_on
        );
    }
}

impl Report for LogPage {
    fn text(&self) -> String {
        let mut text = String::new();
        in_force(&mut text, &self.revocations);
        live(&mut text, &self.live);
        for record in &self.records {
            log_line(&mut text, record);
            kept::list(&mut text, &record.evidence);
        }
        if self.records.is_empty() {
            let _ = match &self.digest {
                Some(digest) => {
                    writeln!(text, "no record is about {digest}; samebits log shows all there are")
                }
                None => {
                    writeln!(text, "the ledger has no such record yet; samebits promote writes the first")
                }
            };
        }
        text
    }
}

fn log_line(text: &mut String, record: &LogEntry) {
    if let Some(why) = &record.invalid {
        let _ = writeln!(text, "{:>6}  {BAD}not a valid record{BAD:#}: {}", record.index, clean(why));
        return;
    }
    let when = record.claimed_time.map(|time| format!("{time:.0}")).unwrap_or_default();
    let kind = record.kind.map(|kind| kind.to_string()).unwrap_or_default();
    let outcome = record.outcome.as_deref().unwrap_or_default();
    let style = match outcome {
        "refused" | "failed" | "rejected" => BAD,
        "commit" | "succeeded" | "approved" => GOOD,
        _ => DIM,
    };
    let service = record.service.as_ref().map(ToString::to_string).unwrap_or_default();
    let environment = record.environment.as_ref().map(ToString::to_string).unwrap_or_default();
    let digest = record.image.as_ref().map(|image| image.digest.short()).unwrap_or_default();
    let names: Vec<String> = record.names.iter().map(ToString::to_string).collect();
    let _ = write!(
        text,
        "{:>6}  {when}  {kind:<10} {style}{outcome:<9}{style:#} {service} {digest} → {environment}  by {}",
        record.index,
        names.join(", ")
    );
    if !record.codes.is_empty() {
        let _ = write!(text, "  ({})", clean(&record.codes.join(", ")));
    }
    text.push('\n');
}

impl Report for StatusTable {
    fn text(&self) -> String {
        let mut rows = vec![["SERVICE", "ENVIRONMENT", "PROMOTED", "RUNS", ""].map(str::to_owned)];
        for cell in &self.cells {
            let place = |digest: &Option<samebits::digest::Digest>, index: Option<u64>| match (digest, index)
            {
                (Some(digest), Some(index)) => format!("{} (record {index})", digest.short()),
                _ => "–".to_owned(),
            };
            let agreement = match cell.agreement {
                Agreement::Same => "same",
                Agreement::Differs => "DIFFERS",
                Agreement::NotDeployed => "not known to run",
                Agreement::NeverPromoted => "NEVER PROMOTED",
                Agreement::Empty => "",
            };
            let open = cell.open_intent.map(|index| format!(" open intent {index}")).unwrap_or_default();
            rows.push([
                cell.service.to_string(),
                cell.environment.to_string(),
                place(&cell.promoted, cell.promoted_by),
                place(&cell.running, cell.running_by),
                format!("{agreement}{open}"),
            ]);
        }
        let mut text = table(&rows);
        live(&mut text, &self.cells);
        in_force(&mut text, &self.revocations);
        frozen(&mut text, &self.freezes);
        let _ = writeln!(text, "{DIM}ledger {} has {} records{DIM:#}", clean(&self.origin), self.ledger.size);
        if let Some(next) = &self.next {
            let _ = writeln!(text, "\nnothing is recorded yet; the first step (as a promoter):");
            let _ = writeln!(text, "  {BOLD}{}{BOLD:#}", clean(next));
        }
        text
    }
}

fn table(rows: &[[String; 5]]) -> String {
    let mut text = String::new();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

impl Report for LedgerAudit {
    fn text(&self) -> String {
        let mut text = String::new();
        if self.intact {
            let _ = writeln!(
                text,
                "{GOOD}intact{GOOD:#}  {}: {} records and {} control records, every byte, hash and signature recomputed",
                clean(&self.origin),
                self.records,
                self.control.map_or(0, |head| head.size)
            );
        } else {
            let _ = writeln!(text, "{BAD}not intact{BAD:#}  {}\n", clean(&self.origin));
            for finding in &self.findings {
                // Checkpoints have lines of their own.
                for (line, mark) in finding.lines().zip(std::iter::once("✗").chain(std::iter::repeat(" ")))
                {
                    let _ = writeln!(text, "  {BAD}{mark}{BAD:#} {}", clean(line));
                }
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "  {WARN}!{WARN:#} {}", clean(note));
        }
        if let Some(LockStands { file, main, control }) = &self.lock {
            let (file, main, control) = (clean(file), main.size, control.size);
            let _ =
                writeln!(text, "{DIM}{file}: at least {main} records and {control} control records{DIM:#}");
        }
        if let Some(head) = &self.ledger {
            let _ =
                writeln!(text, "{DIM}signed checkpoint: {} records, root {}{DIM:#}", head.size, head.root);
        }
        text
    }
}

impl Report for Initialised {
    fn text(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            let _ = writeln!(text, "wrote {}", clean(file));
        }
        text
    }
}

/// One line on stderr; a closed stderr is nobody's trouble.
pub(crate) fn say(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(anstream::stderr(), "{}", clean(&text.to_string()));
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn d8_foreign_text_can_neither_move_the_cursor_nor_speak_to_the_runner() {
        for (foreign, seen) in [
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb", "a\\u{a}b"),
            ("::set-output name=x::y", ": :set-output name=x::y"),
            ("  ::error::y", "  : :error::y"),
            ("x ##[error]y", "x # #[error]y"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("plain", "plain"),
        ] {
            assert_eq!(clean(foreign), seen);
        }
        for command in ["##[", "##vso[", "\u{1b}", "\u{9b}", "\r", "\n", "\u{2066}", "\u{e0041}"] {
            let seen = clean(&format!("a{command}b"));
            assert!(!seen.contains(command), "{command:?} survived in {seen}");
        }
    }

    #[test]
    fn d8_json_means_the_same_and_says_nothing_to_the_runner() {
        for foreign in
            ["x ##[error]y", "###", "##vso[task]", "\u{1b}[2J", "\u{9b}2J", "\u{202e}", "\u{e0041}", "a\n::b"]
        {
            let seen = super::json(&foreign).unwrap();
            assert_eq!(serde_json::from_str::<String>(&seen).unwrap(), foreign);
            assert!(seen.trim_end().chars().all(|c| c.is_ascii_graphic() || c == ' '), "{seen:?}");
            assert!(!seen.contains("##"), "{seen:?}");
        }
    }

    #[test]
    fn sizes_are_said_in_words() {
        for (bytes, said) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1 << 20, "1.0 MiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(super::size(bytes), said);
        }
    }
}
