use super::*;

const GITHUB: Options = Options { errexit: true, pipefail: false };

fn lost(text: &str) -> Option<Lost> {
    lost_with(text, GITHUB)
}

fn lost_with(text: &str, options: Options) -> Option<Lost> {
    let found = commands(&[(text.to_owned(), 1)], options);
    assert!(!found.incomplete);
    let gate = |ran: &&Ran| ran.words[0] == "gate";
    found.ran.iter().find(gate).unwrap_or_else(|| panic!("no gate in {text}")).lost.clone()
}

#[test]
fn e14_an_exit_code_that_is_lost_is_seen() {
    let or = |text: &str| Some(Lost::Or(text.to_owned()));
    for (text, wanted) in [
        ("gate | tee log", Some(Lost::Piped)),
        ("gate 2>&1 | tee log\nnext", Some(Lost::Piped)),
        ("X=$(gate | tail -1)", Some(Lost::Piped)),
        ("set -e\nsudo env A=1 gate | cat", Some(Lost::Piped)),
        ("if gate | grep yes; then a; fi", Some(Lost::Piped)),
        ("gate || true", or("true")),
        ("gate || :", or(":")),
        ("gate && a || echo refused", or("echo refused")),
        ("gate || exit 0", or("exit 0")),
        ("gate || { echo no; true; }", or("{ … }")),
        ("gate || rc=$?", or("rc=$?")),
        ("{ gate; a; } || true", or("true")),
        ("X=$(gate) || true", or("true")),
        ("gate && echo yes\nkubectl apply", Some(Lost::AndMore)),
        ("gate &\nwait", Some(Lost::Background)),
        ("echo $(gate)", Some(Lost::Inside("echo".into()))),
        ("export X=$(gate)", Some(Lost::Inside("export".into()))),
        ("X=$(gate) a", Some(Lost::Inside("a".into()))),
        ("diff <(gate) b", Some(Lost::Inside("diff".into()))),
        ("[ -n \"`gate`\" ]", Some(Lost::Inside("[".into()))),
        ("set +e\ngate\nnext", Some(Lost::Errexit)),
        ("set +o errexit\nif a; then gate; b; fi\nnext", Some(Lost::Errexit)),
        ("bash -c 'gate; a'", Some(Lost::Errexit)),
        ("X=$(gate; echo a)", Some(Lost::Errexit)),
    ] {
        assert_eq!(lost(text), wanted, "{text}");
    }
    assert_eq!(lost_with("gate\nnext", Options { errexit: false, pipefail: true }), Some(Lost::Errexit));
}

#[test]
fn an_exit_code_that_counts_is_none_of_these() {
    for text in [
        "gate",
        "gate; a",
        "gate\ntrue",
        "set -o pipefail\ngate | tee log",
        "set -euo pipefail; gate | tee log",
        "gate | tee log; exit ${PIPESTATUS[0]}",
        "a | gate",
        "cat in | gate -",
        "gate || exit 1",
        "gate || exit $?",
        "gate || { echo no; exit 1; }",
        "gate || fail 'no'",
        "gate || false",
        "gate || rc=$?\nexit $rc",
        "gate && deploy",
        "a && gate",
        "a || gate",
        "if gate; then deploy; fi",
        "if ! gate; then exit 1; fi",
        "X=$(gate)",
        "X=$(gate)\ndeploy $X",
        "X=\"$(gate)\" || exit",
        "set +e\ngate\nrc=$?\nset -e\nexit $rc",
        "set +e\na\nset -e\ngate\nb",
        "set +e\ngate",
        "(gate)",
        "{ gate; }\nnext",
        "bash -ec 'gate; a'",
        "bash -c 'gate'",
        "# gate || true\ngate",
        "cat <<E\ngate || true\nE\ngate",
    ] {
        assert_eq!(lost(text), None, "{text}");
    }
}

#[test]
fn variables_are_filled_in_where_they_are_known() {
    let one = BTreeMap::from([("A".to_owned(), "x:$B".to_owned()), ("B".to_owned(), "1".to_owned())]);
    let known: [&BTreeMap<_, _>; 1] = [&one];
    for (text, wanted) in [
        ("$A", "x:1"),
        ("${A}", "x:1"),
        ("${A:?why}", "x:1"),
        ("${{ env.A }}/y", "x:1/y"),
        ("$C-${C}-${{ env.C }}-${A:-z}-$(…)-$1", "$C-${C}-${{ env.C }}-${A:-z}-$(…)-$1"),
        ("$", "$"),
        ("${{ x", "${{ x"),
    ] {
        assert_eq!(filled(text, &known), wanted, "{text}");
    }
    let endless = BTreeMap::from([("A".to_owned(), "$A$A".to_owned())]);
    assert!(filled("$A", &[&endless]).len() < 100);
}
