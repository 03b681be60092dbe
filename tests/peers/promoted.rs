//! Promoted by samebits, verified by cosign 2 and 3.

use crate::cosign::{Bench, Format, PASSWORD, PROVENANCE, SUMMARY, Version};

#[test]
fn what_samebits_copies_both_cosigns_believe() {
    let Some(bench) = Bench::open(&["cosign", "cosign2"]) else { return };
    for writer in Version::ALL {
        for format in Format::ALL {
            let image = bench.push(&format!("{writer:?} {format:?}"));
            bench.cosign(writer).sign(&image, "cosign-build", format);
            bench.cosign(writer).attest(&image, "cosign-build", "main", format);
            bench.promote(&image).exits(0);
            let staged = bench.staged(&image);
            for reader in Version::ALL {
                let cosign = bench.cosign(reader);
                let what = [format.flag()];
                cosign.read("verify", &what, &image, "build").unwrap();
                // Where there is any bundle, as ours, cosign 2.6 sees no tags, whatever it is told.
                if (reader, format) == (Version::V2, Format::Tags) {
                    cosign.read("verify", &what, &staged, "build").unwrap_err();
                    cosign.attested(&staged, "release", SUMMARY).unwrap();
                    continue;
                }
                let attestation = ["--type", PROVENANCE, format.flag()];
                cosign.read("verify", &what, &staged, "build").unwrap();
                cosign.read("verify", &what, &staged, "production").unwrap_err();
                cosign.read("verify-attestation", &attestation, &staged, "build").unwrap();
                cosign.read("verify-attestation", &attestation, &staged, "production").unwrap_err();
            }
        }
    }
}

#[test]
fn an_encrypted_key_of_cosigns_promotes_and_both_cosigns_believe_it() {
    let Some(bench) = Bench::open(&["cosign", "cosign2"]) else { return };
    for version in Version::ALL {
        let prefix = format!("own-{}", version.program());
        bench.cosign(version).run(&["generate-key-pair", "--output-key-prefix", &prefix]).unwrap();
        let public = bench.yard.read(&format!("{prefix}.pub"));
        bench.yard.write("keys/release.pub", public);
        let image = bench.push(version.program());
        bench.cosign(version).sign(&image, "cosign-build", Format::Tags);
        bench.cosign(version).attest(&image, "cosign-build", "main", Format::Tags);
        let key = format!("{prefix}.key");
        let promote = |password: &str| {
            let arguments = ["promote", &image.to_string(), "--to", "staging", "--key", &key];
            let mut command = bench.yard.command(arguments);
            crate::cli::ran(command.env("COSIGN_PASSWORD", password))
        };
        promote("not it").exits(2);
        promote(PASSWORD).exits(0);
        let staged = bench.staged(&image);
        for reader in Version::ALL {
            let cosign = bench.cosign(reader);
            let what = ["--type", SUMMARY, Format::Bundle.flag()];
            cosign.read("verify-attestation", &what, &staged, "release").unwrap();
            cosign.read("verify-attestation", &what, &staged, "build").unwrap_err();
        }
    }
}
