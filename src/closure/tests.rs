use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn bytes(value: &Value) -> Bytes {
    Bytes::from(serde_json::to_vec(value).unwrap())
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}

/// Everything a registry has.
#[derive(Default)]
struct World(BTreeMap<Digest, (String, Bytes)>);

impl World {
    fn put(&mut self, media_type: &str, value: &Value) -> Value {
        let bytes = bytes(value);
        self.0.insert(Digest::of(&bytes), (media_type.to_owned(), bytes.clone()));
        descriptor(media_type, &bytes)
    }

    fn config(&mut self, os: &str, architecture: &str, salt: &str) -> Value {
        let config = json!({ "os": os, "architecture": architecture, "salt": salt, "rootfs": {} });
        self.put("application/vnd.oci.image.config.v1+json", &config)
    }

    fn image(&mut self, os: &str, architecture: &str, salt: &str) -> Value {
        let config = self.config(os, architecture, salt);
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", salt.as_bytes());
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer] });
        self.put(OCI_MANIFEST, &manifest)
    }

    fn index(&mut self, children: &[Value]) -> Value {
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children });
        self.put(OCI_INDEX, &index)
    }

    fn build(&self, root: &Value) -> Result<Closure, ClosureError> {
        self.build_within(root, Limits::default())
    }

    fn build_within(&self, root: &Value, limits: Limits) -> Result<Closure, ClosureError> {
        let mut builder = Builder::new(digest(root), limits);
        loop {
            let wants = builder.wants();
            if wants.is_empty() {
                return builder.finish();
            }
            for wanted in wants {
                let Some((media_type, bytes)) = self.0.get(&wanted.digest) else {
                    return builder.finish();
                };
                let header = (wanted.what == What::Manifest).then_some(media_type.as_str());
                builder.feed(wanted.digest, header, bytes.clone())?;
            }
        }
    }
}

fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

fn on(mut descriptor: Value, os: &str, architecture: &str) -> Value {
    descriptor["platform"] = json!({ "os": os, "architecture": architecture });
    descriptor
}

