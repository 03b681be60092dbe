//! Commands and actions that deploy, and whether the image they name can become another.

use std::collections::BTreeMap;

use super::script::{filled, variable};

/// What a command deploys, as far as it says so.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Deploys {
    /// References to images.
    pub(super) images: Vec<String>,
    /// Tags that go behind an image that is named elsewhere (`--set image.tag=…`).
    pub(super) tags: Vec<String>,
}

/// What a command deploys; none if it is no deployment that is known here.
pub(super) fn deploys(words: &[String]) -> Option<Deploys> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = words.first()?.rsplit('/').next()?;
    let verbs: Vec<&str> = words[1..].iter().copied().filter(|word| !word.starts_with('-')).collect();
    let flag = |names: &[&str]| flag_values(&words, names);
    let image = |names: &[&str]| Some(Deploys { images: flag(names), tags: Vec::new() });
    match (name, verbs.as_slice()) {
        ("kubectl" | "oc", verbs) if verbs.windows(2).any(|two| two == ["set", "image"]) => {
            let named = verbs.iter().filter_map(|word| word.split_once('='));
            Some(Deploys { images: named.map(|(_, image)| image.to_owned()).collect(), tags: Vec::new() })
        }
        ("kubectl" | "oc", verbs) if verbs.iter().any(|verb| ["run", "create"].contains(verb)) => {
            let found = image(&["--image"])?;
            (!found.images.is_empty()).then_some(found)
        }
        ("kubectl" | "oc", verbs)
            if verbs.iter().any(|verb| ["apply", "replace", "restart"].contains(verb)) =>
        {
            (!words.iter().any(|word| word.starts_with("--dry-run"))).then(Deploys::default)
        }
        ("helm" | "helmfile", verbs)
            if verbs.iter().any(|verb| ["upgrade", "install", "apply", "sync"].contains(verb)) =>
        {
            Some(keyed(&flag(&["--set", "--set-string"])))
        }
        ("argocd", ["app", "set", ..]) => {
            let mut found = keyed(&flag(&["--helm-set", "--helm-set-string", "-p", "--parameter"]));
            let kustomize = flag(&["--kustomize-image"]);
            found.images.extend(kustomize.iter().map(|text| renamed(text)));
            Some(found)
        }
        ("argocd", ["app", "sync", ..]) => Some(Deploys::default()),
        ("kustomize", ["edit", "set", "image", images @ ..]) => {
            Some(Deploys { images: images.iter().map(|text| renamed(text)).collect(), tags: Vec::new() })
        }
        ("docker" | "podman", ["service", "update" | "create", ..]) => image(&["--image"]),
        ("docker", ["stack", "deploy", ..]) => Some(Deploys::default()),
        ("gcloud", verbs)
            if verbs.contains(&"run") && verbs.iter().any(|verb| ["deploy", "update"].contains(verb)) =>
        {
            image(&["--image"])
        }
        ("aws", ["lambda", "update-function-code", ..]) => image(&["--image-uri"]),
        ("aws", ["ecs", "update-service" | "run-task" | "deploy", ..]) => Some(Deploys::default()),
        ("az", ["containerapp", "update" | "create" | "up", ..]) => image(&["--image", "-i"]),
        ("az", ["webapp", "config", "container", "set", ..]) => {
            image(&["--docker-custom-image-name", "--container-image-name", "-i", "-c"])
        }
        ("fly" | "flyctl", ["deploy", ..]) => image(&["--image", "-i"]),
        ("cf", ["push", ..]) => image(&["--docker-image", "-o"]),
        _ => None,
    }
}

/// Inputs of actions that name the image to deploy.
const ACTIONS: [(&str, &str); 8] = [
    ("azure/k8s-deploy", "images"),
    ("azure/webapps-deploy", "images"),
    ("azure/aci-deploy", "image"),
    ("azure/container-apps-deploy-action", "imageToDeploy"),
    ("google-github-actions/deploy-cloudrun", "image"),
    ("aws-actions/amazon-ecs-render-task-definition", "image"),
    ("aws-actions/amazon-ecs-deploy-task-definition", "image"),
    ("aws-actions/aws-lambda-deploy", "image-uri"),
];

/// The input with the image of an action that deploys; `uses` without its ref.
pub(super) fn input_of(uses: &str) -> Option<&'static str> {
    let uses = uses.to_ascii_lowercase();
    ACTIONS.iter().find(|(action, _)| uses == *action).map(|(_, input)| *input)
}

/// `NAME=IMAGE`, or `IMAGE`.
fn renamed(text: &str) -> String {
    text.split_once('=').map_or(text, |(_, image)| image).to_owned()
}

/// `image.tag=…` and `image=…` of Helm values, with commas between them.
fn keyed(values: &[String]) -> Deploys {
    let mut found = Deploys::default();
    let pairs: Vec<(&str, &str)> =
        values.iter().flat_map(|text| text.split(',')).filter_map(|pair| pair.split_once('=')).collect();
    // A chart that is given a digest uses that.
    let digest = pairs.iter().any(|(key, _)| key.to_ascii_lowercase().ends_with("digest"));
    for (key, value) in pairs {
        let key = key.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        match key.as_str() {
            "tag" | "imagetag" | "image_tag" if !digest => found.tags.push(value.to_owned()),
            "image" => found.images.push(value.to_owned()),
            _ => {}
        }
    }
    found
}

