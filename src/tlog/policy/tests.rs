//! Policies: what is read, what is refused, and what a quorum says of the time.

use super::*;
use crate::tlog::{LogSigner, MAX_POLICY, MAX_POLICY_LINES, WitnessSigner, empty_root};
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;

/// Keys that are the same in every test of a run.
struct Keys {
    log: LogSigner,
    witnesses: Vec<WitnessSigner>,
}

impl Keys {
    fn new(count: usize) -> Self {
        let witness = |number| WitnessSigner::generate(format!("witness.example/{number}").parse().unwrap());
        Self {
            log: LogSigner::generate("acme.example/log".parse().unwrap()).unwrap(),
            witnesses: (0..count).map(|number| witness(number).unwrap()).collect(),
        }
    }

    /// A line for the log and one for each witness: `w0`, `w1`, …
    fn lines(&self) -> String {
        let witnesses = self.witnesses.iter().enumerate();
        let witnesses = witnesses.map(|(at, key)| format!("witness w{at} {}\n", key.vkey()));
        format!("log {}\n{}", self.log.vkey(), witnesses.collect::<String>())
    }

    fn policy(&self, rest: &str) -> TlogPolicy {
        format!("{}{rest}", self.lines()).parse().unwrap()
    }

    fn head(&self, times: &[Option<u64>]) -> SignedCheckpoint {
        let mut head = self.log.sign(7, empty_root()).unwrap();
        for (witness, time) in self.witnesses.iter().zip(times) {
            if let Some(time) = time {
                head = head.cosigned(&witness.cosign(&head, *time).unwrap(), witness.vkey()).unwrap();
            }
        }
        head
    }
}

fn ml_dsa_44(name: &str, fill: u8) -> String {
    let bytes = [&[6][..], &[fill; 1312]].concat();
    let hashed = [name.as_bytes(), b"\n", &bytes].concat();
    let id = &crate::digest::Digest::of(&hashed).hex()[..8];
    format!("{name}+{id}+{}", STANDARD.encode(bytes))
}

const EXAMPLE: &str = "\ngroup X-witnesses 2 w0 w1 w2\ngroup Y-witnesses any w3 w4 w5\n\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n";

#[test]
fn the_example_of_the_specification_means_what_it_says() {
    let keys = Keys::new(6);
    let policy = keys.policy(EXAMPLE);
    assert_eq!(policy.to_string(), format!("{}{EXAMPLE}", keys.lines()));
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 6));
    // Every subset of the witnesses.
    for set in 0..64_u64 {
        let times: Vec<_> = (0..6).map(|at| (set >> at & 1 == 1).then_some(10 + at)).collect();
        let head = keys.head(&times);
        let enough = (set & 0b111).count_ones() >= 2 && set >> 3 != 0;
        match policy.quorum(&head, 100).unwrap() {
            Quorum::Reached(witnessed) => {
                assert!(enough, "{set:06b}");
                assert_eq!(witnessed.witnesses().len(), set.count_ones() as usize);
            }
            Quorum::Missed { missing } => {
                assert!(!enough, "{set:06b}");
                assert_eq!(missing.len(), set.count_zeros() as usize - 58);
            }
            Quorum::NotRequired => panic!("a quorum is required"),
        }
    }
}

#[test]
fn comments_spaces_and_urls_are_read() {
    let keys = Keys::new(1);
    let text = format!(
        "# a comment\n\n \t \n\t# and one\n log\t{} https://log.example/ \nwitness \u{212a} {} https://w.example/x\nquorum \u{212a}\n",
        keys.log.vkey(),
        keys.witnesses[0].vkey(),
    );
    let policy: TlogPolicy = text.parse().unwrap();
    assert_eq!(policy.as_str(), text);
    assert_eq!(policy.logs()[0].url.as_deref(), Some("https://log.example/"));
    assert_eq!(policy.witnesses()[0].url.as_deref(), Some("https://w.example/x"));
    // A Kelvin sign is no K.
    assert_eq!(policy.witnesses()[0].name, "\u{212a}");
    assert!(text.replace("quorum \u{212a}", "quorum K").parse::<TlogPolicy>().is_err());
    // As JSON it is one string.
    let json = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<TlogPolicy>(&json).unwrap(), policy);
}