fn attestation(mut descriptor: Value) -> Value {
    descriptor["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    descriptor
}

fn platforms(closure: &Closure) -> Vec<(Digest, String)> {
    closure.platforms().map(|(digest, platform)| (digest, platform.to_string())).collect()
}

#[test]
fn an_index_with_two_platforms_and_an_attestation() {
    let mut world = World::default();
    let amd64 = on(world.image("linux", "amd64", "a"), "linux", "amd64");
    let mut arm64 = on(world.image("linux", "arm64", "b"), "linux", "arm64");
    arm64["platform"]["variant"] = "v8".into();
    let attached = attestation(on(world.image("unknown", "unknown", "c"), "unknown", "unknown"));
    let root = world.index(&[amd64.clone(), arm64.clone(), attached.clone()]);
    let closure = world.build(&root).unwrap();
    assert!(closure.is_index());
    assert_eq!(
        platforms(&closure),
        [(digest(&amd64), "linux/amd64".into()), (digest(&arm64), "linux/arm64".into())]
    );
    assert_eq!(closure.manifest(digest(&attached)).unwrap().role, Role::Attachment);
    assert!([&amd64, &arm64, &attached, &root].iter().all(|one| closure.contains(digest(one))));
    assert!(!closure.contains(Digest::of(b"other")));
    assert_eq!(closure.manifests().last().unwrap().digest, closure.root());
    assert_eq!(closure.manifests().count(), 4);
    assert_eq!(closure.blobs().len(), 6);
}

#[test]
fn a_single_manifest_has_the_platform_of_its_configuration() {
    let mut world = World::default();
    let root = world.image("linux", "riscv64", "a");
    let closure = world.build(&root).unwrap();
    assert!(!closure.is_index());
    assert_eq!(platforms(&closure), [(digest(&root), "linux/riscv64".into())]);
}

#[test]
fn a2_other_bytes_than_asked_for_are_refused() {
    let mut world = World::default();
    let root = world.image("linux", "amd64", "a");
    let mut builder = Builder::new(digest(&root), Limits::default());
    let other = bytes(&json!({}));
    let error = builder.feed(digest(&root), None, other.clone()).unwrap_err();
    assert!(matches!(error, ClosureError::DigestMismatch { found, .. } if found == Digest::of(&other)));
    let error = builder.feed(Digest::of(&other), None, other).unwrap_err();
    assert!(matches!(error, ClosureError::NotWanted { .. }));
    assert!(matches!(builder.finish(), Err(ClosureError::Incomplete { .. })));
}

#[test]
fn a3_the_child_and_the_index_are_one_image_in_one_direction_only() {
    let mut world = World::default();
    let amd64 = on(world.image("linux", "amd64", "a"), "linux", "amd64");
    let root = world.index(std::slice::from_ref(&amd64));
    assert!(world.build(&root).unwrap().contains(digest(&amd64)));
    assert!(!world.build(&amd64).unwrap().contains(digest(&root)));
}

#[test]
fn a4_a_child_shared_by_two_indexes_makes_them_no_more_equal() {
    let mut world = World::default();
    let amd64 = on(world.image("linux", "amd64", "shared"), "linux", "amd64");
    let arm64 = |world: &mut World, salt| on(world.image("linux", "arm64", salt), "linux", "arm64");
    let (one, two) = (arm64(&mut world, "one"), arm64(&mut world, "two"));
    let staging = world.index(&[amd64.clone(), one]);
    let production = world.index(&[amd64.clone(), two.clone()]);
    let (staging, production) = (world.build(&staging).unwrap(), world.build(&production).unwrap());
    assert!(staging.contains(digest(&amd64)) && production.contains(digest(&amd64)));
    assert!(!staging.contains(digest(&two)) && !same_layers(&staging, &production));
}

#[test]
fn a5_attestations_are_known_by_annotation_and_platform_together() {
    let mut world = World::default();
    let amd64 = on(world.image("linux", "amd64", "a"), "linux", "amd64");
    let real = world.image("linux", "arm64", "b");
    // Unknown without the annotation: nobody said that it is an attestation.
    let root = world.index(&[amd64.clone(), on(real.clone(), "unknown", "unknown")]);
    assert_eq!(platforms(&world.build(&root).unwrap())[1].1, "unknown/unknown");
    // The annotation on what a runtime would run, said by the index or by the configuration.
    for runs in [on(attestation(real.clone()), "linux", "arm64"), attestation(real.clone())] {
        let root = world.index(&[amd64.clone(), runs]);
        assert!(matches!(world.build(&root), Err(ClosureError::AttachmentRuns { .. })));
    }
    // Nobody says a platform, and the configuration is no image's by its media type: containerd and Docker read it
    // all the same, and would run what is in it.
    let config = json!({ "os": "linux", "architecture": "arm64", "rootfs": {} });
    let config = world.put("application/octet-stream", &config);
    let evil = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [] });
    let evil = world.put(OCI_MANIFEST, &evil);
    let root = world.index(&[amd64.clone(), attestation(evil)]);
    assert!(matches!(world.build(&root), Err(ClosureError::AttachmentRuns { .. })));
    // No platform in the index: a runtime reads the configuration, and so do we.
    let root = world.index(&[amd64.clone(), real.clone()]);
    assert_eq!(platforms(&world.build(&root).unwrap())[1].1, "linux/arm64");
    // Listed as both.
    let both = [on(attestation(real.clone()), "unknown", "unknown"), on(real, "linux", "arm64")];
    let root = world.index(&both);
    assert!(matches!(world.build(&root), Err(ClosureError::TwoRoles { .. })));
    // Nothing that runs.
    let unknown = world.image("unknown", "unknown", "c");
    let root = world.index(&[attestation(unknown)]);
    assert!(matches!(world.build(&root), Err(ClosureError::NoPlatform { .. })));
    let root = world.index(&[]);
    assert!(matches!(world.build(&root), Err(ClosureError::NoPlatform { .. })));
    // An index is no attestation manifest.
    let hidden = world.index(std::slice::from_ref(&amd64));
    let root = world.index(&[amd64, attestation(hidden)]);
    assert!(matches!(world.build(&root), Err(ClosureError::AttachmentIsIndex { .. })));
}

#[test]
fn one_digest_for_two_platforms_keeps_both() {
    let mut world = World::default();
    let image = world.image("linux", "arm", "a");
    let root = world.index(&[on(image.clone(), "linux", "arm"), on(image, "linux", "arm64")]);
    let closure = world.build(&root).unwrap();
    assert_eq!(platforms(&closure).len(), 2);
    assert_eq!(closure.manifests().count(), 2);
}

#[test]
fn a6_nesting_counts_and_sizes_are_limited() {
    let mut world = World::default();
    let mut root = on(world.image("linux", "amd64", "a"), "linux", "amd64");
    for _ in 0..4 {
        root = world.index(&[root]);
    }
    assert_eq!(platforms(&world.build(&root).unwrap()).len(), 1);
    let deeper = world.index(&[root.clone()]);
    assert!(matches!(world.build(&deeper), Err(ClosureError::TooDeep { limit: 4, .. })));

    let many = vec![on(world.image("linux", "amd64", "a"), "linux", "amd64"); 1001];
    let many = world.index(&many);
    assert!(matches!(world.build(&many), Err(ClosureError::TooMany { what: "manifests", .. })));

    let limits = Limits { blobs: 1, ..Limits::default() };
    assert!(matches!(world.build_within(&root, limits), Err(ClosureError::TooMany { what: "blobs", .. })));
    let limits = Limits { manifest_bytes: 100, ..Limits::default() };
    assert!(matches!(world.build_within(&root, limits), Err(ClosureError::TooLarge { .. })));
    let limits = Limits { total_bytes: 1000, ..Limits::default() };
    assert!(matches!(world.build_within(&root, limits), Err(ClosureError::TooLargeTogether { .. })));

    // A shared index is entered once: 2^n paths, n + 2 documents.
    let mut wide = on(world.image("linux", "amd64", "a"), "linux", "amd64");
    for _ in 0..30 {
        wide = world.index(&[wide.clone(), wide]);
    }
    let limits = Limits { depth: 40, ..Limits::default() };
    assert_eq!(world.build_within(&wide, limits).unwrap().manifests().count(), 31);
}

