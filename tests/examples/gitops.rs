//! `examples/argocd` and `examples/flux`: what they deploy is a digest.

use serde_json::Value;

use crate::cli::{Yard, at};
use crate::documents::documents;
use crate::peer;
use crate::runner::here;

const ARGO: &str = "examples/argocd/production";

/// The images that `manifests` run, and whether each is pinned.
fn images(manifests: &str) -> Vec<(String, bool)> {
    let image = |line: &str| Some(line.trim_start_matches([' ', '-']).strip_prefix("image: ")?.to_owned());
    let pinned = |image: &str| {
        image
            .split_once("@sha256:")
            .is_some_and(|(_, hex)| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    manifests.lines().filter_map(image).map(|image| (image.clone(), pinned(&image))).collect()
}

/// `examples/argocd/production` as Argo CD renders it, with its kustomization edited.
fn rendered(edit: impl FnOnce(String) -> String) -> String {
    let folder = tempfile::tempdir().unwrap();
    for file in ["deployment.yaml", "gate.yaml", "kustomization.yaml"] {
        std::fs::copy(here(ARGO).join(file), folder.path().join(file)).unwrap();
    }
    let file = folder.path().join("kustomization.yaml");
    let edited = edit(std::fs::read_to_string(&file).unwrap());
    std::fs::write(&file, edited).unwrap();
    let said = peer::said(peer::alone("kustomize", folder.path()).args(["build", "."])).unwrap();
    String::from_utf8(said).unwrap()
}

/// The words of the hook's `command`, and the image that it asks about.
fn hook(manifests: &str) -> (Vec<String>, String) {
    let job = manifests.split("---\n").find(|part| part.contains("kind: Job\n")).unwrap();
    assert!(job.contains("argocd.argoproj.io/hook: PreSync\n"), "{job}");
    let lines = job.lines().map(str::trim).skip_while(|line| !line.ends_with("command:")).skip(1);
    let words =
        lines.map_while(|line| line.strip_prefix("- ")).map(|word| word.trim_matches('\'').to_owned());
    let mut lines = job.lines().map(str::trim).skip_while(|line| *line != "- name: IMAGE");
    let image = lines.nth(1).unwrap().strip_prefix("value: ").unwrap().to_owned();
    (words.collect(), image)
}

#[test]
fn argo_cd_deploys_the_digest_that_its_hook_asks_about() {
    if !peer::is_installed("kustomize") {
        return;
    }
    let yard = Yard::new();
    let image = yard.build("1", "first");
    yard.promote("oci:registry/shop:1", "staging").exits(0);
    yard.deployed_in_staging(&image).exits(0);
    yard.promote(&at("staging", &image), "production").exits(0);
    let promoted = at("production", &image);
    let pin = |text: String| {
        let (before, after) = text.split_once("digest: sha256:").unwrap();
        format!("{before}digest: {}{}", image.digest, &after[64..])
    };
    let manifests = rendered(pin);
    let found = images(&manifests);
    assert!(found.len() == 2 && found.iter().all(|(_, pinned)| *pinned), "{found:?}");
    let (words, asked) = hook(&manifests);
    assert_eq!(asked, format!("ghcr.io/acme/production/shop@{}", image.digest));
    assert!(found.iter().any(|(image, _)| *image == asked), "what is asked about is what is deployed");

    // The hook's command, here.
    let asked = asked.replace("ghcr.io/acme/production/", "oci:registry/production/");
    assert_eq!(asked, promoted);
    let words: Vec<String> = words
        .iter()
        .map(|word| word.replace("$(IMAGE)", &asked).replace("/policy/samebits.toml", "samebits.toml"))
        .collect();
    assert_eq!(words[0], "samebits");
    let run = || yard.run(words[1..].iter().map(String::as_str));
    run().exits(0);
    yard.edit_policy(|text| {
        text + "\n[control]\nrevokers = [\"release\"]\nsame-identity-accepted = \"a test\"\n"
    });
    let digest = image.digest.to_string();
    yard.run(["revoke", &digest, "--reason", "leaks", "--key", "keys/release.key"]).exits(0);
    let no = run().exits(1);
    assert!(no.stdout.contains("revoked"), "{}", no.stdout);
}

/// Argo CD would find a tag that moved to be in sync.
#[test]
fn a_tag_in_place_of_the_digest_is_noticed() {
    if !peer::is_installed("kustomize") {
        return;
    }
    let manifests = rendered(|text| {
        let (before, after) = text.split_once("    digest: ").unwrap();
        format!("{before}    newTag: production\n{}", after.split_once('\n').unwrap().1)
    });
    let tagged =
        images(&manifests).into_iter().find(|(image, _)| image.ends_with("shop:production")).unwrap();
    assert!(!tagged.1);
}

/// The two documents of Flux's example.
fn flux() -> [Value; 2] {
    let text = std::fs::read_to_string(here("examples/flux/production.yaml")).unwrap();
    let documents: [Value; 2] = documents(&text).try_into().unwrap();
    documents
}

#[test]
fn flux_takes_manifests_and_image_by_digest() {
    let [source, kustomization] = flux();
    for digest in ["/spec/ref/digest", "/spec/images/0/digest"] {
        let document = if digest.contains("ref") { &source } else { &kustomization };
        document.pointer(digest).unwrap().as_str().unwrap().parse::<samebits::digest::Digest>().unwrap();
    }
    for moved in ["tag", "semver", "semverFilter", "newTag", "branch"] {
        let text = format!("{source}{kustomization}");
        assert!(!text.contains(&format!("\"{moved}\":")), "{moved} follows what somebody moves");
    }
    assert_eq!(kustomization["spec"]["sourceRef"]["name"], source["metadata"]["name"]);
    assert_eq!(kustomization["spec"]["sourceRef"]["kind"], source["kind"]);
}

/// What Flux applies: kustomize-controller writes `spec.images` and `spec.targetNamespace` into the kustomization of the source, or
/// makes one of all manifests, and builds it with kustomize.
fn reconciled(spec: &Value) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(here(ARGO).join("deployment.yaml"), folder.path().join("deployment.yaml")).unwrap();
    let kustomization = serde_json::json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": ["deployment.yaml"], "namespace": spec["targetNamespace"], "images": spec["images"],
    });
    // JSON is YAML.
    std::fs::write(folder.path().join("kustomization.yaml"), kustomization.to_string()).unwrap();
    let said = peer::said(peer::alone("kustomize", folder.path()).args(["build", "."])).unwrap();
    String::from_utf8(said).unwrap()
}

