//! `examples/kubernetes`: what the policies admit, asked of those who enforce them, about images that were really promoted.

use samebits::reference::Image;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::peer;
use crate::runner::here;

fn example(name: &str) -> String {
    std::fs::read_to_string(here("examples/kubernetes").join(name)).unwrap()
}

/// What policy-controller's own tester says of `image` under the example's policy, with this cluster's registry and root.
/// It knows the logs of a root of one's own by their ids in hexadecimal, where bundles have bytes (0.13.1), and finds none: the
/// time is proved by a timestamp instead.
fn policy_controller(cluster: &Cluster, policy: &str, image: &Image) -> Result<(), String> {
    let fulcio = "url: https://fulcio.sigstore.dev";
    let ours = format!("{fulcio}\n        trustRootRef: virtual\n        insecureIgnoreSCT: true");
    let policy = policy.replace("ghcr.io/acme", &cluster.host()).replace(fulcio, &ours);
    let log = "ctlog:\n        url: https://rekor.sigstore.dev";
    let policy = policy.replace(log, "rfc3161timestamp:\n        trustRootRef: virtual");
    assert_eq!(policy.matches("trustRootRef").count(), 2);
    cluster.yard.write("policy.yaml", policy);
    cluster.yard.write("root.yaml", cluster.trust_root().to_string());
    let mut tester = peer::alone("policy-tester", &cluster.yard.path(""));
    tester.args(["-policy", "policy.yaml", "-trustroot", "root.yaml", "-image", &image.to_string()]);
    // No world outside of this machine.
    tester.env("HTTP_PROXY", "http://127.0.0.1:1").env("HTTPS_PROXY", "http://127.0.0.1:1");
    let output = tester.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// The predicate of a summary as the gate writes it, for production.
fn summary(cluster: &Cluster) -> Value {
    json!({
        "verifier": { "id": "https://samebits.dev/gate" },
        "resourceUri": format!("oci://{}/production/shop", cluster.host()),
        "verificationResult": "PASSED",
        "verifiedLevels": ["SAMEBITS_PRODUCTION"],
    })
}

#[test]
fn policy_controller_admits_what_was_let_into_production_and_nothing_else() {
    if !peer::is_installed("policy-tester") {
        return;
    }
    let Some(cluster) = Cluster::start().map(Cluster::keyless) else { return };
    let policy = example("policy-controller.yaml");
    let ask = |image: &Image| policy_controller(&cluster, &policy, image);
    let image = cluster.build("first");
    let promoted = cluster.promote_to_production(&image);
    ask(&promoted).unwrap();
    // A cluster asks for what it runs: each platform, too.
    let closure = cluster.yard.runtime.block_on(cluster.yard.registries.closure(&promoted)).unwrap();
    for (digest, _) in closure.platforms() {
        ask(&Image::new(promoted.repository.clone(), digest)).unwrap();
    }
    // The build's image, what is in staging alone, and what only lies in production's repository.
    let refused = |image: &Image, why: &str| {
        let said = ask(image).unwrap_err();
        assert!(said.contains(why), "{image}: {said}");
    };
    refused(&image, "no matching attestations");
    let other = cluster.build("second");
    let staged = cluster.promote(&other, "staging");
    refused(&staged, "not compliant");
    let there = cluster.at("production", &other);
    cluster.yard.run(["copy", &staged.to_string(), &format!("{}:x", there.repository)]).exits(0);
    refused(&there, "not compliant");
}

#[test]
fn policy_controller_wants_every_field_of_the_summary() {
    if !peer::is_installed("policy-tester") {
        return;
    }
    let Some(cluster) = Cluster::start().map(Cluster::keyless) else { return };
    let policy = example("policy-controller.yaml");
    each_field(&cluster, |image| policy_controller(&cluster, &policy, image));
}

/// One word of the promoter with every field that the policies ask for, and then for each field one without it and one with
/// another.
fn each_field(cluster: &Cluster, ask: impl Fn(&Image) -> Result<(), String>) {
    let said = |name: &str, predicate: &Value| {
        let repository = format!("{}/production/shop", cluster.host()).parse().unwrap();
        let image = cluster.yard.push_to(&repository, "1", name);
        cluster.summarise(&image, predicate);
        ask(&image)
    };
    said("whole", &summary(cluster)).unwrap();
    for field in ["verifier", "resourceUri", "verificationResult", "verifiedLevels"] {
        let mut without = summary(cluster);
        without.as_object_mut().unwrap().remove(field);
        said(&format!("without {field}"), &without).unwrap_err();
        let mut another = summary(cluster);
        another[field] = match field {
            "verifier" => json!({ "id": "https://verifier.example" }),
            "verifiedLevels" => json!(["SAMEBITS_STAGING"]),
            _ => json!("another"),
        };
        said(&format!("another {field}"), &another).unwrap_err();
    }
}

/// What Kyverno's own command says of a pod that runs `image` under the example's policy, with this cluster's registry and key.
fn kyverno(cluster: &Cluster, key: &str, image: &str) -> Result<(), String> {
    let body = |pem: &str| pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let policy = example("kyverno.yaml");
    let (theirs, ours) =
        (body(&std::fs::read_to_string(here("examples/keys/release.pub")).unwrap()), cluster.yard.read(key));
    assert!(policy.contains(&theirs));
    let policy = policy.replace(&theirs, &body(&ours)).replace("ghcr.io/acme", &cluster.host());
    cluster.yard.write("policy.yaml", policy);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "shop", "namespace": "default" },
        "spec": { "containers": [{ "name": "shop", "image": image }] },
    });
    cluster.yard.write("pod.yaml", pod.to_string());
    let mut command = peer::alone("kyverno", &cluster.yard.path(""));
    command.args(["apply", "policy.yaml", "--resource", "pod.yaml", "--registry", "--detailed-results"]);
    command.env("HTTP_PROXY", "http://127.0.0.1:1").env("HTTPS_PROXY", "http://127.0.0.1:1");
    let output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    match (output.status.success(), said.contains("pass: 1, fail: 0, warn: 0, error: 0, skip: 0")) {
        (true, true) => Ok(()),
        (_, _) => Err(said),
    }
}

