//! Both sides talk to each other, without a network: capulet.example has connected to montague.example.

use super::initiating::{self, Failure, Goal, Initiating};
use super::receiving::{self, Judge, MAX_PENDING, Question, Receiving};
use super::*;
use crate::error::StanzaError;
use crate::jid::BareJid;
use crate::stanza::Stanza;
use crate::stream::sm;
use crate::xml::{Frame, Framer, StreamContext};

/// What montague.example knows.
#[derive(Clone, Default)]
struct World {
    certified: Vec<&'static str>,
    denied: Vec<&'static str>,
}

impl Judge for World {
    fn serves(&self, domain: &str) -> bool {
        ["montague.example", "mantua.example"].contains(&domain)
    }

    fn welcomes(&self, domain: &str) -> bool {
        !self.serves(domain) && !self.denied.contains(&domain)
    }

    fn certifies(&self, domain: &str) -> bool {
        self.certified.contains(&domain)
    }
}

fn pair(from: &str, to: &str) -> Pair {
    let jid = |text| BareJid::parse(text).unwrap();
    Pair {
        from: jid(from),
        to: jid(to),
    }
}

fn ours() -> Pair {
    pair("capulet.example", "montague.example")
}

fn secret(of: &str) -> KeySecret {
    KeySecret::new(of.as_bytes())
}

/// How one meeting went.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Ready { managed: bool },
    Verified(Verdict),
    Failed(Failure),
}

struct Meeting {
    there: Initiating,
    here: Receiving,
    world: World,
    /// What the authoritative server says of keys.
    verdict: Verdict,
    trusted: bool,
    said_here: String,
}

impl Meeting {
    fn new(world: World, dialback_there: bool, dialback_here: bool, goal: Goal) -> Meeting {
        let policy = initiating::Policy {
            dialback: dialback_there,
            secret: secret("capulet"),
        };
        let there = Initiating::new(ours(), goal, policy);
        let policy = receiving::Policy {
            dialback: dialback_here,
            secret: secret("montague"),
        };
        let mut count = 0;
        let ids = Box::new(move || {
            count += 1;
            format!("id{count}")
        });
        // Before TLS there is no certificate.
        let here = Receiving::new(policy, Box::new(World::default()), false, ids);
        Meeting {
            there,
            here,
            world,
            verdict: Verdict::Valid,
            trusted: true,
            said_here: String::new(),
        }
    }

    fn run(&mut self) -> Outcome {
        let mut to_here = self.there.start().send.concat();
        loop {
            let to_there = self.hear(&to_here);
            self.said_here
                .push_str(std::str::from_utf8(&to_there).unwrap());
            assert!(!to_there.is_empty(), "both wait: {}", self.said_here);
            to_here.clear();
            let mut rest = &to_there[..];
            let mut framer = Framer::new();
            while let Some((piece, is_open)) = next(&mut framer, &mut rest) {
                let step = match is_open {
                    Some(true) => self.there.stream_open(piece),
                    Some(false) => self.there.element(piece),
                    None => self.there.stream_close(),
                };
                to_here.extend(step.send.concat());
                match step.next {
                    initiating::Next::Read => {}
                    initiating::Next::Restart => framer = Framer::new(),
                    initiating::Next::StartTls => {
                        self.there.secured(self.trusted);
                        self.here.secured(Box::new(self.world.clone()));
                        to_here.extend(self.there.start().send.concat());
                        framer = Framer::new();
                    }
                    initiating::Next::Ready { managed } => {
                        self.hear(&to_here);
                        return Outcome::Ready { managed };
                    }
                    initiating::Next::Verified(verdict) => return Outcome::Verified(verdict),
                    initiating::Next::Fail(failure) => return Outcome::Failed(failure),
                }
            }
        }
    }

