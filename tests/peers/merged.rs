//! Cosign's older tags where both sides have evidence: merged by samebits, believed and appended to by cosign.

use samebits::reference::Image;

use crate::cosign::{Bench, Format, PROVENANCE, Version};

#[test]
fn d11_both_cosigns_see_both_signatures_after_a_merge_and_cosign_2_appends_a_third() {
    let Some(bench) = Bench::open(&["cosign", "cosign2"]) else { return };
    for writer in Version::ALL {
        let image = bench.push(&format!("{writer:?}"));
        let cosign = bench.cosign(writer);
        cosign.sign(&image, "cosign-build", Format::Tags);
        cosign.attest(&image, "cosign-build", "main", Format::Tags);
        // 1. The image alone, and what somebody else says of it there.
        let mirror = format!("{}/mirror/shop", bench.registry.host());
        bench.yard.run(["copy", &image.to_string(), &mirror, "--no-referrers"]).exits(0);
        let there = Image::new(mirror.parse().unwrap(), image.digest);
        cosign.sign(&there, "cosign-release", Format::Tags);
        cosign.attest(&there, "cosign-release", "main", Format::Tags);
        let believes = |reader: Version, role: &str| {
            let (cosign, flag) = (bench.cosign(reader), Format::Tags.flag());
            let signed = cosign.read("verify", &[flag], &there, role).is_ok();
            let attested =
                cosign.read("verify-attestation", &["--type", PROVENANCE, flag], &there, role).is_ok();
            (signed, attested)
        };
        for reader in Version::ALL {
            assert_eq!(believes(reader, "release"), (true, true));
            assert_eq!(believes(reader, "build"), (false, false));
        }
        // 2. What refers to it comes along, behind that; once.
        for _ in 0..2 {
            let ran = bench.yard.run(["copy", &image.to_string(), &mirror, "-o", "json"]).exits(0).json();
            assert!(!ran["notes"].to_string().contains("left as it is"), "{ran:#}");
            for reader in Version::ALL {
                assert_eq!(believes(reader, "release"), (true, true), "{writer:?} {reader:?}");
                assert_eq!(believes(reader, "build"), (true, true), "{writer:?} {reader:?}");
                assert_eq!(believes(reader, "production"), (false, false));
            }
        }
        // 3. Cosign takes what samebits wrote for its own, and adds to it.
        cosign.sign(&there, "cosign-production", Format::Tags);
        cosign.attest(&there, "cosign-production", "main", Format::Tags);
        for reader in Version::ALL {
            for role in ["release", "build", "production"] {
                assert_eq!(believes(reader, role), (true, true), "{writer:?} {reader:?} {role}");
            }
        }
    }
}
