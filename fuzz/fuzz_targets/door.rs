//! Any bytes as the body of a request: parsed, validated, put into a block and taken out again. What was accepted must be what
//! was sent, and the reader must agree with `serde_json` about what is JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../schemas/tests/schemas/oracle.rs"]
mod oracle;

fuzz_target!(|body: &[u8]| {
    oracle::check(body);
});