    /// What the receiving side answers.
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (mut rest, mut said) = (bytes, Vec::new());
        let mut framer = Framer::new();
        while let Some((piece, is_open)) = next(&mut framer, &mut rest) {
            let step = match is_open {
                Some(true) => self.here.stream_open(piece),
                Some(false) => self.here.element(piece),
                None => self.here.stream_close(),
            };
            said.extend(step.send.concat());
            if let receiving::Next::Verify(Question { pair, key, id }) = step.next {
                assert!(secret("capulet").made(&key, &pair, &id));
                let step = self.here.verified(&pair, self.verdict.clone());
                said.extend(step.send.concat());
            }
        }
        said
    }
}

/// The next piece: a header, an element or the end. Every batch here begins where a framer may begin.
fn next<'a>(framer: &mut Framer, rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<bool>)> {
    if framer_is_at_element(rest) && *rest != b"</stream:stream>" {
        // A fresh framer wants a header first.
        let end = element_end(rest);
        let (piece, after) = rest.split_at(end);
        *rest = after;
        return Some((piece, Some(false)));
    }
    if *rest == b"</stream:stream>" {
        *rest = b"";
        return Some((b"", None));
    }
    match framer.push(rest, &Limits::default()).unwrap() {
        Frame::StreamOpen(n) => {
            let (piece, after) = rest.split_at(n);
            *rest = after;
            *framer = Framer::new();
            Some((piece, Some(true)))
        }
        _ => None,
    }
}

fn framer_is_at_element(rest: &[u8]) -> bool {
    !rest.is_empty() && !rest.starts_with(b"<?xml")
}

fn element_end(rest: &[u8]) -> usize {
    let mut framer = Framer::new();
    let header = b"<stream:stream>";
    let whole = [header, rest].concat();
    let Frame::StreamOpen(n) = framer.push(&whole, &Limits::default()).unwrap() else {
        panic!("no header")
    };
    match framer.push(&whole[n..], &Limits::default()).unwrap() {
        Frame::Element(n) => n,
        other => panic!("{other:?} in {}", String::from_utf8_lossy(rest)),
    }
}

fn stanza(from: &str, to: &str) -> Stanza {
    let xml = format!("<message from='{from}' to='{to}'/>");
    Stanza::parse(xml.as_bytes(), &Limits::default(), &StreamContext::client()).unwrap()
}

fn certified() -> World {
    World {
        certified: vec!["capulet.example"],
        ..World::default()
    }
}

#[test]
fn a_certificate_opens_the_stream_to_all_our_domains() {
    let mut meeting = Meeting::new(certified(), false, false, Goal::Stanzas);
    assert_eq!(meeting.run(), Outcome::Ready { managed: true });
    assert!(!meeting.said_here.contains("db:result"));
    let here = &meeting.here;
    let admitted = |from, to| {
        here.admits(&stanza(from, to))
            .map_err(|error| error.condition)
    };
    assert_eq!(
        admitted("juliet@capulet.example", "romeo@montague.example"),
        Ok(())
    );
    assert_eq!(
        admitted("capulet.example", "romeo@mantua.example/x"),
        Ok(())
    );
    assert_eq!(
        admitted("paris@verona.example", "romeo@montague.example"),
        Err(StreamCondition::InvalidFrom)
    );
    assert_eq!(
        admitted("romeo@montague.example", "romeo@montague.example"),
        Err(StreamCondition::InvalidFrom)
    );
    assert_eq!(
        admitted("juliet@capulet.example", "paris@verona.example"),
        Err(StreamCondition::HostUnknown)
    );
    let mut bare = stanza("juliet@capulet.example", "romeo@montague.example");
    bare.to = None;
    let refused = here.admits(&bare).unwrap_err();
    assert_eq!(refused.condition, StreamCondition::ImproperAddressing);
}

#[test]
fn a_key_opens_the_stream_to_one_domain_where_there_is_no_certificate() {
    let mut meeting = Meeting::new(World::default(), true, true, Goal::Stanzas);
    meeting.trusted = false;
    assert_eq!(meeting.run(), Outcome::Ready { managed: true });
    let admitted = |to| meeting.here.admits(&stanza("capulet.example", to));
    assert_eq!(admitted("montague.example"), Ok(()));
    // The pair is what was proved.
    let refused = admitted("mantua.example").unwrap_err();
    assert_eq!(refused.condition, StreamCondition::InvalidFrom);
}