#[test]
fn what_is_not_understood_is_refused() {
    let keys = Keys::new(3);
    let (log, w0) = (keys.log.vkey().to_string(), keys.witnesses[0].vkey().to_string());
    let other = Keys::new(1);
    let as_witness = format!("x.example+{}", &log.split_once('+').unwrap().1);
    for wrong in [
        "",
        "quorum",
        "quorum w0",
        "quorum w0 w1\n",
        "quorum w0 # the first\n",
        "quorum w3\n",
        "quorum W0\n",
        "quorum none\nquorum none\n",
        "Quorum none\n",
        "quorum none\r\n",
        "quorum none\u{7f}\n",
        "quorum\u{b}none\n",
        "quorum\u{a0}none\n",
        "quorum none\nwitness\n",
        "quorum none\nlog\n",
        "quorum none\ngroup\n",
        "quorum none\ngroup g all\n",
        "quorum g\ngroup g all w0\n",
        "group g all w0 g\nquorum g\n",
        "group g all h\ngroup h all w0\nquorum g\n",
        "group g all none\nquorum g\n",
        "group none all w0\nquorum w0\n",
        "group w0 all w1\nquorum w0\n",
        "group g all w0\ngroup g all w1\nquorum g\n",
        "group g all w0 w0\nquorum g\n",
        "group g all w0 w1\ngroup h all w1 w2\nquorum g\n",
        "group g all w0\ngroup h all g\ngroup i all g\nquorum g\n",
        "group g 0 w0\nquorum g\n",
        "group g 3 w0 w1\nquorum g\n",
        "group g 02 w0 w1\nquorum g\n",
        "group g +1 w0 w1\nquorum g\n",
        "group g -1 w0 w1\nquorum g\n",
        "group g All w0 w1\nquorum g\n",
        "group g 18446744073709551617 w0 w1\nquorum g\n",
        "witness none {other}\nquorum none\n",
        "witness w1 {other}\nquorum none\n",
        "witness again {w0}\nquorum none\n",
        "witness x {other} https://x.example y\nquorum none\n",
        "log {log}\nquorum none\n",
        "log {w0}\nquorum none\n",
        "witness x {log}\nquorum none\n",
        "witness x {other}x\nquorum none\n",
        "witness x {as_witness}\nquorum none\n",
        "witness x {ml}A\nquorum none\n",
        "witness x {ml}\nwitness y {ml}\nquorum none\n",
        "witness x {forged}\nquorum none\n",
    ] {
        let ml = ml_dsa_44("ml.example", 9);
        let rest = wrong
            .replace("{log}", &log)
            .replace("{w0}", &w0)
            .replace("{other}", &other.witnesses[0].vkey().to_string())
            .replace("{as_witness}", &as_witness)
            .replace("{forged}", &ml.replace("ml.example", "mm.example"))
            .replace("{ml}", &ml);
        assert!(format!("{}{rest}", keys.lines()).parse::<TlogPolicy>().is_err(), "{wrong:?} was accepted");
    }
    // A log that is a witness of itself: the same key, each time with the right type and identifier.
    let secret = keys.log.to_secret_text();
    let seed = STANDARD.decode(secret.splitn(5, '+').last().unwrap()).unwrap();
    let own = STANDARD.encode([&[4], &seed[1..]].concat());
    let refused = format!("PRIVATE+KEY+w.example+00000000+{own}").parse::<WitnessSigner>();
    let Err(TlogError::KeyId { expected, .. }) = refused else { panic!("{refused:?}") };
    let own: WitnessSigner = format!("PRIVATE+KEY+w.example+{expected}+{own}").parse().unwrap();
    let own = format!("log {log}\nwitness own {}\nquorum own\n", own.vkey()).parse::<TlogPolicy>();
    assert!(matches!(own, Err(TlogError::PolicyLine { line: 2, .. })), "{own:?}");
}

