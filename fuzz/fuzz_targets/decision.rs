#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wsgi_fuzz::decision(bytes));