#[test]
fn what_cannot_be_proved_comes_to_nothing() {
    let cases = [
        (false, true, true, Verdict::Valid, Failure::NoProof),
        (
            true,
            false,
            true,
            Verdict::Valid,
            Failure::Unverified("not-authorized"),
        ),
        (true, true, true, Verdict::Invalid, Failure::Disbelieved),
        (
            true,
            true,
            true,
            Verdict::Error(Box::new(StanzaError::remote_server_timeout())),
            Failure::Unverified("remote-server-timeout"),
        ),
        (false, true, false, Verdict::Valid, Failure::Untrusted),
    ];
    for (there, here, trusted, verdict, failure) in cases {
        let mut meeting = Meeting::new(World::default(), there, here, Goal::Stanzas);
        (meeting.verdict, meeting.trusted) = (verdict, trusted);
        assert_eq!(meeting.run(), Outcome::Failed(failure));
        assert!(!meeting.here.is_proven());
        let refused = meeting
            .here
            .admits(&stanza("capulet.example", "montague.example"));
        assert_eq!(
            refused.unwrap_err().condition,
            StreamCondition::NotAuthorized
        );
    }
}

#[test]
fn a_server_that_is_not_welcome_is_told_so_at_its_header() {
    let world = World {
        denied: vec!["capulet.example"],
        ..World::default()
    };
    let mut meeting = Meeting::new(world, true, true, Goal::Stanzas);
    let ended = Failure::Ended(Some(StreamCondition::PolicyViolation));
    assert_eq!(meeting.run(), Outcome::Failed(ended));
}

#[test]
fn a_question_is_answered_without_a_proof() {
    let made = secret("montague").key(&ours().reversed(), "s1");
    for (key, verdict) in [
        (made.as_str(), Verdict::Valid),
        ("forged", Verdict::Invalid),
    ] {
        // capulet.example asks montague.example whether it made this key.
        let question = Question {
            pair: ours(),
            id: "s1".to_owned(),
            key: key.to_owned(),
        };
        let mut meeting = Meeting::new(World::default(), true, true, Goal::Verification(question));
        assert_eq!(meeting.run(), Outcome::Verified(verdict));
        assert!(!meeting.here.is_proven());
    }
}

fn opened(world: World, secure: bool) -> Receiving {
    let policy = receiving::Policy {
        dialback: true,
        secret: secret("montague"),
    };
    let ids = Box::new(|| "id".to_owned());
    let mut here = Receiving::new(policy, Box::new(world), secure, ids);
    let step = here.stream_open(
        b"<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
          xmlns:stream='http://etherx.jabber.org/streams' from='capulet.example' \
          to='montague.example' version='1.0'>",
    );
    assert_eq!(step.error, None);
    here
}

#[test]
fn keys_wait_in_bounded_number_and_more_domains_can_follow() {
    let mut here = opened(World::default(), true);
    let claim = |number: usize| {
        let pair = pair(&format!("c{number}.example"), "montague.example");
        let key = "k".to_owned();
        Dialback::Claim { pair, key }.to_bytes()
    };
    for number in 0..MAX_PENDING {
        let step = here.element(&claim(number));
        assert!(matches!(step.next, receiving::Next::Verify(_)), "{number}");
    }
    let step = here.element(&claim(MAX_PENDING));
    assert!(String::from_utf8_lossy(&step.send.concat()).contains("resource-constraint"));
    here.verified(&pair("c0.example", "montague.example"), Verdict::Valid);
    assert!(here.speaks_for("c0.example") && !here.speaks_for("c1.example"));
    // An answer to nothing that was claimed proves nothing.
    here.verified(&pair("c99.example", "montague.example"), Verdict::Valid);
    assert!(!here.speaks_for("c99.example"));
}

