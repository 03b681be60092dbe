//! What the tests share.

pub mod registry;
