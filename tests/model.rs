//! The protocol as a model, looked at in every state it can reach: two promoters of two images, one freezer, one run of
//! `reconcile`, over one log, one control lane, one registry and its tag. Everybody may stall between any two steps for
//! as long as anybody likes, be taken over, wake up as a zombie, or crash and be run once more.
//!
//! What is valid is not said here. A log of the model is a log of real records, signed and read as the ledger reads
//! them; which intent holds the lock and what is committed is the answer of the real [`State::replay`], and whether a
//! freeze stops somebody that of the real [`freezes`]. What is modelled are the steps, one by one as the code takes
//! them:
//!
//! | step here | step in the code |
//! | --- | --- |
//! | `Decide` | `Walk::promote`: `collect`, `decide`, `already` |
//! | `Open` | `Intent::open`: one compare and swap; `Busy`, `Overtaken`, the abort of a rival |
//! | `Look` | `recall` and the second `decide`, behind the intent |
//! | `Withdraw` | `Intent::abort` |
//! | `Copy` | `Walk::copy` |
//! | `Commit` | `Intent::commit`: one compare and swap |
//! | `Publish` | `put_record`, `summarise` |
//! | `ReadLedger`, `ReadTag`, `WriteTag`, `CheckTag`, `ReadAgain` | `Walk::set_tag`, a request each |
//! | the freezer | `freeze`: appends to the control lane, then reads the main lane |
//! | `reconcile` | `Walk::left`, `Walk::mend` |
//!
//! The three rules are three switches ([`Switches`]): with any of them off the explorer finds a shortest way into a state
//! that must not be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "model/explorer.rs"]
mod explorer;
#[path = "model/log.rs"]
mod log;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/world.rs"]
mod world;

use std::fmt;

use explorer::{Explored, explore};
use log::{Entry, Log, LogId};

/// The rules of the protocol, each with a switch.
#[derive(Clone, Copy, Debug)]
struct Switches {
    /// Control is read behind the intent.
    second_look: bool,
    /// A commit is written only while its intent is the open one at its place.
    fenced: bool,
    /// The ledger is read again after the tag was written.
    read_again: bool,
}

const AS_DESIGNED: Switches = Switches { second_look: true, fenced: true, read_again: true };

/// What may happen beside two promotions, a freeze, stalls and crashes. Both together are two million states.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Who crashed is run once more.
    runs_again: bool,
    /// `reconcile` is run, at any time.
    reconciles: bool,
}

/// A promoter, and the image of the same number that it promotes.
type Who = usize;

/// Where a promoter is: what it does next, with all that it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Next {
    Decide,
    Open {
        decided_at: usize,
    },
    Look {
        intent: usize,
    },
    Withdraw {
        intent: usize,
    },
    Copy {
        intent: usize,
    },
    Commit {
        intent: usize,
    },
    Publish {
        commit: usize,
    },
    ReadLedger {
        commit: usize,
    },
    ReadTag {
        commit: usize,
        want: Who,
    },
    WriteTag {
        commit: usize,
        want: Who,
    },
    CheckTag {
        commit: usize,
        want: Who,
    },
    ReadAgain {
        commit: usize,
        want: Who,
    },
    /// It said yes, or no, or could not tell.
    Ended(Answer),
    /// It crashed.
    Crashed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Promoted,
    Refused,
    Busy,
    Fenced,
    /// The ledger knows nothing of its commit.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Promoter {
    next: Next,
    /// How often it was run.
    runs: u8,
    /// Whether one of these ended behind its commit.
    left: bool,
}

/// The freezer: appends, then reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Freezer {
    Idle,
    Appended,
    /// It was told of what the main lane held then.
    Told(LogId),
}

/// One run of `reconcile`: closes the holder's intent or not, publishes, sets the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reconcile {
    Idle,
    Publish,
    Tag(Next),
    Ended,
}

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Situation {
    main: LogId,
    frozen: bool,
    promoters: [Promoter; 2],
    freezer: Freezer,
    reconcile: Reconcile,
    copied: [bool; 2],
    summary: [bool; 2],
    tag: Option<Who>,
}

