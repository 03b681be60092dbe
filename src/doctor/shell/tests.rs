use super::*;
use proptest::prelude::*;

/// Every simple command, with its line, in order; those in words behind the one that has them.
fn commands(lists: &[List]) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    for command in lists.iter().flat_map(|list| &list.pipelines).flat_map(|pipeline| &pipeline.commands) {
        match command {
            Command::Simple(simple) => {
                let words: Vec<&str> =
                    simple.assignments.iter().chain(&simple.words).map(|word| word.text.as_str()).collect();
                all.push((simple.line, words.join(" ")));
                let inner = simple.assignments.iter().chain(&simple.words).flat_map(|word| &word.inner);
                all.extend(inner.flat_map(|lists| commands(lists)));
            }
            Command::Group { conditions, bodies, .. } => {
                all.extend(conditions.iter().chain(bodies).flat_map(|lists| commands(lists)));
            }
        }
    }
    all
}

fn said(text: &str) -> Vec<String> {
    let script = read(text, 1);
    assert!(!script.lost);
    commands(&script.lists).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn words_are_found_as_the_shell_finds_them() {
    for (text, wanted) in [
        ("a 'b c' \"d $e\" f\\ g", vec!["a b c d $e f g"]),
        ("a # b\nc", vec!["a", "c"]),
        ("a \\\n  b", vec!["a b"]),
        ("X=1 Y=$(b c) a", vec!["X=1 Y=$(…) a", "b c"]),
        ("a > out 2>&1 < in b", vec!["a b"]),
        ("a &> out; b", vec!["a", "b"]),
        ("cat <<EOF\nsamebits || true\nEOF\nb", vec!["cat", "b"]),
        ("cat <<-'E' | c\n\tx\n\tE\nb", vec!["cat", "c", "b"]),
        ("a ${{ x && 'y' || z }} b", vec!["a ${{ x && 'y' || z }} b"]),
        ("a \"${X:-b c}\" $((1 + (2)))", vec!["a ${X:-b c} $((1 + (2)))"]),
        ("a `b \\`c\\``", vec!["a $(…)", "b $(…)", "c"]),
        ("diff <(a) <(b)", vec!["diff  ", "a", "b"]),
        ("a=(1 2 3); b", vec!["a=", "b"]),
    ] {
        assert_eq!(said(text), wanted, "{text}");
    }
}

#[test]
fn commands_in_commands_are_found() {
    for (text, wanted) in [
        ("if a; then b; elif c; then d; else e; fi; f", vec!["a", "c", "b", "d", "e", "f"]),
        ("for x in 1 2; do a; done | b", vec!["a", "b"]),
        ("while read x; do a; done < in; b", vec!["read x", "a", "b"]),
        ("case $x in a|b) c ;; *) d ; e ;; esac; f", vec!["c", "d", "e", "f"]),
        ("{ a; b; } || (c; d)", vec!["a", "b", "c", "d"]),
        ("f() { a; }\nfunction g { b; }\nf", vec!["a", "b", "f"]),
        ("[[ a == b && $(c) ]] || d", vec!["[[ a == b $(…)", "c", "d"]),
        ("(( 1 + 2 )) && a", vec!["", "a"]),
        ("done; a", vec!["", "a"]),
        (") a", vec!["a"]),
    ] {
        let found = said(text);
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        let wanted: Vec<&str> = wanted.into_iter().filter(|text| !text.is_empty()).collect();
        let found: Vec<&str> = found.into_iter().filter(|text| !text.is_empty() && *text != "one").collect();
        assert!(wanted.iter().all(|text| found.contains(text)), "{text}: {found:?}");
    }
}

#[test]
fn a_command_knows_its_line() {
    let lines = commands(&read("a\n\nb \\\n c && \\\n d\n", 10).lists);
    assert_eq!(lines, [(10, "a".into()), (12, "b c".into()), (14, "d".into())]);
}

#[test]
fn f4_what_is_nested_beyond_reason_is_said_to_be_lost() {
    for deep in [
        "( ".repeat(100_000),
        "$(".repeat(100_000),
        "if ".repeat(100_000),
        "f() ".repeat(100_000),
        "{ ".repeat(100_000),
    ] {
        assert!(read(&deep, 1).lost, "{}", &deep[..6]);
    }
    assert!(!read(&format!("{}a{}", "(".repeat(20), ")".repeat(20)), 1).lost);
}

proptest! {
    #[test]
    fn any_text_is_read(text in "[a-c=\\\\'\"$`(){};&|<>#! \nifdo]{0,120}") {
        let _ = read(&text, 1);
    }
}
