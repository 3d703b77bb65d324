//! Whatever a client says before it has a session: the server answers, ends the stream or waits, within its bounds.
//! The first byte of an input is the server's circumstances.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use posthaste_proto::error::StanzaError;
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::{ChannelBindings, Condition, Failure, Hash, StoredKeys};
use posthaste_proto::stream::server::{
    Answer, Ask, Bound, Host, Negotiation, Next, Policy, Step, TokenVerdict, Transport, Upgrade, Wanted,
};
use posthaste_proto::xml::{Frame, Framer};

fuzz_target!(|input: &[u8]| {
    let [choice, said @ ..] = input else { return };
    let choice = *choice;
    let host = BareJid::parse("capulet.example").expect("it is an address");
    let policy = Arc::new(Policy::new(vec![Host {
        domain: host,
        registration: choice & 1 != 0,
        session_features: Arc::new([]),
    }]));
    let transport = transport(choice);
    if choice & 2 == 0 {
        over_tcp(
            Negotiation::new(policy.clone(), transport, [1; 32]),
            &policy,
            said,
            choice,
        );
    } else {
        let transport = Transport {
            websocket: true,
            ..transport
        };
        let mut negotiation = Negotiation::new(policy, transport, [1; 32]);
        for message in said.split(|byte| *byte == b'\n') {
            let step = negotiation.element(message);
            if !matches!(
                settle(&mut negotiation, step, choice),
                Next::Read | Next::Restart
            ) {
                return;
            }
        }
    }
});

fn transport(choice: u8) -> Transport {
    Transport {
        websocket: false,
        secure: choice & 4 == 0,
        starttls: choice & 4 != 0,
        bindings: ChannelBindings {
            exporter: Some([7; 32]),
            server_end_point: None,
        },
        certified: BareJid::parse("juliet@capulet.example")
            .into_iter()
            .collect(),
    }
}

fn over_tcp(mut negotiation: Negotiation, policy: &Policy, mut unread: &[u8], choice: u8) {
    let mut framer = Framer::new();
    loop {
        let (step, length) = match framer.push(unread, &policy.limits) {
            Err(error) => (negotiation.fail(error.into()), unread.len()),
            Ok(Frame::Incomplete) => return,
            Ok(Frame::Whitespace(n)) => {
                unread = &unread[n..];
                continue;
            }
            Ok(Frame::StreamOpen(n)) => (negotiation.stream_open(&unread[..n]), n),
            Ok(Frame::Element(n)) => (negotiation.element(&unread[..n]), n),
            Ok(Frame::StreamClose(n)) => (negotiation.stream_close(), n),
        };
        unread = &unread[length..];
        match settle(&mut negotiation, step, choice) {
            Next::Read => {}
            Next::Restart => framer = Framer::new(),
            Next::StartTls => {
                negotiation.secured(transport(choice & !4));
                framer = Framer::new();
            }
            Next::Ask(_) | Next::Done(_) | Next::Close => return,
        }
    }
}

/// Answers until there is nothing more to answer.
fn settle(negotiation: &mut Negotiation, mut step: Step, choice: u8) -> Next {
    loop {
        match step.next {
            Next::Ask(ask) => step = negotiation.answer(answer(ask, choice)),
            next => return next,
        }
    }
}

fn answer(ask: Ask, choice: u8) -> Answer {
    let kindly = choice & 8 == 0;
    match ask {
        Ask::Keys { account, hash } => Answer::Keys(Box::new(StoredKeys::fake(
            hash,
            b"secret",
            account.as_str(),
            4096,
        ))),
        Ask::Password { .. } | Ask::Certificate { .. } if choice & 16 != 0 => Answer::Refused(
            Failure::new(Condition::TemporaryAuthFailure, "come back later"),
        ),
        Ask::Password { .. } | Ask::Certificate { .. } => Answer::Verified(kindly),
        Ask::Token(_) => Answer::Token(Box::new(TokenVerdict::Expired)),
        Ask::Failed { .. } | Ask::Upgrade { .. } => Answer::Proceed,
        Ask::Upgrades { wanted, .. } => Answer::Upgrades(wanted.into_iter().map(upgrade).collect()),
        Ask::IssueToken { .. } => Answer::Issued(None),
        Ask::Resume { account, .. } => match account.with_resource("balcony") {
            Ok(jid) if kindly => Answer::Resumed { jid, h: 5 },
            _ => Answer::NotBound(Box::new(StanzaError::not_allowed())),
        },
        Ask::Bind(request) => {
            let resource = match &request.resource {
                Wanted::Any => "any",
                Wanted::Resource(resource) | Wanted::Tag(resource) => resource,
            };
            match request.account.with_resource(resource) {
                Ok(jid) => Answer::Bound(Box::new(Bound {
                    jid,
                    sm: None,
                    extra: Vec::new(),
                })),
                Err(_) => Answer::NotBound(Box::new(StanzaError::bad_request())),
            }
        }
        Ask::Register { .. } if kindly => Answer::Registered(Ok(())),
        Ask::Register { .. } => Answer::Registered(Err(Box::new(StanzaError::conflict()))),
    }
}

fn upgrade(hash: Hash) -> Upgrade {
    Upgrade {
        hash,
        salt: Box::from(*b"pepper"),
        iterations: 1,
    }
}