/// Who does what.
#[derive(Clone, Copy, Debug)]
enum Move {
    Promoter(Who, &'static str),
    Freezer(&'static str),
    Reconcile(&'static str),
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promoter(who, what) => write!(f, "promoter {who}: {what}"),
            Self::Freezer(what) => write!(f, "freezer: {what}"),
            Self::Reconcile(what) => write!(f, "reconcile: {what}"),
        }
    }
}

const START: Situation = Situation {
    main: LogId::EMPTY,
    frozen: false,
    promoters: [Promoter { next: Next::Decide, runs: 1, left: false }; 2],
    freezer: Freezer::Idle,
    reconcile: Reconcile::Idle,
    copied: [false; 2],
    summary: [false; 2],
    tag: None,
};

type Moves = Vec<(Move, Situation)>;

/// Everything that may happen next.
fn moves(log: &mut Log, switches: Switches, bounds: Bounds, from: &Situation) -> Moves {
    let mut moves = Vec::new();
    for who in 0..2 {
        promoter(log, switches, from, who, &mut moves);
        crash(bounds, from, who, &mut moves);
    }
    freezer(from, &mut moves);
    if bounds.reconciles {
        reconcile(log, switches, from, &mut moves);
    }
    moves
}

fn promoter(log: &mut Log, switches: Switches, from: &Situation, who: Who, moves: &mut Moves) {
    let mut go = |what, next, change: &dyn Fn(&mut Situation)| {
        let mut to = from.clone();
        to.promoters[who].next = next;
        change(&mut to);
        moves.push((Move::Promoter(who, what), to));
    };
    let nothing: &dyn Fn(&mut Situation) = &|_| ();
    let found = log.state(from.main);
    match from.promoters[who].next {
        Next::Decide => match found.current {
            _ if log.stops(from.frozen) => go("is refused", Next::Ended(Answer::Refused), nothing),
            Some(current) if current.image == who && found.open.is_empty() => {
                go("finds its commit", Next::Publish { commit: current.commit }, nothing);
            }
            Some(_) | None => {
                go("decides", Next::Open { decided_at: log.entries(from.main).len() }, nothing);
            }
        },
        Next::Open { decided_at } => match found.open.first() {
            None if found.current.is_some_and(|current| current.commit >= decided_at) => {
                go("is overtaken", Next::Decide, nothing);
            }
            None => {
                let intent = log.entries(from.main).len();
                let main = log.append(from.main, Entry::Intent(who));
                let next = match switches.second_look {
                    true => Next::Look { intent },
                    false => Next::Copy { intent },
                };
                go("records its intent", next, &|to| to.main = main);
            }
            Some(open) if open.image == who => {
                go("takes its intent up", Next::Look { intent: open.intent }, nothing);
            }
            Some(open) => {
                let main = log.append(from.main, Entry::Abort(who, open.intent));
                go("waits no longer", Next::Ended(Answer::Busy), nothing);
                go("aborts the stale intent", from.promoters[who].next, &|to| to.main = main);
            }
        },
        Next::Look { intent } => match log.stops(from.frozen) {
            true => go("sees the freeze", Next::Withdraw { intent }, nothing),
            false => go("looks again", Next::Copy { intent }, nothing),
        },
        Next::Withdraw { intent } => {
            let main = match found.open.iter().any(|open| open.intent == intent) {
                true => log.append(from.main, Entry::Abort(who, intent)),
                false => from.main,
            };
            go("aborts its intent", Next::Ended(Answer::Refused), &|to| to.main = main);
        }
        Next::Copy { intent } => go("copies", Next::Commit { intent }, &|to| to.copied[who] = true),
        Next::Commit { intent } => {
            if let Some(done) = found.commits.iter().find(|commit| commit.intent == intent) {
                return go("finds its commit", Next::Publish { commit: done.commit }, nothing);
            }
            let holds = found.open.first().is_some_and(|open| open.intent == intent);
            if !holds && switches.fenced {
                return go("is fenced", Next::Ended(Answer::Fenced), nothing);
            }
            let commit = log.entries(from.main).len();
            let main = log.append(from.main, Entry::Commit(who, intent));
            go("commits", Next::Publish { commit }, &|to| to.main = main);
        }
        Next::Publish { commit } => {
            go("publishes", Next::ReadLedger { commit }, &|to| to.summary[who] = true);
        }
        next @ (Next::ReadLedger { .. }
        | Next::ReadTag { .. }
        | Next::WriteTag { .. }
        | Next::CheckTag { .. }
        | Next::ReadAgain { .. }) => {
            let (what, next, tag) = set_tag(log, switches, from, next);
            go(what, next, &|to| to.tag = tag);
        }
        Next::Ended(_) | Next::Crashed => {}
    }
}

/// `Walk::set_tag`, one request: what it was, what comes next, and the tag.
fn set_tag(
    log: &mut Log,
    switches: Switches,
    from: &Situation,
    next: Next,
) -> (&'static str, Next, Option<Who>) {
    let tag = from.tag;
    let ended = Next::Ended(Answer::Promoted);
    let read = |log: &mut Log, commit| {
        let found = log.state(from.main);
        let known = found.commits.iter().any(|it| it.commit == commit);
        found.current.filter(|_| known).map(|current| current.image)
    };
    match next {
        Next::ReadLedger { commit } => match read(log, commit) {
            Some(want) => ("reads the ledger", Next::ReadTag { commit, want }, tag),
            None => ("finds no commit", Next::Ended(Answer::Lost), tag),
        },
        Next::ReadTag { commit, want } if tag == Some(want) => {
            ("finds the tag", Next::ReadAgain { commit, want }, tag)
        }
        Next::ReadTag { commit, want } => ("reads the tag", Next::WriteTag { commit, want }, tag),
        Next::WriteTag { commit, want } => ("sets the tag", Next::CheckTag { commit, want }, Some(want)),
        Next::CheckTag { commit, want } => match (tag == Some(want), switches.read_again) {
            (true, true) => ("finds its tag", Next::ReadAgain { commit, want }, tag),
            (true, false) => ("finds its tag", ended, tag),
            (false, _) => ("finds another tag", Next::ReadLedger { commit }, tag),
        },
        Next::ReadAgain { commit, want } => match read(log, commit) {
            Some(current) if current == want => ("reads the same again", ended, tag),
            Some(_) => ("reads something newer", Next::ReadLedger { commit }, tag),
            None => ("finds no commit", Next::Ended(Answer::Lost), tag),
        },
        Next::Decide
        | Next::Open { .. }
        | Next::Look { .. }
        | Next::Withdraw { .. }
        | Next::Copy { .. }
        | Next::Commit { .. }
        | Next::Publish { .. }
        | Next::Ended(_)
        | Next::Crashed => unreachable!("{next:?} sets no tag"),
    }
}

/// A crash forgets everything; the same request may be run once more.
fn crash(bounds: Bounds, from: &Situation, who: Who, moves: &mut Moves) {
    let promoter = from.promoters[who];
    let mut go = |what, promoter| {
        let mut to = from.clone();
        to.promoters[who] = promoter;
        moves.push((Move::Promoter(who, what), to));
    };
    match promoter.next {
        Next::Decide | Next::Ended(_) => {}
        Next::Crashed if bounds.runs_again && promoter.runs == 1 => {
            go("is run again", Promoter { next: Next::Decide, runs: 2, ..promoter });
        }
        Next::Crashed => {}
        Next::Open { .. }
        | Next::Look { .. }
        | Next::Withdraw { .. }
        | Next::Copy { .. }
        | Next::Commit { .. } => go("crashes", Promoter { next: Next::Crashed, ..promoter }),
        Next::Publish { .. }
        | Next::ReadLedger { .. }
        | Next::ReadTag { .. }
        | Next::WriteTag { .. }
        | Next::CheckTag { .. }
        | Next::ReadAgain { .. } => go("crashes", Promoter { next: Next::Crashed, left: true, ..promoter }),
    }
}

fn freezer(from: &Situation, moves: &mut Moves) {
    let mut to = from.clone();
    match from.freezer {
        Freezer::Idle => {
            (to.freezer, to.frozen) = (Freezer::Appended, true);
            moves.push((Move::Freezer("appends the freeze"), to));
        }
        Freezer::Appended => {
            to.freezer = Freezer::Told(from.main);
            moves.push((Move::Freezer("reads the main lane"), to));
        }
        Freezer::Told(_) => {}
    }
}

fn reconcile(log: &mut Log, switches: Switches, from: &Situation, moves: &mut Moves) {
    let found = log.state(from.main);
    let mut go = |what, next, change: &dyn Fn(&mut Situation)| {
        let mut to = from.clone();
        to.reconcile = next;
        change(&mut to);
        moves.push((Move::Reconcile(what), to));
    };
    match from.reconcile {
        // It says what is left; a person may let it abort a stale intent.
        Reconcile::Idle if from.main != LogId::EMPTY => {
            go("begins", Reconcile::Publish, &|_| ());
            if let Some(open) = found.open.first() {
                let main = log.append(from.main, Entry::Abort(0, open.intent));
                go("aborts the stale intent", Reconcile::Publish, &|to| to.main = main);
            }
        }
        Reconcile::Idle | Reconcile::Ended => {}
        Reconcile::Publish => {
            let commits = found.commits.clone();
            let Some(newest) = commits.last() else {
                return go("has nothing to do", Reconcile::Ended, &|_| ());
            };
            let next = Reconcile::Tag(Next::ReadLedger { commit: newest.commit });
            go("publishes", next, &|to| commits.iter().for_each(|it| to.summary[it.image] = true));
        }
        Reconcile::Tag(next) => {
            let (what, next, tag) = set_tag(log, switches, from, next);
            let next = match next {
                Next::Ended(_) => Reconcile::Ended,
                next => Reconcile::Tag(next),
            };
            go(what, next, &|to| to.tag = tag);
        }
    }
}

/// What must not be, if it is.
fn wrong(log: &mut Log, switches: Switches, at: &Situation) -> Option<String> {
    let found = log.state(at.main);
    let entries = log.entries(at.main).to_vec();
    let committed = |image| found.commits.iter().any(|commit| commit.image == image);
    for who in 0..2 {
        // 1. No effect without an intent.
        if at.copied[who] && !entries.contains(&Entry::Intent(who)) {
            return Some(format!("{who} was copied without an intent"));
        }
        // 2. Nothing is published, or told to be promoted, without a valid commit.
        let promoted = at.promoters[who].next == Next::Ended(Answer::Promoted);
        if (at.summary[who] || promoted) && !committed(who) {
            return Some(format!("{who} was published without a valid commit"));
        }
    }
    // 3. The tag means something that was validly committed.
    if let Some(tag) = at.tag.filter(|tag| !committed(*tag)) {
        return Some(format!("the tag means {tag}, which has no valid commit"));
    }
    // 4. At any place of the log at most one promoter can commit.
    let able = |promoter: &&Promoter| match promoter.next {
        Next::Commit { intent } => {
            !switches.fenced || found.open.first().is_some_and(|open| open.intent == intent)
        }
        _ => false,
    };
    if at.promoters.iter().filter(able).count() > 1 {
        return Some("two promoters can commit at one place of the log".to_owned());
    }
    // 5. No commit that the freezer could not see: not in what he read, and its intent not either.
    if let Freezer::Told(then) = at.freezer {
        let (seen, length) = (log.state(then), log.entries(then).len());
        let told = |intent: usize| {
            seen.open.iter().any(|open| open.intent == intent)
                || seen.commits.iter().any(|commit| commit.intent == intent)
        };
        if let Some(commit) = found.commits.iter().find(|it| it.commit >= length && !told(it.intent)) {
            return Some(format!("{} was committed and the freezer could not know it", commit.image));
        }
    }
    None
}

/// Whether everybody has ended, so that nothing moves any more.
fn ended(at: &Situation) -> bool {
    let gone = |promoter: &Promoter| matches!(promoter.next, Next::Ended(_) | Next::Crashed);
    let quiet = matches!(at.reconcile, Reconcile::Idle | Reconcile::Ended);
    at.promoters.iter().all(gone) && quiet
}

/// Whether registry and ledger say the same: the tag is the last valid commit, each of which has its summary.
fn agrees(log: &mut Log, at: &Situation) -> bool {
    let found = log.state(at.main);
    at.tag == found.current.map(|current| current.image)
        && found.commits.iter().all(|commit| at.summary[commit.image])
}

/// What must not be when nothing moves any more: that registry and ledger differ, if nobody crashed behind a commit;
/// and, if somebody did, that a run of `reconcile` does not mend it.
fn wrong_in_the_end(log: &mut Log, switches: Switches, at: &Situation) -> Result<bool, String> {
    if !ended(at) || agrees(log, at) {
        return Ok(false);
    }
    if !at.promoters.iter().any(|promoter| promoter.left) {
        let current = log.state(at.main).current.map(|current| current.image);
        return Err(format!(
            "the tag means {:?} and the ledger says {current:?}, and nobody crashed",
            at.tag
        ));
    }
    let mut mended = at.clone();
    mended.reconcile = Reconcile::Publish;
    while mended.reconcile != Reconcile::Ended {
        let mut moves = Vec::new();
        reconcile(log, switches, &mended, &mut moves);
        (_, mended) = moves.pop().unwrap();
    }
    match agrees(log, &mended) {
        true => Ok(true),
        false => Err(format!("reconcile left the tag at {:?}", mended.tag)),
    }
}

/// How many states there are is worth a reader's while: `cargo test --test model -- --nocapture`.
#[allow(clippy::print_stdout, reason = "a test may say what it found")]
fn say(text: fmt::Arguments<'_>) {
    println!("{text}");
}

fn run(switches: Switches, bounds: Bounds) -> Explored<Situation, Move> {
    let mut log = Log::new();
    let explored = explore(
        START,
        &mut log,
        |log, from| moves(log, switches, bounds, from),
        |log, at| match wrong(log, switches, at) {
            Some(wrong) => Err(wrong),
            None => wrong_in_the_end(log, switches, at),
        },
    );
    say(format_args!(
        "{switches:?} {bounds:?}: {}, {} logs of real records",
        explored.summary(),
        log.count()
    ));
    explored
}

const RUN_AGAIN: Bounds = Bounds { runs_again: true, reconciles: false };
const RECONCILED: Bounds = Bounds { runs_again: false, reconciles: true };
const EVERYTHING: Bounds = Bounds { runs_again: true, reconciles: true };

/// No state is one that must not be, and it went where it was meant to.
fn holds(bounds: Bounds, states: usize, through: &[&str]) {
    let explored = run(AS_DESIGNED, bounds);
    assert!(explored.violation.is_none(), "{}", explored.story());
    assert!(explored.states > states && explored.to_reconcile > 0, "{}", explored.summary());
    let always = [
        "aborts the stale intent",
        "waits no longer",
        "is fenced",
        "is overtaken",
        "sees the freeze",
        "aborts its intent",
        "finds another tag",
        "reads something newer",
        "crashes",
    ];
    for what in always.iter().chain(through) {
        assert!(explored.taken.iter().any(|taken| taken.ends_with(what)), "nobody ever {what}");
    }
}

#[test]
fn e9_d6_e4_the_protocol_keeps_its_promises_when_who_crashed_is_run_again() {
    holds(RUN_AGAIN, 10_000, &["is run again", "takes its intent up", "finds its commit"]);
}

#[test]
fn e9_d6_e4_the_protocol_keeps_its_promises_when_it_is_reconciled_meanwhile() {
    holds(RECONCILED, 10_000, &["begins", "publishes", "has nothing to do"]);
}

/// Both together.
#[test]
#[ignore = "two million states: cargo test --release --test model -- --ignored"]
fn e9_d6_e4_the_protocol_keeps_its_promises_with_everything_at_once() {
    holds(EVERYTHING, 1_000_000, &["is run again", "begins"]);
}

/// A rule is broken: the shortest way into a state that must not be.
fn breaks(switches: Switches, violation: &str, moves: usize) {
    let bounds = Bounds { runs_again: false, reconciles: false };
    let explored = run(switches, bounds);
    say(format_args!("{}", explored.way()));
    let found = explored.violation.as_deref().unwrap_or_default();
    assert!(found.contains(violation), "{}", explored.story());
    assert_eq!(explored.trace.len(), moves, "{}", explored.story());
}

/// Without the second look a promoter who decided before the freeze commits behind the freezer's back.
#[test]
fn e4_control_read_before_the_intent_is_a_commit_the_freezer_could_not_see() {
    breaks(Switches { second_look: false, ..AS_DESIGNED }, "the freezer could not know it", 6);
}

/// Without the fence an aborted promoter writes a commit that counts for nothing, and publishes it.
#[test]
fn e9_a_commit_without_a_fence_is_published_without_counting() {
    breaks(Switches { fenced: false, ..AS_DESIGNED }, "was published without a valid commit", 8);
}

/// Without reading the ledger again a slow promoter sets the tag back, and everybody says it is promoted.
#[test]
fn e9_a_tag_that_is_not_read_again_drifts() {
    breaks(Switches { read_again: false, ..AS_DESIGNED }, "and nobody crashed", 20);
}