#[test]
fn a7_a_rewritten_image_is_another_image_with_the_same_layers() {
    let mut world = World::default();
    let amd64 = on(world.image("linux", "amd64", "a"), "linux", "amd64");
    let root = world.index(std::slice::from_ref(&amd64));
    let minified = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [amd64], "annotations": { "mirror": "yes" }
    });
    let minified = world.put(OCI_INDEX, &minified);
    let other = world.image("linux", "amd64", "other");
    let (root, minified) = (world.build(&root).unwrap(), world.build(&minified).unwrap());
    assert!(root.root() != minified.root() && !root.contains(minified.root()));
    assert!(same_layers(&root, &minified));
    assert!(!same_layers(&root, &world.build(&other).unwrap()));
}

#[test]
fn a9_other_algorithms_and_short_digests_are_refused_by_name() {
    for wrong in
        [format!("sha512:{}", "0".repeat(128)), "sha256:e3b0c442".into(), "e3b0c442".into(), "".into()]
    {
        let mut world = World::default();
        let mut child = on(world.image("linux", "amd64", "a"), "linux", "amd64");
        child["digest"] = wrong.into();
        let root = world.index(&[child]);
        assert!(matches!(world.build(&root), Err(ClosureError::Digest { .. })));
    }
}

#[test]
fn what_is_not_one_manifest_is_refused_by_name() {
    type Check = fn(&ClosureError) -> bool;
    let mut world = World::default();
    let config = world.config("linux", "amd64", "a");
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", b"layer");
    let good = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer] });
    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed[key] = value;
        changed
    };
    let layer_with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed["layers"][0][key] = value;
        changed
    };
    let cases: Vec<(Value, Check)> = vec![
        (with("manifests", json!([])), |e| matches!(e, ClosureError::Ambiguous { .. })),
        (with("mediaType", OCI_INDEX.into()), |e| matches!(e, ClosureError::MediaTypesDisagree { .. })),
        (with("schemaVersion", 3.into()), |e| matches!(e, ClosureError::SchemaVersion { .. })),
        (with("schemaVersion", "2".into()), |e| matches!(e, ClosureError::SchemaVersion { .. })),
        (with("schemaVersion", 1.into()), |e| matches!(e, ClosureError::Schema1 { .. })),
        (with("mediaType", 7.into()), |e| matches!(e, ClosureError::Field { field: "mediaType", .. })),
        (with("config", Value::Null), |e| matches!(e, ClosureError::Field { .. })),
        (with("layers", json!({})), |e| matches!(e, ClosureError::Field { field: "layers", .. })),
        (layer_with("size", (-1).into()), |e| matches!(e, ClosureError::Size { .. })),
        (layer_with("size", json!(1.5)), |e| matches!(e, ClosureError::Size { .. })),
        (layer_with("size", u64::MAX.into()), |e| matches!(e, ClosureError::Size { .. })),
        (layer_with("urls", "x".into()), |e| matches!(e, ClosureError::Descriptor { .. })),
        (layer_with("mediaType", "".into()), |e| matches!(e, ClosureError::Field { .. })),
        (json!([]), |e| matches!(e, ClosureError::Field { field: "document", .. })),
    ];
    for (value, check) in cases {
        let root = world.put(OCI_MANIFEST, &value);
        let error = world.build(&root).expect_err(&value.to_string());
        assert!(check(&error), "{value}: {error:?}");
    }
    // The other direction of CVE-2021-41190, and schema 1 by its media type.
    let both = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "layers": [] });
    let both = world.put(OCI_INDEX, &both);
    assert!(matches!(world.build(&both), Err(ClosureError::Ambiguous { .. })));
    let signed = world.put("application/vnd.docker.distribution.manifest.v1+prettyjws", &json!({}));
    assert!(matches!(world.build(&signed), Err(ClosureError::Schema1 { .. })));
    let zip = world.put("application/zip", &json!({}));
    assert!(matches!(world.build(&zip), Err(ClosureError::MediaType { .. })));
    // Two readers of a duplicate key.
    let twice = Bytes::from(serde_json::to_string(&good).unwrap().replacen('{', "{\"layers\":[],", 1));
    let error = Document::read(&twice, Some(OCI_MANIFEST), None).unwrap_err();
    assert!(matches!(error, ClosureError::Json { source: JsonError::DuplicateKey { .. }, .. }));
    // Without its own media type, the sender must say it.
    let mut bare = good.clone();
    bare.as_object_mut().unwrap().remove("mediaType");
    assert!(matches!(Document::read(&bytes(&bare), None, None), Err(ClosureError::NoMediaType { .. })));
    let header = format!("{OCI_MANIFEST}; charset=utf-8");
    assert!(Document::read(&bytes(&bare), Some(&header), None).is_ok());
    assert!(Document::read(&bytes(&bare), Some(&header), Some(DOCKER_MANIFEST)).is_err());
}

