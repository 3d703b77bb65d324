//! Whatever comes in a stream: our parser agrees with rxml about every element, and with itself however the bytes
//! are split into reads. The first byte of an input is the size of the reads.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/proto/tests/oracle/mod.rs"]
mod oracle;

fuzz_target!(|input: &[u8]| {
    let [read, xml @ ..] = input else { return };
    oracle::compare(xml);
    let stream = [oracle::HEADER.as_bytes(), xml].concat();
    for stream in [&stream, xml] {
        let whole = oracle::cut(stream, &[stream.len()]);
        assert_eq!(oracle::cut(stream, &[usize::from(*read).max(1)]), whole);
    }
});