#[test]
fn a_certificate_spares_the_call_back() {
    let mut here = opened(certified(), true);
    let key = "anything".to_owned();
    let step = here.element(&Dialback::Claim { pair: ours(), key }.to_bytes());
    assert_eq!(step.next, receiving::Next::Read);
    assert!(String::from_utf8_lossy(&step.send.concat()).contains("type='valid'"));
    assert!(here.speaks_for("capulet.example"));
}

#[test]
fn nothing_is_proved_or_asked_without_tls() {
    let key = "k".to_owned();
    for bytes in [
        Dialback::Claim { pair: ours(), key }.to_bytes(),
        b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>".to_vec(),
    ] {
        let mut here = opened(certified(), false);
        let step = here.element(&bytes);
        assert_eq!(step.error, Some(StreamCondition::NotAuthorized));
    }
}

#[test]
fn external_is_for_whom_the_certificate_names() {
    let auth = |authzid: &str| {
        format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>{authzid}</auth>"
        )
    };
    // verona.example, capulet.example
    for (authzid, proven) in [
        ("dmVyb25hLmV4YW1wbGU=", false),
        ("Y2FwdWxldC5leGFtcGxl", true),
        ("=", true),
    ] {
        let world = World {
            certified: vec!["capulet.example", "verona.example"],
            ..World::default()
        };
        let mut here = opened(world, true);
        let step = here.element(auth(authzid).as_bytes());
        assert_eq!(step.next == receiving::Next::Restart, proven, "{authzid}");
        assert_eq!(here.is_proven(), proven);
    }
    let mut here = opened(World::default(), true);
    for _ in 0..2 {
        assert_eq!(here.element(auth("=").as_bytes()).error, None);
    }
    let step = here.element(auth("=").as_bytes());
    assert_eq!(step.error, Some(StreamCondition::PolicyViolation));
}

#[test]
fn headers_that_are_not_those_of_servers_are_refused() {
    let header = |attributes: &str| {
        format!(
            "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' {attributes}>"
        )
    };
    for (bytes, condition) in [
        (
            header("to='montague.example'"),
            StreamCondition::UnsupportedVersion,
        ),
        (header("version='1.0'"), StreamCondition::ImproperAddressing),
        (
            header("version='1.0' to='verona.example'"),
            StreamCondition::HostUnknown,
        ),
        (
            header("version='1.0' to='montague.example' from='a@b'"),
            StreamCondition::InvalidFrom,
        ),
        (
            header("version='1.0' to='montague.example'").replace("jabber:server", "jabber:client"),
            StreamCondition::InvalidNamespace,
        ),
    ] {
        let policy = receiving::Policy {
            dialback: true,
            secret: secret("montague"),
        };
        let ids = Box::new(|| "id".to_owned());
        let mut here = Receiving::new(policy, Box::new(World::default()), true, ids);
        let step = here.stream_open(bytes.as_bytes());
        assert_eq!(step.error, Some(condition), "{bytes}");
        assert!(step.send.concat().starts_with(b"<?xml"));
    }
}

#[test]
fn acknowledgements_are_for_whoever_has_proved_itself_and_asked() {
    let mut here = opened(certified(), true);
    let key = "k".to_owned();
    here.element(&Dialback::Claim { pair: ours(), key }.to_bytes());
    let step = here.element(b"<enable xmlns='urn:xmpp:sm:3'/>");
    assert_eq!(step.next, receiving::Next::Managed);
    assert_eq!(step.send.concat(), b"<enabled xmlns='urn:xmpp:sm:3'/>");
    let step = here.element(b"<r xmlns='urn:xmpp:sm:3'/>");
    assert_eq!(step.next, receiving::Next::Manage(sm::Nonza::Request));
    let step = here.element(b"<enable xmlns='urn:xmpp:sm:3'/>");
    assert!(String::from_utf8_lossy(&step.send.concat()).contains("unexpected-request"));
}