#[test]
fn an_artifact_is_not_an_image() {
    let mut world = World::default();
    let config = world.put(OCI_EMPTY, &json!({}));
    let artifact = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [] });
    let artifact = world.put(OCI_MANIFEST, &artifact);
    assert!(matches!(world.build(&artifact), Err(ClosureError::NotAnImage { .. })));
}

#[test]
fn a_descriptor_that_lies_about_size_or_type_is_refused() {
    let mut world = World::default();
    let honest = on(world.image("linux", "amd64", "a"), "linux", "amd64");
    let mut size = honest.clone();
    size["size"] = 1.into();
    let mut media_type = honest.clone();
    media_type["mediaType"] = DOCKER_MANIFEST.into();
    for children in [vec![size.clone()], vec![honest.clone(), size.clone()], vec![size, honest.clone()]] {
        let root = world.index(&children);
        assert!(matches!(world.build(&root), Err(ClosureError::SizeMismatch { .. })));
    }
    for children in [vec![media_type.clone()], vec![honest, media_type]] {
        let root = world.index(&children);
        assert!(matches!(world.build(&root), Err(ClosureError::MediaTypesDisagree { .. })));
    }
}

/// A random tree: each number makes a leaf, each list an index.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(u8),
    Index(Vec<Tree>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = any::<u8>().prop_map(Tree::Leaf);
    let tree =
        leaf.prop_recursive(3, 24, 5, |inner| prop::collection::vec(inner, 1..5).prop_map(Tree::Index));
    prop::collection::vec(tree, 1..4).prop_map(Tree::Index)
}

fn grow(world: &mut World, tree: &Tree, leaves: &mut BTreeSet<Digest>) -> Value {
    match tree {
        Tree::Leaf(salt) => {
            let image = on(world.image("linux", "amd64", &salt.to_string()), "linux", "amd64");
            leaves.insert(digest(&image));
            image
        }
        Tree::Index(children) => {
            let children: Vec<Value> = children.iter().map(|child| grow(world, child, leaves)).collect();
            world.index(&children)
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, header: Option<String>) {
        let mut builder = Builder::new(Digest::of(&bytes), Limits::default());
        let _ = builder.feed(Digest::of(&bytes), header.as_deref(), bytes.clone().into());
        let _ = builder.feed(Digest::of(&bytes), Some(OCI_INDEX), bytes.into());
        let _ = builder.finish();
    }

    #[test]
    fn a_random_tree_of_indexes_is_read_whole(tree in tree()) {
        let (mut world, mut leaves) = (World::default(), BTreeSet::new());
        let root = grow(&mut world, &tree, &mut leaves);
        let closure = world.build(&root).unwrap();
        prop_assert_eq!(closure.platforms().map(|(digest, _)| digest).collect::<BTreeSet<_>>(), leaves);
        let mut written = BTreeSet::new();
        for manifest in closure.manifests() {
            prop_assert_eq!(Digest::of(&manifest.bytes), manifest.digest);
            let document = Document::read(&manifest.bytes, None, None).unwrap();
            prop_assert!(document.children().iter().all(|child| written.contains(&child.digest)));
            written.insert(manifest.digest);
        }
        prop_assert!(written.contains(&closure.root()));
    }

    #[test]
    fn a2_any_flipped_byte_is_refused(tree in tree(), which: prop::sample::Index, at: prop::sample::Index) {
        let mut world = World::default();
        let root = grow(&mut world, &tree, &mut BTreeSet::new());
        let reached: Vec<Digest> = world.build(&root).unwrap().manifests().map(|m| m.digest).collect();
        let (_, content) = world.0.get_mut(which.get(&reached)).unwrap();
        let mut changed = content.to_vec();
        *at.get_mut(&mut changed) ^= 1;
        *content = changed.into();
        prop_assert!(matches!(world.build(&root), Err(ClosureError::DigestMismatch { .. })), "was accepted");
    }
}