#[test]
fn kyverno_admits_what_was_let_into_production_and_nothing_else() {
    if !peer::is_installed("kyverno") {
        return;
    }
    let Some(cluster) = Cluster::start().map(Cluster::gated) else { return };
    let ask = |image: &Image| kyverno(&cluster, "keys/gate.pub", &image.to_string());
    let refused = |said: Result<(), String>, why: &str| {
        let said = said.unwrap_err();
        assert!(said.contains(why), "{said}");
    };
    let image = cluster.build("first");
    let promoted = cluster.promote_to_production(&image);
    ask(&promoted).unwrap();
    let closure = cluster.yard.runtime.block_on(cluster.yard.registries.closure(&promoted)).unwrap();
    let (platform, _) = closure.platforms().next().unwrap();
    ask(&Image::new(promoted.repository.clone(), platform)).unwrap();
    // The build's image, what is in staging alone, and what only lies in production's repository.
    let none = "no summary by the promoter of production";
    refused(ask(&image), none);
    let other = cluster.build("second");
    let staged = cluster.promote(&other, "staging");
    refused(ask(&staged), none);
    let there = cluster.at("production", &other);
    cluster.yard.run(["copy", &staged.to_string(), &format!("{}:x", there.repository)]).exits(0);
    refused(ask(&there), none);
    // The summary of staging is on what runs in production, too, and says another thing.
    let promoted = promoted.to_string();
    refused(kyverno(&cluster, "keys/release.pub", &promoted), "the summary is not for production");
    // Its command changes no tag into a digest. In a cluster `mutateDigest` does, before this is asked.
    let tag = format!("{}:production", promoted.split_once('@').unwrap().0);
    refused(kyverno(&cluster, "keys/gate.pub", &tag), "does not have a digest");
}

#[test]
fn kyverno_wants_every_field_of_the_summary() {
    if !peer::is_installed("kyverno") {
        return;
    }
    let Some(cluster) = Cluster::start().map(Cluster::gated) else { return };
    each_field(&cluster, |image| kyverno(&cluster, "keys/gate.pub", &image.to_string()));
}
