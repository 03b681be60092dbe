//! Records signed by CI jobs with certificates, end to end: the real binary against the virtual Sigstore.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use samebits::collect::BUNDLE;
use samebits::reference::Image;
use samebits::verify::COSIGN_SIGN;
use serde_json::{Value, json};
use snapbox::{Data, assert_data_eq, file};

use crate::cli::{Ran, Yard, at, ran, redact};
use crate::sigstore::{Sigstore, oidc};

const WORKFLOWS: &str = "https://github.com/acme/shop/.github/workflows";

/// A yard whose roles are jobs of one repository on GitHub, each by its workflow; the deployer by its ref and the
/// promoter by its trigger, too.
struct Jobs {
    yard: Yard,
    sigstore: Sigstore,
}

fn job(workflow: &str) -> Value {
    oidc::github("acme/shop", workflow, "refs/heads/main")
}

impl Jobs {
    fn new() -> Self {
        let (yard, sigstore) = (Yard::new(), Sigstore::start());
        yard.write("trusted_root.json", sigstore.trusted_root());
        yard.write("signing_config.json", sigstore.signing_config());
        let signer = |workflow: &str, more: &str| {
            format!(
                "issuer = \"{}\"\nidentity = \"{WORKFLOWS}/{workflow}@refs/heads/main\"\nroot = \"virtual\"{more}",
                oidc::GITHUB
            )
        };
        yard.edit_policy(|text| {
            text.replace(
                "[signers.build]",
                "[roots.virtual]\ntrusted-root = \"trusted_root.json\"\n[signers.build]",
            )
            .replace("time = \"not-required\"\n", "")
            .replace("public-key = \"keys/build.pub\"", &signer("build.yml", ""))
            .replace(
                "public-key = \"keys/release.pub\"",
                &signer("release.yml", "\nworkflow-trigger = \"push\""),
            )
            .replace(
                "public-key = \"keys/staging.pub\"",
                &signer("deploy.yml", "\nsource-ref = \"refs/heads/main\""),
            )
        });
        Self { yard, sigstore }
    }

    /// A build of `shop`, signed by the workflow that builds.
    fn build(&self, tag: &str, text: &str) -> Image {
        let image = self.yard.push(tag, text);
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": image.repository, "digest": { "sha256": image.digest.hex() } }],
            "predicateType": COSIGN_SIGN,
            "predicate": {},
        });
        let who = self.sigstore.identity(&job("build.yml"));
        let bundle = self.sigstore.bundle(statement.to_string().as_bytes(), &who, self.sigstore.now());
        let none = BTreeMap::new();
        let attached = self.yard.registries.attach(&image, BUNDLE[0], BUNDLE[0], &bundle, &none);
        self.yard.runtime.block_on(attached).unwrap();
        image
    }

    /// Runs as the job that these claims describe, with a token that it was given.
    fn run<'a>(&self, claims: &Value, args: impl IntoIterator<Item = &'a str>) -> Ran {
        let mut command = self.yard.command(args);
        command.args(["--keyless=virtual", "--signing-config", "signing_config.json"]);
        ran(command.env("SIGSTORE_ID_TOKEN", self.sigstore.token(claims)))
    }
}

#[test]
fn jobs_promote_and_deploy_by_their_certificates() {
    let jobs = Jobs::new();
    let image = jobs.build("1", "first");
    let there = at("staging", &image);
    let promote = ["promote", "oci:registry/shop:1", "--to", "staging"];
    let yes = jobs.run(&job("release.yml"), promote).exits(0);
    assert_eq!(yes.stdout.trim(), there);
    jobs.run(&job("deploy.yml"), ["deployed", &there, "--in", "staging"]).exits(0);
    let yes = jobs.run(&job("release.yml"), ["promote", &there, "--to", "production"]).exits(0);
    assert_eq!(yes.stdout.trim(), at("production", &image));
    jobs.yard.run(["ledger", "verify"]).exits(0);
    // Intent and commit twice, a deployment; each says who, under which root.
    let records = jobs.yard.records();
    assert_eq!(records.len(), 5);
    for record in &records {
        let workflow = if record["kind"] == "deployment" { "deploy.yml" } else { "release.yml" };
        let signer = json!({
            "issuer": oidc::GITHUB,
            "subject": format!("{WORKFLOWS}/{workflow}@refs/heads/main"),
            "root": "virtual",
        });
        assert_eq!(record["signer"], signer);
        let name = if record["kind"] == "deployment" { "staging" } else { "release" };
        assert_eq!(record["names"], json!([name]));
    }
    // The summary beside the image is the job's, too.
    let shown = jobs.yard.run(["verify", &at("production", &image), "--to", "production"]).exits(0).stdout;
    assert!(shown.contains("SLSA verification summary v1") || shown.contains("SLSA VSA"), "{shown}");
    assert!(shown.contains("release.yml"), "{shown}");
    assert_eq!(jobs.yard.replays_the_same(), 4);
}

