use super::*;

fn file(name: &str, text: &str) -> File {
    File { name: name.to_owned(), text: text.to_owned() }
}

/// The codes that one workflow raises, with their lines.
fn github(text: &str) -> Vec<(Code, usize)> {
    codes(&[file(".github/workflows/ci.yml", text)])
}

fn gitlab(text: &str) -> Vec<(Code, usize)> {
    codes(&[file(".gitlab-ci.yml", text)])
}

fn codes(files: &[File]) -> Vec<(Code, usize)> {
    let looked = workflows(files);
    assert_eq!(looked.untold, [], "{looked:#?}");
    let at = |finding: &Finding| match &finding.place {
        Place::File { line, .. } => *line,
        Place::Environment { .. } => 0,
    };
    looked.findings.iter().map(|finding| (finding.code, at(finding))).collect()
}

/// A workflow with one job that has these steps behind `on`.
fn job(on: &str, job: &str, steps: &str) -> String {
    let indent =
        |text: &str, by: &str| -> String { text.lines().map(|line| format!("{by}{line}\n")).collect() };
    format!(
        "on: {on}\njobs:\n  gate:\n    runs-on: ubuntu-24.04\n{}    steps:\n{}",
        indent(job, "    "),
        indent(steps, "      ")
    )
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn action(more: &str) -> String {
    format!(
        "- uses: acme/samebits@{COMMIT} # v1\n  id: gate\n{more}  with: {{ command: promote, image: x, to: production }}\n"
    )
}

#[test]
fn e13_continue_on_error_on_the_gate_is_found() {
    for (value, bad) in [("true", true), ("${{ inputs.soft }}", true), ("false", false)] {
        let more = format!("  continue-on-error: {value}\n");
        let wanted: Vec<_> = if bad { vec![(Code::FailureIgnored, 8)] } else { vec![] };
        assert_eq!(github(&job("push", "", &action(&more))), wanted, "{value}");
        let steps = format!("- run: samebits promote x --to production\n  continue-on-error: {value}\n");
        let wanted: Vec<_> = if bad { vec![(Code::FailureIgnored, 7)] } else { vec![] };
        assert_eq!(github(&job("push", "", &steps)), wanted, "{value}");
        let wanted: Vec<_> = if bad { vec![(Code::FailureIgnored, 5)] } else { vec![] };
        assert_eq!(
            github(&job("push", &format!("continue-on-error: {value}"), &action(""))),
            wanted,
            "{value}"
        );
    }
    // Something else that may fail, and a record that decides nothing.
    for steps in [
        "- run: npm audit\n  continue-on-error: true\n".to_owned(),
        action("  continue-on-error: true\n").replace("promote", "deployed"),
        "- run: samebits deployed x --in staging\n  continue-on-error: true\n".to_owned(),
    ] {
        assert_eq!(github(&job("push", "", &steps)), [], "{steps}");
    }
}

#[test]
fn e13_a_deployment_that_runs_after_a_no_is_found() {
    let step = |condition: &str| {
        let steps = format!("{}- if: {condition}\n  run: kubectl set image d/x x=\"$IMAGE\"\n", action(""));
        github(&job("push", "", &steps))
    };
    for bad in ["always()", "${{ !cancelled() }}", "failure()", "always() || success()", "${{ !success() }}"]
        .into_iter()
        .chain([
            // It asks another, or for something else than a yes; a gate that was skipped has not failed.
            "Always()",
            "always() && steps.build.outcome == 'success'",
            "always() && steps.build.outputs.image",
            "always() && steps.gate.outcome == 'failure'",
            "always() && steps.gate.outcome != 'skipped'",
            "${{ !failure() && !cancelled() }}",
            "always() && !contains(needs.*.result, 'failure')",
        ])
    {
        assert_eq!(step(bad), [(Code::DeploysAfterNo, 9)], "{bad}");
    }
    for good in [
        "success()",
        "github.ref == 'refs/heads/main'",
        "always() && steps.gate.outcome == 'success'",
        "${{ always() && steps.gate.outputs.decision == 'approved' }}",
        "always() && steps.gate.conclusion=='success' && github.ref_name == 'main'",
    ] {
        assert_eq!(step(good), [], "{good}");
    }
    let jobs = |condition: &str, more: &str| {
        let second = format!(
            "  middle:\n    needs: gate\n    runs-on: x\n    steps: []\n  deploy:\n    needs: [middle]\n    if: {condition}\n    {more}\n    runs-on: x\n    steps:\n      - run: ./deploy.sh\n"
        );
        github(&(job("push", "", &action("")) + &second))
    };
    assert_eq!(jobs("always()", "environment: production"), [(Code::DeploysAfterNo, 15)]);
    assert_eq!(jobs("always() && needs.gate.result == 'success'", "environment: production"), []);
    assert_eq!(jobs("always() && needs.middle.result == 'success'", "environment: production"), []);
    for bad in
        ["needs.build.result == 'success'", "needs.gate.result != 'skipped'", "needs.build.outputs.image"]
    {
        let found = jobs(&format!("always() && {bad}"), "environment: production");
        assert_eq!(found, [(Code::DeploysAfterNo, 15)], "{bad}");
    }
    // It tells people.
    assert_eq!(jobs("always()", "timeout-minutes: 5"), []);
    // One that is a workflow of its own; two that call each other end.
    let calls = "  deploy:\n    needs: gate\n    if: always()\n    uses: ./.github/workflows/deploy.yml\n";
    let called = |more: &str| {
        let deploy = format!(
            "on: workflow_call\njobs:\n  again:\n    uses: ./.github/workflows/deploy.yml\n  deploy:\n    runs-on: x\n    {more}\n    steps:\n      - run: ./deploy.sh\n"
        );
        let files = [
            file(".github/workflows/ci.yml", &(job("push", "", &action("")) + calls)),
            file(".github/workflows/deploy.yml", &deploy),
        ];
        workflows(&files).findings.iter().map(|found| found.code).collect::<Vec<_>>()
    };
    assert_eq!(called("environment: production"), [Code::DeploysAfterNo]);
    assert_eq!(called("timeout-minutes: 5"), []);
}

#[test]
fn e14_an_exit_code_that_is_lost_in_a_workflow_is_found() {
    let run = |more: &str, script: &str| github(&job("push", "", &format!("- run: |\n    {script}\n{more}")));
    let lost = [(Code::ExitCodeLost, 7)];
    // GitHub's own shell is `bash -e`, without pipefail; `shell: bash` has it.
    assert_eq!(run("", "samebits promote x --to production | tee log"), lost);
    assert_eq!(run("  shell: sh\n", "samebits promote x --to production | tee log"), lost);
    assert_eq!(run("  shell: bash {0}\n", "samebits check x --to production\n    deploy"), lost);
    assert_eq!(run("", "samebits -o json --policy p check x --to production || true"), lost);
    assert_eq!(run("", "echo $(samebits permit verify x --in production)"), lost);
    assert_eq!(run("  shell: bash\n", "samebits promote x --to production | tee log"), []);
    assert_eq!(run("  shell: bash -euo pipefail {0}\n", "samebits promote x --to production | tee log"), []);
    assert_eq!(run("", "set -o pipefail; samebits promote x --to production | tee log"), []);
    assert_eq!(run("", "samebits deployed x --in production || true"), []);
    assert_eq!(run("", "samebits ledger verify || true"), []);
    assert_eq!(run("", "image=$(samebits promote x --to production)"), []);
    // The line in a block, and on the line of the key.
    let steps =
        "- run: |\n    a\n\n    samebits check x --to p || true\n- run: samebits check x --to p || true\n";
    assert_eq!(github(&job("push", "", steps)), [(Code::ExitCodeLost, 9), (Code::ExitCodeLost, 10)]);
    // The shell of the job, and that of the workflow.
    let piped = "- run: samebits check x --to p | cat\n";
    assert_eq!(github(&job("push", "defaults: { run: { shell: bash } }", piped)), []);
    let whole = format!("defaults: {{ run: {{ shell: bash }} }}\n{}", job("push", "", piped));
    assert_eq!(github(&whole), []);
}

#[test]
fn a_script_of_another_shell_is_not_read_and_that_is_said() {
    let text = job("push", "", "- shell: pwsh\n  run: samebits check x --to p | Out-Host\n");
    let looked = workflows(&[file(".github/workflows/ci.yml", &text)]);
    assert_eq!((looked.findings.len(), looked.skipped.len()), (0, 1));
    assert!(looked.skipped[0].why.contains("pwsh"), "{looked:?}");
}

#[test]
fn a_deployment_by_tag_in_a_workflow_is_found() {
    let run = |line: &str, env: &str| github(&job("push", env, &format!("- run: {line}\n")));
    let lines = |codes: Vec<(Code, usize)>| codes.into_iter().map(|(code, _)| code).collect::<Vec<_>>();
    let bad = [Code::MutableTag];
    assert_eq!(lines(run("kubectl set image d/x x=r.example/x:latest", "")), bad);
    assert_eq!(lines(run("kubectl set image d/x x=r.example/x:${{ github.sha }}", "")), bad);
    assert_eq!(lines(run("helm upgrade x ./chart --set image.tag=${{ github.sha }}", "")), bad);
    assert_eq!(lines(run("kubectl set image d/x x=$IMAGE", "env: { IMAGE: 'r.example/x:v1' }")), bad);
    assert_eq!(
        lines(run("kubectl set image d/x x=${{ env.IMAGE }}", "env: { IMAGE: 'r.example/x:v1' }")),
        bad
    );
    assert_eq!(
        run("kubectl set image d/x x=$IMAGE", "env: { IMAGE: '${{ needs.gate.outputs.image }}' }"),
        []
    );
    assert_eq!(run("kubectl set image d/x x=${{ needs.gate.outputs.image }}", ""), []);
    let uses = |image: &str| {
        let steps =
            format!("- uses: google-github-actions/deploy-cloudrun@{COMMIT}\n  with:\n    image: {image}\n");
        github(&job("push", "", &steps))
    };
    assert_eq!(uses("gcr.io/x/y:v1"), [(Code::MutableTag, 8)]);
    assert_eq!(uses("${{ needs.gate.outputs.image }}"), []);
}

#[test]
fn e8_policy_from_the_change_under_test_is_found() {
    let checkout = |with: &str| format!("- uses: actions/checkout@{COMMIT}\n{with}");
    let with = |on: &str, job_if: &str, checkout_with: &str| {
        github(&job(on, job_if, &(checkout(checkout_with) + &action(""))))
    };
    let head = "  with: { ref: '${{ github.event.pull_request.head.sha }}' }\n";
    let found = |line| [(Code::PolicyFromChange, line)];
    assert_eq!(with("pull_request_target", "", head), found(7));
    assert_eq!(with("[push, pull_request_target]", "", head), found(7));
    assert_eq!(
        with("workflow_run", "", "  with: { ref: '${{ github.event.workflow_run.head_sha }}' }\n"),
        found(7)
    );
    assert_eq!(with("pull_request", "", ""), found(6));
    assert_eq!(with("{ pull_request: { branches: [main] } }", "", "  with: { fetch-depth: 0 }\n"), found(6));
    assert_eq!(with("pull_request", "if: github.event_name == 'pull_request'", ""), found(7));
    let fetched = format!("{}- run: gh pr checkout 1\n{}", checkout(""), action(""));
    assert_eq!(github(&job("pull_request_target", "", &fetched)), found(7));
    // The twins: the base, no change, another repository, another folder, other events, no gate.
    let base = "  with: { ref: '${{ github.event.pull_request.base.sha }}' }\n";
    assert_eq!(with("pull_request", "", base), []);
    assert_eq!(with("pull_request_target", "", ""), []);
    assert_eq!(with("push", "", ""), []);
    assert_eq!(with("pull_request", "", "  with: { repository: acme/policies, ref: main }\n"), []);
    assert_eq!(with("[push, pull_request]", "if: github.event_name == 'push'", ""), []);
    assert_eq!(with("[push, pull_request]", "if: github.ref == 'refs/heads/main'", ""), []);
    assert_eq!(github(&job("pull_request", "", &checkout(""))), []);
    let beside = checkout("")
        + &checkout("  with: { ref: main, path: base }\n")
        + &action("").replace("to:", "policy: base/samebits.toml, to:");
    assert_eq!(github(&job("pull_request", "", &beside)), []);
    // Called by a workflow that runs on changes.
    let called = job("workflow_call", "", &(checkout("") + &action("")));
    let caller = "on: pull_request\njobs:\n  a:\n    uses: ./.github/workflows/gate.yml\n";
    let files = [file(".github/workflows/gate.yml", &called), file(".github/workflows/pr.yml", caller)];
    assert_eq!(codes(&files), found(6));
    assert_eq!(codes(&files[..1]), []);
}

#[test]
fn e8_policy_from_a_merge_request_is_found() {
    let job =
        |rules: &str| gitlab(&format!("gate:\n  script: [samebits promote x --to production]\n{rules}"));
    let event = "$CI_PIPELINE_SOURCE == \"merge_request_event\"";
    assert_eq!(job(&format!("  rules:\n    - if: {event}\n")), [(Code::PolicyFromChange, 4)]);
    assert_eq!(job("  only: [merge_requests]\n"), [(Code::PolicyFromChange, 1)]);
    assert_eq!(job(&format!("workflow:\n  rules:\n    - if: {event}\n")), [(Code::PolicyFromChange, 1)]);
    assert_eq!(
        job(&format!("  rules:\n    - if: {event}\n      when: never\n    - if: $CI_COMMIT_BRANCH\n")),
        []
    );
    assert_eq!(job("  rules:\n    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH\n"), []);
    let fixed = format!(
        "gate:\n  script: ['samebits --policy \"$POLICY\" check x --to p']\n  rules:\n    - if: {event}\n"
    );
    assert_eq!(gitlab(&fixed), []);
}

#[test]
fn f10_a_gate_that_is_not_pinned_is_found() {
    let used = |reference: &str| github(&job("push", "", &action("").replace(COMMIT, reference)));
    assert_eq!(used("v1"), [(Code::GateNotPinned, 6)]);
    assert_eq!(used("main"), [(Code::GateNotPinned, 6)]);
    assert_eq!(used(COMMIT), []);
    // Other people's actions are other tools' business.
    assert_eq!(github(&job("push", "", "- uses: actions/checkout@v4\n")), []);
    let component = |reference: &str| {
        gitlab(&format!("include:\n  - component: $CI_SERVER_FQDN/acme/samebits/promote@{reference}\n"))
    };
    for moving in ["~latest", "main", "1", "1.0"] {
        assert_eq!(component(moving), [(Code::GateNotPinned, 2)], "{moving}");
    }
    assert_eq!(component("1.0.0"), []);
    assert_eq!(component(COMMIT), []);
}

#[test]
fn e13_allow_failure_on_the_gate_is_found() {
    let job =
        |more: &str| gitlab(&format!("gate:\n  script:\n    - samebits promote x --to production\n{more}"));
    assert_eq!(job("  allow_failure: true\n"), [(Code::FailureIgnored, 4)]);
    assert_eq!(job("  allow_failure:\n    exit_codes: [3]\n"), [(Code::FailureIgnored, 5)]);
    assert_eq!(job("  rules:\n    - if: $X\n      allow_failure: true\n"), [(Code::FailureIgnored, 6)]);
    assert_eq!(job("  when: manual\n"), [(Code::FailureIgnored, 4)]);
    assert_eq!(job(""), []);
    assert_eq!(job("  allow_failure: false\n"), []);
    assert_eq!(job("  when: manual\n  allow_failure: false\n"), []);
    assert_eq!(job("  rules:\n    - when: manual\n"), []);
    assert_eq!(gitlab("lint:\n  script: [make lint]\n  allow_failure: true\n"), []);
    // The component's job, with what the project adds to it.
    let component = format!(
        "include:\n  - component: x/acme/samebits/promote@{COMMIT}\n    inputs: {{ job: to-prod }}\n"
    );
    assert_eq!(gitlab(&format!("{component}to-prod:\n  allow_failure: true\n")), [(Code::FailureIgnored, 5)]);
    assert_eq!(gitlab(&component), []);
}

#[test]
fn gitlab_jobs_are_what_they_extend_merge_and_refer_to() {
    let gate = "samebits promote x --to production || true";
    for text in [
        format!(".base:\n  script:\n    - {gate}\ngate:\n  extends: .base\n"),
        format!(".base: &base\n  script:\n    - {gate}\ngate:\n  <<: *base\n"),
        format!(".base:\n  script:\n    - {gate}\ngate:\n  script:\n    - !reference [.base, script]\n"),
        format!("default:\n  before_script: [a]\ngate:\n  script: |\n    {gate}\n"),
    ] {
        let found: Vec<Code> = gitlab(&text).into_iter().map(|(code, _)| code).collect();
        assert_eq!(found, [Code::ExitCodeLost], "{text}");
    }
    // One shell for all lines of a job; GitLab sets pipefail.
    assert_eq!(
        gitlab("gate:\n  script:\n    - set +e\n    - samebits check x --to p\n    - a\n"),
        [(Code::ExitCodeLost, 4)]
    );
    assert_eq!(gitlab("gate:\n  script:\n    - samebits check x --to p | tee log\n    - a\n"), []);
    // A hidden job runs nowhere.
    assert_eq!(gitlab(&format!(".gate:\n  script: ['{gate}']\n")), []);
}

#[test]
fn gitlab_deployments_by_tag_or_after_a_no_are_found() {
    let deploy = |more: &str| {
        gitlab(&format!(
            "gate:\n  script: [samebits promote x --to production]\ndeploy:\n  environment: production\n  script: [./deploy.sh]\n{more}"
        ))
    };
    assert_eq!(deploy("  when: always\n"), [(Code::DeploysAfterNo, 6)]);
    assert_eq!(deploy("  rules:\n    - if: $X\n      when: always\n"), [(Code::DeploysAfterNo, 8)]);
    assert_eq!(deploy("  when: on_success\n"), []);
    assert_eq!(deploy(""), []);
    // Without a gate there is no no.
    assert_eq!(gitlab("deploy:\n  environment: x\n  script: [a]\n  when: always\n"), []);
    let tag = |image: &str| {
        gitlab(&format!(
            "variables:\n  IMAGE: {image}\nd:\n  script:\n    - kubectl set image d/x x=$IMAGE\n"
        ))
    };
    assert_eq!(tag("$CI_REGISTRY_IMAGE:$CI_COMMIT_SHA"), [(Code::MutableTag, 5)]);
    assert_eq!(tag("$SAMEBITS_IMAGE"), []);
}

#[test]
fn what_is_included_is_read_and_what_cannot_be_is_said() {
    let root = "include:\n  - local: /ci/gate.yml\n  - remote: https://x.example/y.yml\n  - project: a/b\n    file: c.yml\n  - local: ci/*.yml\n";
    let gate = "gate:\n  script: [samebits check x --to p || true]\n";
    let files = [file(".gitlab-ci.yml", root), file("ci/gate.yml", gate)];
    assert_eq!(includes(&files[0]), ["ci/gate.yml"]);
    let looked = workflows(&files);
    assert_eq!(looked.findings.len(), 1);
    assert_eq!(looked.skipped.len(), 3, "{:?}", looked.skipped);
    // One that is not there is no answer.
    assert_eq!(workflows(&files[..1]).untold.len(), 1);
    // Files that include each other end.
    let own = file(".gitlab-ci.yml", "include: .gitlab-ci.yml\n");
    assert_eq!(workflows(std::slice::from_ref(&own)).looked, [".gitlab-ci.yml"]);
}

#[test]
fn a_file_that_cannot_be_read_is_no_answer() {
    for (name, text) in [
        (".github/workflows/a.yml", "jobs: ["),
        (".github/workflows/a.yaml", ""),
        ("action.yml", "a: 1\na: 2\n"),
        (".gitlab-ci.yml", "a: &a [*a]"),
    ] {
        let looked = workflows(&[file(name, text)]);
        assert_eq!((looked.untold.len(), looked.looked.len()), (1, 0), "{name}");
    }
    // What is none of these files is left alone.
    for name in ["a.yml", ".github/workflows/sub/a.yml", ".github/dependabot.yml"] {
        assert_eq!(workflows(&[file(name, "jobs: [")]), Looked::default(), "{name}");
    }
}

#[test]
fn a_gate_in_an_action_or_workflow_of_the_repository_is_a_gate() {
    let own = "runs:\n  using: composite\n  steps:\n    - shell: bash\n      run: samebits check x --to p\n";
    let files = |more: &str| {
        let steps = format!("- uses: ./.github/actions/gate\n{more}");
        [
            file(".github/actions/gate/action.yml", own),
            file(".github/workflows/ci.yml", &job("push", "", &steps)),
        ]
    };
    assert_eq!(codes(&files("  continue-on-error: true\n")), [(Code::FailureIgnored, 7)]);
    assert_eq!(codes(&files("")), []);
}

/// What grows with every step is not followed for ever, and that is said.
#[test]
fn f4_jobs_that_extend_each_other_without_end_are_no_answer() {
    let names = |n: usize| (0..30).map(|i| format!(".j{n}x{i}")).collect::<Vec<_>>().join(", ");
    let (mut extends, mut refers) = (String::new(), String::new());
    for n in 0..12 {
        for i in 0..30 {
            extends += &format!(".j{n}x{i}:\n  extends: [{}]\n", names(n + 1));
            let all: Vec<String> = (0..30).map(|k| format!("!reference [.j{}x{k}, script]", n + 1)).collect();
            refers += &format!(".j{n}x{i}:\n  script: [{}]\n", all.join(", "));
        }
    }
    for (text, job) in
        [(extends, "job:\n  extends: .j0x0\n"), (refers, "job:\n  script: [!reference [.j0x0, script]]\n")]
    {
        let looked = workflows(&[file(".gitlab-ci.yml", &(text + job))]);
        assert!(looked.untold.iter().any(|it| it.why.contains("more often")), "{:?}", looked.untold);
    }
    // Workflows that call each other, all of them.
    let all = |names: usize| {
        let jobs: String =
            (0..names).map(|i| format!("  j{i}:\n    uses: ./.github/workflows/{i}.yml\n")).collect();
        format!("on: workflow_call\njobs:\n{jobs}")
    };
    let files: Vec<File> = (0..40).map(|i| file(&format!(".github/workflows/{i}.yml"), &all(40))).collect();
    assert_eq!(workflows(&files).findings, []);
}

#[test]
fn every_code_is_spelled_as_it_is_serialised() {
    for code in Code::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
}
