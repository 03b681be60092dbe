//! The same copies in, out of and between registries that other people wrote: Debian's `docker-registry` (no referrers
//! API), `crane registry serve` and olareg. Skipped, aloud, where one is not installed; in CI they have to be.

use super::support::Bench;
use crate::docker_registry::{DockerRegistry, Door};
use crate::served::{Maker, Served};

#[test]
fn b12_everything_arrives_in_three_registries_out_of_them_and_between_them() {
    let (debian, crane, olareg) =
        (DockerRegistry::start(Door::Open), Served::start(Maker::Crane), Served::start(Maker::Olareg));
    let (Some(debian), Some(crane), Some(olareg)) = (debian, crane, olareg) else { return };
    let hosts = [("debian", debian.host()), ("crane", crane.host()), ("olareg", olareg.host())];
    let bench = Bench::new();
    let pushed = bench.push("oci:shop", "hello");
    let digest = pushed.image.digest;
    let copied = |from: &str, to: &str| {
        let ran = bench.copy(&format!("{from}:1"), &format!("{to}:1"), &["-o", "json"]).exits(0).json();
        bench.is_whole(&pushed, to);
        assert_eq!(bench.tagged(to, "1"), Some(digest), "{from} to {to}");
        ran
    };
    // 1. In, out, out into an archive: the same bytes from all of them.
    for (name, host) in &hosts {
        copied("oci:shop", &format!("{host}/shop"));
        copied(&format!("{host}/shop"), &format!("oci:from-{name}"));
        copied(&format!("{host}/shop"), &format!("oci:from-{name}.tar"));
        let archive = |name: &str| std::fs::read(bench.yard.path(&format!("from-{name}.tar"))).unwrap();
        assert_eq!(archive(name), archive("debian"), "{name}");
    }
    // 2. Between them, and within each.
    for (from, here) in &hosts {
        for (to, there) in &hosts {
            let ran = copied(&format!("{here}/shop"), &format!("{there}/mirror/{from}/shop"));
            // Within one registry nothing is sent: all three can mount.
            assert!(from != to || ran["images"][0]["copy"]["bytesCopied"] == 0, "{from}: {ran:#}");
            let again = copied(&format!("{here}/shop"), &format!("{there}/mirror/{from}/shop"));
            assert_eq!(again["images"][0]["copy"]["bytesCopied"], 0, "{from} to {to}: {ran:#} {again:#}");
        }
    }
    // 3. Read by another program, by digest.
    for (name, host) in &hosts {
        let digests = crate::peer::said(
            crate::peer::alone("crane", &bench.yard.path("")).args(["digest", &format!("{host}/shop:1")]),
        );
        assert_eq!(String::from_utf8(digests.unwrap()).unwrap().trim(), digest.to_string(), "{name}");
    }
}
