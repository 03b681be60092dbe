//! Forgeries that must not compile: whoever holds an `Approved`, an `Intent`, a `Record` has it from the one function
//! that vouches for it. Each file in `compile/` is one attempt, with what the compiler (1.95.0) says to it.
//!
//! After a change of the types: `TRYBUILD=overwrite cargo test --test compile`, then read the difference. A message
//! about anything but the forgery itself means that the attempt failed for the wrong reason.

#[test]
fn forgeries_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile/*.rs");
}