/// The values of flags, `--flag=value` or `--flag value`.
fn flag_values(words: &[&str], names: &[&str]) -> Vec<String> {
    let value = |at: usize, word: &str| match word.split_once('=') {
        Some((name, value)) if names.contains(&name) => Some(value.to_owned()),
        Some(_) => None,
        None if names.contains(&word) => words.get(at + 1).map(|value| (*value).to_owned()),
        None => None,
    };
    words.iter().enumerate().filter_map(|(at, word)| value(at, word)).collect()
}

/// What of a deployment can become another image, as it stands there.
pub(super) fn mutable(deploys: &Deploys, variables: &[&BTreeMap<String, String>]) -> Vec<String> {
    let images = deploys.images.iter().filter(|image| is_mutable(&filled(image, variables)));
    let tags = deploys.tags.iter().filter(|tag| is_mutable_tag(&filled(tag, variables)));
    images.chain(tags).cloned().collect()
}

/// Stands for what is not known.
const UNKNOWN: char = '\u{e000}';

/// Whether a reference names a tag, or nothing, which is `latest`. Whatever has a digest has not; what is not known is
/// not held against anybody.
pub(super) fn is_mutable(image: &str) -> bool {
    let image = image.trim();
    let image = ["docker://", "oci://"]
        .iter()
        .fold(image, |image, scheme| image.strip_prefix(scheme).unwrap_or(image));
    if image.contains('@') || image.is_empty() {
        return false;
    }
    let known = unknowns(image);
    let last = known.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some(_) => true,
        None => !known.ends_with(UNKNOWN) && !known.contains(char::is_whitespace),
    }
}

/// Whether a value where a tag belongs is nothing but a tag.
fn is_mutable_tag(tag: &str) -> bool {
    !tag.contains('@') && !tag.to_ascii_lowercase().contains("digest") && !tag.trim().is_empty()
}

/// The text with every expression that is still in it as one character.
fn unknowns(text: &str) -> String {
    let mut known = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        known.push_str(&rest[..at]);
        known.push(UNKNOWN);
        rest = &rest[at + variable(&rest[at..]).1..];
    }
    known + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        deploys(&words).map(|deploys| mutable(&deploys, &[])).unwrap_or_default()
    }

    #[test]
    fn a_deployment_by_tag_is_found() {
        for line in [
            "kubectl set image deployment/shop shop=registry.example/shop:latest",
            "kubectl -n prod set image deployment/shop shop=registry.example/shop:$TAG",
            "kubectl run shop --image=registry.example/shop:1.4.2",
            "kubectl create deployment shop --image registry.example:5000/shop",
            "helm upgrade --install shop ./chart --set image.tag=$GITHUB_SHA",
            "helm upgrade shop ./chart --set replicas=2,image.tag=1.4.2",
            "argocd app set shop --kustomize-image shop=registry.example/shop:v1",
            "argocd app set shop -p image.tag=v1",
            "kustomize edit set image shop=registry.example/shop:v1",
            "docker service update --image registry.example/shop:v1 shop",
            "gcloud run deploy shop --image gcr.io/acme/shop:v1",
            "gcloud run services update shop --image=gcr.io/acme/shop",
            "aws lambda update-function-code --image-uri 1.dkr.ecr.example/shop:v1",
            "az containerapp update -n shop --image acme.azurecr.io/shop:v1",
            "fly deploy --image registry.fly.io/shop:v1",
            "cf push shop --docker-image acme/shop",
        ] {
            assert_eq!(found(line).len(), 1, "{line}");
        }
    }

    #[test]
    fn a_deployment_by_digest_or_by_what_is_not_known_is_not() {
        let digest = format!("registry.example/shop@sha256:{}", "0".repeat(64));
        for line in [
            format!("kubectl set image deployment/shop shop={digest}"),
            "kubectl set image deployment/shop shop=$IMAGE".to_owned(),
            "kubectl set image deployment/shop shop=registry.example/shop@$DIGEST".to_owned(),
            "kubectl apply -f deployment.yml".to_owned(),
            "kubectl get pods".to_owned(),
            "helm upgrade shop ./chart --set image.digest=$DIGEST,image.tag=1.4.2".to_owned(),
            "helm upgrade shop ./chart --set image.tag=1.4.2@$DIGEST".to_owned(),
            "helm upgrade shop ./chart --set tagged=1".to_owned(),
            "docker run --rm alpine:3.20 true".to_owned(),
            "docker push registry.example/shop:1.4.2".to_owned(),
            "gcloud run deploy shop --image ${IMAGE}".to_owned(),
            "gcloud run deploy shop --source .".to_owned(),
        ] {
            assert_eq!(found(&line), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn a_variable_is_what_it_was_set_to() {
        let known =
            BTreeMap::from([("IMAGE".to_owned(), "registry.example/shop:${{ github.sha }}".to_owned())]);
        let words: Vec<String> = ["kubectl", "set", "image", "d/x", "x=$IMAGE"].map(str::to_owned).into();
        let deploys = deploys(&words).unwrap();
        assert_eq!(mutable(&deploys, &[&known]), ["$IMAGE"]);
        assert_eq!(mutable(&deploys, &[]), Vec::<String>::new());
    }
}