#[test]
fn f4_policies_beyond_the_limits_are_refused() {
    let keys = Keys::new(MAX_POLICY_LINES);
    assert!(format!("{}quorum w63\n", keys.lines()).parse::<TlogPolicy>().is_ok());
    let more = Keys::new(1);
    let more = format!("{}witness more {}\nquorum w0\n", keys.lines(), more.witnesses[0].vkey());
    assert!(matches!(more.parse::<TlogPolicy>(), Err(TlogError::PolicyLine { line: 66, .. })));
    let mut groups = keys.lines();
    for at in 0..MAX_POLICY_LINES {
        groups.push_str(&format!("group g{at} 1 w{at}\n"));
    }
    assert!(format!("{groups}quorum g63\n").parse::<TlogPolicy>().is_ok());
    assert!(format!("{groups}group more 1 g0\nquorum g63\n").parse::<TlogPolicy>().is_err());
    let long = format!("{}quorum none\n", "#\n".repeat(MAX_POLICY / 2));
    assert_eq!(long.parse::<TlogPolicy>(), Err(TlogError::PolicyTooLong { found: long.len() }));
}

#[test]
fn d4_a_log_that_is_not_listed_is_refused() {
    let (keys, other) = (Keys::new(1), Keys::new(0));
    let policy = keys.policy("quorum w0\n");
    let (ours, theirs) = (keys.head(&[Some(5)]), other.head(&[]));
    assert_eq!(policy.open(ours.text()).unwrap(), ours);
    // The same origin under another key.
    assert_eq!(ours.origin(), theirs.origin());
    assert!(matches!(policy.open(theirs.text()), Err(TlogError::UnlistedLog { .. })));
    assert!(matches!(policy.quorum(&theirs, 10), Err(TlogError::UnlistedLog { .. })));
    // A policy without logs believes none by itself, and asks for the quorum of any.
    let without: TlogPolicy = policy.as_str().split_once('\n').unwrap().1.parse().unwrap();
    assert!(matches!(without.open(ours.text()), Err(TlogError::UnlistedLog { .. })));
    assert!(matches!(without.quorum(&ours, 10), Ok(Quorum::Reached(_))));
    // A log whose key is changing has two; a wrong signature by one condemns the note.
    let two: TlogPolicy = format!("log {}\n{}", other.log.vkey(), policy.as_str()).parse().unwrap();
    assert!(two.open(ours.text()).is_ok() && two.open(theirs.text()).is_ok());
    let line = theirs.text().lines().last().unwrap();
    let grown = keys.log.sign(8, empty_root()).unwrap();
    let wrong = format!("{}{line}\n", grown.text());
    assert!(policy.open(&wrong).is_ok());
    assert!(matches!(two.open(&wrong), Err(TlogError::BadSignature { .. })));
    // An ML-DSA-44 log is a listed log, of which nothing can be verified.
    let unsupported = format!("log {}\nquorum none\n", ml_dsa_44("acme.example/log", 1));
    let unsupported: TlogPolicy = unsupported.parse().unwrap();
    assert!(matches!(unsupported.quorum(&ours, 10), Err(TlogError::UnlistedLog { .. })));
}

#[test]
fn ml_dsa_44_witnesses_never_count() {
    let keys = Keys::new(1);
    let line = format!("witness ml {}\n", ml_dsa_44("ml.example", 3));
    let head = keys.head(&[Some(5)]);
    let any = keys.policy(&format!("{line}group g any w0 ml\nquorum g\n"));
    assert!(matches!(any.quorum(&head, 10), Ok(Quorum::Reached(_))));
    let all = keys.policy(&format!("{line}group g all w0 ml\nquorum g\n"));
    assert_eq!(all.quorum(&head, 10), Ok(Quorum::Missed { missing: vec!["ml".to_owned()] }));
    let alone = keys.policy(&format!("{line}quorum ml\n"));
    assert!(matches!(alone.quorum(&head, 10), Ok(Quorum::Missed { .. })));
}

#[test]
fn without_a_quorum_nothing_is_vouched_for() {
    let keys = Keys::new(1);
    let policy = keys.policy("quorum none\n");
    assert_eq!(policy.quorum(&keys.head(&[Some(5)]), 10), Ok(Quorum::NotRequired));
}