/// What `verify` shows of certificates: who, when, and where in the log; of a signature over the manifest too.
/// The promoter's job gives a permit that the deploy job takes; what the deploy job signs itself is none, and neither is
/// what the promoter's job signed for another trigger.
#[test]
fn e13_a_permit_by_certificate_is_the_promoters_job_alone() {
    let jobs = Jobs::new();
    let image = jobs.build("1", "first");
    let there = at("staging", &image);
    let promote = ["promote", "oci:registry/shop:1", "--to", "staging", "--permit", "permit.json"];
    jobs.run(&job("release.yml"), promote).exits(0);
    let permit = jobs.yard.read("permit.json");
    assert_eq!(permit.lines().count(), 1);
    let verify = |permit: &[u8]| {
        let mut command = jobs.yard.command(["permit", "verify", &there, "--in", "staging"]);
        ran(command.env("SAMEBITS_PERMIT", std::str::from_utf8(permit).unwrap()))
    };
    assert_eq!(verify(permit.as_bytes()).exits(0).stdout.trim(), there);
    // Whoever may sign in the deploy job signs as that.
    let bundle: Value = serde_json::from_str(&permit).unwrap();
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let mut pull = job("release.yml");
    pull["event_name"] = json!("workflow_dispatch");
    for (claims, code) in [(job("release.yml"), 0), (job("deploy.yml"), 1), (job("build.yml"), 1), (pull, 1)]
    {
        let who = jobs.sigstore.identity(&claims);
        let ran = verify(&jobs.sigstore.bundle(&payload, &who, jobs.sigstore.now())).exits(code);
        assert_eq!(ran.stdout.is_empty(), code == 1);
        assert_eq!(ran.stderr.contains("permit-signer"), code == 1, "{}", ran.stderr);
    }
    // The promoter's own job without the record, as cosign would sign it.
    let mut said: Value = serde_json::from_slice(&payload).unwrap();
    said["predicate"].as_object_mut().unwrap().remove("logged").unwrap();
    let who = jobs.sigstore.identity(&job("release.yml"));
    let bare = jobs.sigstore.bundle(said.to_string().as_bytes(), &who, jobs.sigstore.now());
    let ran = verify(&bare).exits(1);
    assert!(ran.stderr.contains("permit-unrecorded") && ran.stdout.is_empty(), "{}", ran.stderr);
    // Signed a long time before it says that it was given: the certificate says when, and that is what counts.
    let early = jobs.sigstore.now() - jiff::SignedDuration::from_mins(5);
    let who = jobs.sigstore.identity(&job("release.yml"));
    let ran = verify(&jobs.sigstore.bundle(&payload, &who, early)).exits(1);
    assert!(ran.stderr.contains("permit-too-long"), "{}", ran.stderr);
    // The signature of another bundle, and one without its log entry.
    let mut bare = bundle.clone();
    bare["verificationMaterial"].as_object_mut().unwrap().remove("tlogEntries");
    assert_eq!(verify(bare.to_string().as_bytes()).exits(1).stdout, "");
}

#[test]
fn verify_shows_time_and_log_index_of_what_jobs_signed() {
    let jobs = Jobs::new();
    let image = jobs.build("1", "first");
    let closure = jobs.yard.runtime.block_on(jobs.yard.registries.closure(&image)).unwrap();
    let (arm64, _) = closure.platforms().last().unwrap();
    let message = |workflow: &str, digest| {
        let who = jobs.sigstore.identity(&job(workflow));
        String::from_utf8(jobs.sigstore.message_bundle(digest, &who, jobs.sigstore.now())).unwrap()
    };
    // Over the index, over one platform, and over something else.
    let other = samebits::digest::Digest::of(b"another manifest");
    let lines =
        [message("build.yml", image.digest), message("build.yml", arm64), message("build.yml", other)];
    jobs.yard.write("evidence.jsonl", lines.join("\n"));
    let verify = ["verify", "oci:registry/shop:1", "--evidence", "evidence.jsonl"];
    let seen = jobs.yard.run(verify).exits(0).stdout;
    let seen = redact(&seen, &[("IMAGE", image.digest)]);
    assert_data_eq!(Data::text(seen).raw(), file!["verify-keyless.txt"].raw());
    let json = jobs.yard.run(verify.into_iter().chain(["-o", "json"])).exits(0).json();
    let items: Vec<&Value> =
        (0..3).flat_map(|at| json["manifests"][at]["items"].as_array().unwrap()).collect();
    let told = |item: &Value, member: &str| item[member].as_str().is_some_and(|text| !text.is_empty());
    let of = |status: &str| items.iter().filter(|item| item["status"] == status).copied().collect::<Vec<_>>();
    let (accepted, rejected) = (of("accepted"), of("rejected"));
    assert!(
        accepted.len() >= 3 && rejected.iter().any(|item| item["code"] == "artifact-mismatch"),
        "{items:#?}"
    );
    for item in accepted {
        assert!(told(item, "time") && item["logIndex"].is_u64(), "{item:#}");
    }
    for item in rejected {
        assert!(told(item, "code") && told(item, "reason"), "{item:#}");
    }
    // Alone, the one over something else is no signature.
    jobs.yard.write("other.json", &lines[2]);
    let unsigned = jobs.yard.push("2", "second");
    let no = jobs.yard.run(["verify", "oci:registry/shop:2", "--evidence", "other.json"]).exits(1);
    assert!(no.stdout.contains("rejected, artifact-mismatch"), "{} {}", unsigned.digest, no.stdout);
}

