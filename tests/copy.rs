//! `samebits copy`, the real binary: from registry to registry, to a layout and back, with what refers to the image; what
//! it refuses, and what it leaves when it is killed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/cli.rs"]
#[allow(dead_code, reason = "its users take what they need")]
mod cli;
#[path = "support/cut.rs"]
mod cut;
#[path = "support/docker_registry.rs"]
#[allow(dead_code, reason = "no login here")]
mod docker_registry;
#[path = "support/image.rs"]
mod image;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/proxy.rs"]
#[allow(dead_code, reason = "one fault of many")]
mod proxy;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/served.rs"]
mod served;

mod copy {
    mod again;
    mod archive;
    mod broken;
    mod carried;
    mod closed;
    mod elsewhere;
    mod faulty;
    mod guarded;
    mod killed;
    #[cfg(target_os = "linux")]
    mod memory;
    mod odd;
    mod platforms;
    mod promoted;
    mod read_back;
    mod real;
    mod referrers;
    mod rows;
    mod support;
    mod terminal;
}