#[test]
fn a_wrong_cosignature_by_a_known_witness_condemns_the_checkpoint() {
    let keys = Keys::new(2);
    let policy = keys.policy("group g any w0 w1\nquorum g\n");
    let good = keys.head(&[Some(5), None]);
    let elsewhere = keys.log.sign(8, empty_root()).unwrap();
    let wrong = keys.witnesses[1].cosign(&elsewhere, 5).unwrap();
    let note = keys.log.vkey().open(&format!("{}{wrong}", good.text())).unwrap();
    let expected = keys.witnesses[1].vkey().clone();
    assert_eq!(policy.quorum(&note, 10), Err(TlogError::BadCosignature { expected }));
}

fn span(policy: &TlogPolicy, head: &SignedCheckpoint, not_after: u64) -> Option<(u64, u64)> {
    match policy.quorum(head, not_after).unwrap() {
        Quorum::Reached(witnessed) => Some((witnessed.fresh_at(), witnessed.seen_by())),
        Quorum::Missed { .. } => None,
        Quorum::NotRequired => panic!("a quorum is required"),
    }
}

#[test]
fn the_time_of_a_quorum_is_the_one_that_hurts_the_requester() {
    let keys = Keys::new(3);
    let two = keys.policy("group g 2 w0 w1 w2\nquorum g\n");
    let head = keys.head(&[Some(100), Some(200), Some(300)]);
    // Fresh: 300 alone is no quorum. Seen: 100 alone is none either.
    assert_eq!(span(&two, &head, 1000), Some((200, 200)));
    let any = keys.policy("group g any w0 w1 w2\nquorum g\n");
    assert_eq!(span(&any, &head, 1000), Some((300, 100)));
    let all = keys.policy("group g all w0 w1 w2\nquorum g\n");
    assert_eq!(span(&all, &head, 1000), Some((100, 300)));
    // A witness with a fast clock makes nothing fresh, and its word does not count.
    assert_eq!(span(&two, &head, 299), Some((100, 200)));
    assert_eq!(span(&two, &head, 300), Some((200, 200)));
    assert_eq!(span(&two, &head, 199), None);
    assert_eq!(span(&all, &head, 299), None);
    // One more, older word takes nothing away; a missing one does.
    assert_eq!(span(&two, &keys.head(&[None, Some(200), Some(300)]), 1000), Some((200, 300)));
    assert_eq!(span(&two, &keys.head(&[None, None, Some(300)]), 1000), None);
}

/// Two of three, and any of two: as a group, and word for word over all sets of witnesses.
fn by_sets(times: &[Option<u64>], makes: impl Fn(u32) -> bool) -> Option<(u64, u64)> {
    let set = |set: u32| (0..times.len()).filter(move |at| set >> at & 1 == 1).map(|at| times[at]);
    let all = (0..1_u32 << times.len()).filter(|one| makes(*one));
    let full = all.filter(|one| set(*one).all(|time| time.is_some()));
    let spans: Vec<_> = full.map(|one| (set(one).flatten().min(), set(one).flatten().max())).collect();
    Some((spans.iter().filter_map(|span| span.0).max()?, spans.iter().filter_map(|span| span.1).min()?))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_times_are_those_of_the_best_set(times in prop::collection::vec(prop::option::of(1u64..20), 5..6)) {
        let keys = Keys::new(5);
        let policy = keys.policy("group x 2 w0 w1 w2\ngroup y any w3 w4\ngroup z all x y\nquorum z\n");
        let expected = by_sets(&times, |set| (set & 0b111).count_ones() >= 2 && set >> 3 != 0);
        prop_assert_eq!(span(&policy, &keys.head(&times), 100), expected);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "(quorum|group|witness|log|none|any|all|[a-c0-2]| |\t|\n|#){0,40}", any: String) {
        for text in [text, any] {
            if let Ok(policy) = text.parse::<TlogPolicy>() {
                prop_assert_eq!(policy.to_string(), text);
            }
        }
    }
}
