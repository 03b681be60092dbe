//! `examples/argocd` and `examples/flux`: what they deploy is a digest.

use std::path::Path;

use crate::cli::{Yard, at};
use crate::peer;
use crate::runner::{here, yaml};

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

#[test]
fn flux_takes_manifests_and_image_by_digest() {
    let text = std::fs::read_to_string(here("examples/flux/production.yaml")).unwrap();
    let documents: Vec<_> = text.split("---\n").map(yaml).collect();
    let [source, kustomization] = &documents[..] else { panic!("two documents") };
    for digest in [&source["spec.ref.digest"], &kustomization["spec.images.0.digest"]] {
        digest.parse::<samebits::digest::Digest>().unwrap();
    }
    for (path, _) in source.iter().chain(kustomization) {
        let last = Path::new(path).extension().and_then(|last| last.to_str()).unwrap_or(path);
        assert!(!["tag", "semver", "newTag", "branch"].contains(&last), "{path} follows what somebody moves");
    }
    assert_eq!(kustomization["spec.sourceRef.name"], source["metadata.name"]);
    assert_eq!(kustomization["spec.sourceRef.kind"], source["kind"]);
}