#[test]
fn github_gives_the_job_its_token() {
    let jobs = Jobs::new();
    jobs.build("1", "first");
    jobs.sigstore.oidc.set_ambient(job("release.yml"));
    let ask = |bearer: Option<&str>| {
        let mut command =
            jobs.yard.command(["check", "oci:registry/shop:1", "--to", "staging", "--keyless=virtual"]);
        command.env("SAMEBITS_SIGNING_CONFIG", "signing_config.json").env("GITHUB_ACTIONS", "true");
        if let Some(bearer) = bearer {
            command.env("ACTIONS_ID_TOKEN_REQUEST_URL", jobs.sigstore.ambient_url());
            command.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", bearer);
        }
        ran(&mut command)
    };
    let yes = ask(Some(oidc::BEARER)).exits(0);
    assert!(yes.stdout.contains("`release`"), "{}", yes.stdout);
    // Without the permission, or with somebody else's bearer, nothing is decided.
    for bearer in [None, Some("another")] {
        let trouble = ask(bearer).exits(3);
        assert!(trouble.stderr.contains("id-token: write"), "{}", trouble.stderr);
        assert_eq!(trouble.stdout, "");
    }
}

#[test]
fn b6_a_job_of_another_workflow_trigger_or_ref_is_nobody() {
    let jobs = Jobs::new();
    let image = jobs.build("1", "first");
    let promote = ["promote", "oci:registry/shop:1", "--to", "staging"];
    let mut dispatched = job("release.yml");
    dispatched["event_name"] = "workflow_dispatch".into();
    for claims in [job("other.yml"), job("build.yml"), dispatched] {
        let no = jobs.run(&claims, promote).exits(1);
        assert!(no.stderr.contains("not-a-promoter"), "{}", no.stderr);
        assert_eq!(no.stdout, "");
    }
    assert_eq!(jobs.yard.tagged_if_there("oci:registry/staging/shop", "staging"), None);
    jobs.run(&job("release.yml"), promote).exits(0);
    // The same workflow on a branch: another identity, and another ref in its certificate.
    let there = at("staging", &image);
    let mut branch = job("deploy.yml");
    branch["ref"] = "refs/heads/dev".into();
    for claims in [branch, oidc::github("acme/shop", "deploy.yml", "refs/heads/dev"), job("release.yml")] {
        let refused = jobs.run(&claims, ["deployed", &there, "--in", "staging"]).exits(2);
        assert!(refused.stderr.contains("may not say what runs in `staging`"), "{}", refused.stderr);
    }
}

#[test]
fn who_cannot_sign_so_is_told_why() {
    let jobs = Jobs::new();
    jobs.build("1", "first");
    let promote = ["promote", "oci:registry/shop:1", "--to", "staging"];
    let told = |args: &[&str], token: Option<&str>, code: i32, said: &str| {
        let mut command = jobs.yard.command(promote.into_iter().chain(args.iter().copied()));
        if let Some(token) = token {
            command.env("SIGSTORE_ID_TOKEN", token);
        }
        let refused = ran(&mut command).exits(code);
        assert!(refused.stderr.contains(said), "{said}\n{}", refused.stderr);
        assert_eq!(refused.stdout, "");
    };
    let token = jobs.sigstore.token(&job("release.yml"));
    let config = ["--keyless=virtual", "--signing-config", "signing_config.json"];
    told(&config, None, 2, "no CI system here gives an identity token");
    told(&config, Some("rubbish"), 2, "the identity token is not a JWT");
    told(&config[..1], Some(&token), 2, "expected --signing-config FILE");
    told(&["--keyless"], Some(&token), 2, "no signer of the policy is known under that root");
    told(&["--keyless=Virtual"], Some(&token), 2, "is not a root's name");
    told(
        &[&config[..], &["--key", "keys/release.key"]].concat(),
        Some(&token),
        2,
        "expected one of --keyless and",
    );
    told(&["--keyless=virtual", "--signing-config", "samebits.toml"], Some(&token), 2, "is not strict JSON");
    let mut elsewhere = job("release.yml");
    elsewhere["aud"] = "https://vault.example".into();
    told(&config, Some(&jobs.sigstore.token(&elsewhere)), 2, "for another audience");
    // A service that is away: nothing is decided and nothing recorded.
    let mut away: Value = serde_json::from_str(&jobs.sigstore.signing_config()).unwrap();
    away["rekorTlogUrls"][0]["url"] = "http://127.0.0.1:1".into();
    jobs.yard.write("away.json", away.to_string());
    told(
        &["--keyless=virtual", "--signing-config", "away.json"],
        Some(&token),
        3,
        "the transparency log http://127.0.0.1:1 took no entry",
    );
    assert!(jobs.yard.records().is_empty());
}
