#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("commit"), |input: &[u8]| targets::commit(input));
