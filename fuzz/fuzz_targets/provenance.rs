#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("provenance"), |input: &[u8]| targets::provenance(input));
