//! How long a message takes from bytes to stanza and back, beside rxml on the same input.
//!
//! Run it with `cargo run --release -p posthaste-proto --example parse_speed`. On a busy machine read the ratios.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a developer's terminal"
)]

use std::hint::black_box;
use std::time::Instant;

use posthaste_proto::jid::Jid;
use posthaste_proto::stanza::{Stanza, StreamContext};
use posthaste_proto::xml::{Element, Frame, Framer, Limits};
use rxml::Parse;

const MESSAGE: &[u8] =
    b"<message to='romeo.montague@capulet.example/orchard' id='7f2c1a90-93aa-4d1c-b2a4-000000000042' \
    type='chat' xml:lang='en'><body>But soft! What light through yonder window breaks &amp; shines?</body>\
    <request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='7f2c1a90-93aa-4d1c-b2a4-000000000042'/>\
    <active xmlns='http://jabber.org/protocol/chatstates'/></message>";
const HEADER: &[u8] =
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// Stanzas per run (few, to fit between two interruptions), and runs of which the least disturbed counts.
const STANZAS: u32 = 100;
const RUNS: usize = 500;

fn main() {
    let limits = Limits::default();
    let context = StreamContext::client();
    let stanza = Stanza::parse(MESSAGE, &limits, &context).unwrap();
    let stream = [HEADER, &MESSAGE.repeat(STANZAS as usize)].concat();
    let oracle = measure(|| rxml_stream(&stream));
    println!(
        "{} bytes per message, least disturbed of {RUNS} runs of {STANZAS}",
        MESSAGE.len()
    );
    let report =
        |what: &str, ns: f64| println!("{what:<28}{ns:>8.0} ns/stanza{:>8.3} of rxml", ns / oracle);
    report("rxml", oracle);
    report("frame", measure(|| frame(&limits)));
    report(
        "parse",
        measure(|| repeat(|| Stanza::parse(black_box(MESSAGE), &limits, &context))),
    );
    report("frame, parse, encode", measure(|| road(&limits, &context)));
    let mut out = Vec::with_capacity(1024);
    report(
        "encode",
        measure(|| {
            repeat(|| {
                out.clear();
                black_box(&stanza).encode_into(&mut out);
            });
        }),
    );
    report("clone", measure(|| repeat(|| black_box(&stanza).clone())));
    report(
        "JID",
        measure(|| repeat(|| Jid::parse(black_box("romeo.montague@capulet.example/orchard")))),
    );
    report(
        "Element (tree)",
        measure(|| repeat(|| Element::parse_in(black_box(MESSAGE), &limits, &context))),
    );
}

/// Nanoseconds per stanza of a run over [`STANZAS`] of them.
fn measure(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64() * 1e9 / f64::from(STANZAS)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[0]
}

fn repeat<T>(mut once: impl FnMut() -> T) {
    for _ in 0..STANZAS {
        black_box(once());
    }
}

/// As a connection reads them: 4 KiB at a time.
fn rxml_stream(stream: &[u8]) {
    let mut parser = rxml::Parser::new();
    for mut chunk in stream.chunks(4096) {
        while let Ok(Some(event)) = parser.parse(&mut chunk, false) {
            black_box(event);
        }
    }
}

fn frame(limits: &Limits) {
    let mut framer = Framer::new();
    framer.push(HEADER, limits).unwrap();
    repeat(|| framer.push(black_box(MESSAGE), limits));
}

fn road(limits: &Limits, context: &StreamContext) {
    let mut framer = Framer::new();
    framer.push(HEADER, limits).unwrap();
    let mut out = Vec::with_capacity(1024);
    repeat(|| {
        let Ok(Frame::Element(n)) = framer.push(black_box(MESSAGE), limits) else {
            unreachable!()
        };
        let stanza = Stanza::parse(&MESSAGE[..n], limits, context).unwrap();
        out.clear();
        stanza.encode_into(&mut out);
    });
}
