#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| netdig_fuzz::checks::application(data));
