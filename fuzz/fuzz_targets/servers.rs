//! Whatever another server says, on a stream of its own or on one of ours: we answer, end the stream or wait, and believe
//! nobody whom neither a certificate nor an answer has proved. The first byte of an input is the circumstances.
#![no_main]

use libfuzzer_sys::fuzz_target;
use posthaste_proto::error::StreamError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::stream::s2s::initiating::{self, Goal, Initiating};
use posthaste_proto::stream::s2s::receiving::{self, Judge, Receiving};
use posthaste_proto::stream::s2s::{KeySecret, Pair, Verdict};
use posthaste_proto::xml::{Frame, Framer, Limits};

/// Montague.example, where somebody says to be capulet.example.
struct Montague {
    certified: bool,
}

impl Judge for Montague {
    fn serves(&self, domain: &str) -> bool {
        domain == "montague.example"
    }

    fn welcomes(&self, domain: &str) -> bool {
        !self.serves(domain)
    }

    fn certifies(&self, domain: &str) -> bool {
        self.certified && domain == "capulet.example"
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, said @ ..] = input else { return };
    if choice & 1 == 0 {
        receive(*choice, said);
    } else {
        initiate(*choice, said);
    }
});

/// What stands next in the stream.
enum Piece<'a> {
    Open(&'a [u8]),
    Element(&'a [u8]),
    Close,
    Bad(StreamError),
}

fn next<'a>(framer: &mut Framer, unread: &mut &'a [u8]) -> Option<Piece<'a>> {
    loop {
        let (piece, length) = match framer.push(unread, &Limits::default()) {
            Err(error) => (Piece::Bad(error.into()), unread.len()),
            Ok(Frame::Incomplete) => return None,
            Ok(Frame::Whitespace(n)) => {
                *unread = &unread[n..];
                continue;
            }
            Ok(Frame::StreamOpen(n)) => (Piece::Open(&unread[..n]), n),
            Ok(Frame::Element(n)) => (Piece::Element(&unread[..n]), n),
            Ok(Frame::StreamClose(n)) => (Piece::Close, n),
        };
        *unread = &unread[length..];
        return Some(piece);
    }
}

fn receive(choice: u8, mut unread: &[u8]) {
    let certified = choice & 2 != 0;
    let verdict = match choice & 4 {
        0 => Verdict::Invalid,
        _ => Verdict::Valid,
    };
    let may_believe = certified || verdict == Verdict::Valid;
    let policy = receiving::Policy {
        dialback: choice & 8 == 0,
        secret: KeySecret::new(b"montague"),
    };
    let secure = choice & 16 == 0;
    let judge = |certified| Box::new(Montague { certified });
    let ids = Box::new(|| "stream-id".to_owned());
    let mut server = Receiving::new(policy, judge(certified && secure), secure, ids);
    let mut framer = Framer::new();
    while let Some(piece) = next(&mut framer, &mut unread) {
        let step = match piece {
            Piece::Open(bytes) => server.stream_open(bytes),
            Piece::Element(bytes) => server.element(bytes),
            Piece::Close => server.stream_close(),
            Piece::Bad(error) => server.fail(error),
        };
        match step.next {
            receiving::Next::Read
            | receiving::Next::Managed
            | receiving::Next::Manage(_) => {}
            receiving::Next::Restart => framer = Framer::new(),
            receiving::Next::StartTls => {
                server.secured(judge(certified));
                framer = Framer::new();
            }
            receiving::Next::Verify(question) => {
                server.verified(&question.pair, verdict.clone());
            }
            receiving::Next::Close => return,
        }
        assert!(may_believe || !server.is_proven(), "believed without a proof");
        assert!(!server.speaks_for("montague.example"), "somebody speaks for us");
    }
}

fn initiate(choice: u8, mut unread: &[u8]) {
    let domain = |text| BareJid::parse(text).expect("it is an address");
    let pair = Pair {
        from: domain("montague.example"),
        to: domain("capulet.example"),
    };
    let policy = initiating::Policy {
        dialback: choice & 8 == 0,
        secret: KeySecret::new(b"montague"),
    };
    let mut server = Initiating::new(pair, Goal::Stanzas, policy);
    server.start();
    let mut framer = Framer::new();
    while let Some(piece) = next(&mut framer, &mut unread) {
        let step = match piece {
            Piece::Open(bytes) => server.stream_open(bytes),
            Piece::Element(bytes) => server.element(bytes),
            Piece::Close => server.stream_close(),
            Piece::Bad(_) => return,
        };
        match step.next {
            initiating::Next::Read => {}
            initiating::Next::Restart => framer = Framer::new(),
            initiating::Next::StartTls => {
                server.secured(choice & 2 != 0);
                server.start();
                framer = Framer::new();
            }
            initiating::Next::Ready { .. }
            | initiating::Next::Verified(_)
            | initiating::Next::Fail(_) => return,
        }
    }
}