#[test]
fn flux_runs_the_digest_that_the_promotion_wrote() {
    if !peer::is_installed("kustomize") {
        return;
    }
    let yard = Yard::new();
    let image = yard.build("1", "first");
    yard.promote("oci:registry/shop:1", "staging").exits(0);
    yard.deployed_in_staging(&image).exits(0);
    let promoted = yard.promote(&at("staging", &image), "production").exits(0);
    let [_, kustomization] = flux();
    let mut spec = kustomization["spec"].clone();
    spec["images"][0]["digest"] = image.digest.to_string().into();
    let deployed = format!("ghcr.io/acme/production/shop@{}", image.digest);
    assert_eq!(images(&reconciled(&spec)), [(deployed.clone(), true)]);
    assert_eq!(promoted.stdout.trim_end(), deployed.replace("ghcr.io/acme/", "oci:registry/"));
    // With a tag beside it the digest counts alone; with a tag in its place it is noticed.
    spec["images"][0]["newTag"] = "production".into();
    let both = images(&reconciled(&spec));
    assert!(both[0].0.ends_with(&image.digest.to_string()) && both.len() == 1, "{both:?}");
    spec["images"][0].as_object_mut().unwrap().remove("digest");
    assert_eq!(images(&reconciled(&spec)), [("ghcr.io/acme/production/shop:production".to_owned(), false)]);
}
