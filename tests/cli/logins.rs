//! Which login files are read.

use std::os::unix::fs::PermissionsExt;

use crate::cli::Yard;
use crate::registry::{Behaviour, Fake, Login};
use serde_json::json;

/// What a pull request can put into the working folder is neither a login nor a program to run.
#[test]
fn f9_a_docker_config_of_the_working_folder_is_not_read() {
    let fake = Fake::with(Behaviour { login: Login::Basic, ..Behaviour::default() });
    let (yard, home) = (Yard::new(), tempfile::tempdir().unwrap());
    let marker = yard.path("it-was-run");
    yard.write("docker-credential-evil", format!("#!/bin/sh\n: > '{}'\nexit 1\n", marker.display()));
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(yard.path("docker-credential-evil"), executable).unwrap();
    let evil = json!({ "credsStore": "evil", "credHelpers": { fake.host(): "evil" } }).to_string();
    for folder in [".docker", ".config/containers", "containers"] {
        std::fs::create_dir_all(yard.path(folder)).unwrap();
    }
    for file in
        ["config.json", ".dockercfg", ".docker/config.json", "auth.json", ".config/containers/auth.json"]
    {
        yard.write(file, &evil);
    }
    yard.write("containers/auth.json", &evil);
    let image = format!("{}/shop:1", fake.host());
    let ask = |docker_config: &str| {
        let mut command = yard.command(["check", &image, "--to", "staging", "--service", "shop"]);
        command.env("HOME", home.path()).env("PATH", yard.path("")).env("DOCKER_CONFIG", docker_config);
        // Relative ones would be looked for here.
        command.env("REGISTRY_AUTH_FILE", "auth.json").env("XDG_RUNTIME_DIR", ".");
        command.output().unwrap()
    };
    let here = ask(".docker");
    let said = String::from_utf8(here.stderr).unwrap();
    assert_eq!(here.status.code(), Some(3), "{said}");
    assert!(said.contains("401") && said.contains("log in with `docker login"), "{said}");
    assert!(!marker.exists(), "a helper that the working folder names was run");
    assert!(fake.log().iter().all(|asked| asked.authorization.is_none()));
    // Named whole, by whoever runs it, it is his own.
    let own = ask(yard.path(".docker").to_str().unwrap());
    assert_eq!(own.status.code(), Some(3));
    assert!(marker.exists(), "{}", String::from_utf8_lossy(&own.stderr));
}
