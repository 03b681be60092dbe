#![no_main]

libfuzzer_sys::fuzz_target!(init: targets::start("certificate_extension"), |input: &[u8]| targets::certificate_extension(input));
