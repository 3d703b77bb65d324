//! Other servers' connections to us: who they are, what they send, and what they are told has arrived.

use std::sync::Arc;
use std::time::Duration;

use posthaste_im::node::Node;
use posthaste_im::router::Envelope;
use posthaste_kv::Ticket;
use posthaste_proto::error::{StreamCondition, StreamError};
use posthaste_proto::ns;
use posthaste_proto::stanza::{Refusal, Stanza, StanzaParseError};
use posthaste_proto::stream::s2s::receiving::{
    Judge, MAX_PENDING, Next, Policy, Question, Receiving, Step,
};
use posthaste_proto::stream::s2s::{Pair, Verdict};
use posthaste_proto::stream::sm;
use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;

use super::{Federation, dial};
use crate::bucket::Bucket;
use crate::channel::{Channel, ChannelError, Received};
use crate::config::ListenerKind;
use crate::shared::Shared;
use crate::stats::count;
use crate::tls::TlsUse;

/// Once we have said that we close, time for the other side to finish what it was saying.
const FAREWELL: Duration = Duration::from_secs(10);

/// Serves one connection to its end.
pub(crate) async fn serve(mut channel: Channel, kind: ListenerKind, federation: Arc<Federation>) {
    let direct = kind == ListenerKind::ServersTls;
    if direct && channel.secure(TlsUse::Server, None).await.is_err() {
        return;
    }
    let shared = Arc::clone(&channel.shared);
    let node = Arc::clone(&shared.node);
    let policy = Policy {
        dialback: federation.config.dialback,
        secret: federation.secret.clone(),
    };
    let judge = Certificate::of(&channel, &federation);
    let ids = Box::new({
        let node = Arc::clone(&node);
        move || node.random_name()
    });
    let (verdicts, verified) = mpsc::channel(MAX_PENDING);
    let visitor = Visitor {
        receiving: Receiving::new(policy, judge, direct, ids),
        channel,
        federation,
        shared,
        verdicts,
        verified,
        bucket: Bucket::default(),
        acks: None,
        proven: false,
        leaving: false,
    };
    Box::pin(visitor.run()).await;
}

/// What is known of one connection's other side.
struct Certificate {
    federation: Arc<Federation>,
    node: Arc<Node>,
    chain: Vec<CertificateDer<'static>>,
}

impl Certificate {
    fn of(channel: &Channel, federation: &Arc<Federation>) -> Box<dyn Judge> {
        let facts = channel.tls.as_ref();
        Box::new(Certificate {
            federation: Arc::clone(federation),
            node: Arc::clone(&channel.shared.node),
            chain: facts
                .map(|facts| facts.server_chain.clone())
                .unwrap_or_default(),
        })
    }
}

impl Judge for Certificate {
    fn serves(&self, domain: &str) -> bool {
        self.node.serves(domain)
    }

    fn welcomes(&self, domain: &str) -> bool {
        !self.node.serves(domain) && self.federation.is_allowed(domain)
    }

    fn certifies(&self, domain: &str) -> bool {
        self.federation.trust.vouches(&self.chain, domain)
    }
}

/// How far we can tell the other side that its stanzas are safe (XEP-0198).
#[derive(Default)]
struct Acks {
    handled: u32,
    /// All that the handled ones wrote is durable with this.
    last: Ticket,
    /// What the other side was asked about and what it is told when that is durable.
    wanted: Option<(Ticket, u32)>,
    /// It has asked again since.
    again: bool,
}

/// Another server's connection.
struct Visitor {
    receiving: Receiving,
    channel: Channel,
    federation: Arc<Federation>,
    shared: Arc<Shared>,
    verdicts: mpsc::Sender<(Pair, Verdict)>,
    verified: mpsc::Receiver<(Pair, Verdict)>,
    bucket: Bucket,
    acks: Option<Acks>,
    proven: bool,
    /// We have closed our side and wait for the other's.
    leaving: bool,
}

/// Why a connection ends.
enum End {
    /// All has been said.
    Said,
    /// There is nobody left to talk to.
    Gone,
}

impl Visitor {
    async fn run(mut self) {
        loop {
            if let Err(end) = self.turn().await {
                return match end {
                    End::Said => self.channel.hang_up().await,
                    End::Gone => {}
                };
            }
        }
    }

    async fn turn(&mut self) -> Result<(), End> {
        let line = self.shared.node.kv().line();
        let wanted = self.acks.as_ref().and_then(|acks| acks.wanted);
        tokio::select! {
            received = self.channel.receive() => match received {
                Ok(Received::Open(bytes)) => {
                    let step = self.receiving.stream_open(&bytes);
                    self.follow(step).await
                }
                Ok(Received::Element(bytes)) => self.element(&bytes).await,
                Ok(Received::Close) if self.leaving => Err(End::Said),
                Ok(Received::Close) => {
                    let step = self.receiving.stream_close();
                    self.follow(step).await
                }
                Err(error) => self.give_up(&error).await,
            },
            Some((pair, verdict)) = self.verified.recv() => {
                let step = self.receiving.verified(&pair, verdict);
                self.follow(step).await
            }
            durable = line.wait(wanted.map_or(Ticket::DURABLE, |(ticket, _)| ticket)), if wanted.is_some() => {
                match durable {
                    Ok(()) => self.acknowledge(),
                    // What was not stored must not be acknowledged, nor anything after it.
                    Err(_) => return self.fail(StreamCondition::InternalServerError.into()).await,
                }
                Ok(())
            }
        }
    }

    /// Does what a step says.
    async fn follow(&mut self, step: Step) -> Result<(), End> {
        if let Some(condition) = step.error {
            self.shared.stats.stream_error(condition.as_str());
            tracing::debug!(
                peer = self.receiving.peer(),
                condition = condition.as_str(),
                "another server's stream is ended"
            );
        }
        for bytes in &step.send {
            self.channel.send(bytes);
        }
        self.note_proof();
        match step.next {
            Next::Read => {}
            Next::Restart => self.channel.restart(),
            Next::StartTls => return self.start_tls().await,
            Next::Verify(question) => self.verify(question),
            Next::Managed => self.acks = Some(Acks::default()),
            Next::Manage(nonza) => self.manage(&nonza),
            Next::Close => return Err(End::Said),
        }
        Ok(())
    }

    fn note_proof(&mut self) {
        if !self.proven && self.receiving.is_proven() {
            self.proven = true;
            self.channel.expect_stanzas();
            self.heard();
            tracing::debug!(
                peer = self.receiving.peer(),
                "another server has proved who it is"
            );
        }
    }

    /// A server that has proved itself may be silent for long; twice as long as we are, so that whoever speaks closes.
    fn heard(&mut self) {
        if self.proven && !self.leaving {
            self.channel.wait_at_most(self.federation.config.idle * 2);
        }
    }

    async fn start_tls(&mut self) -> Result<(), End> {
        let host = self.receiving.host().unwrap_or_default().to_owned();
        let secured = self.channel.start_tls_with_server(&host).await;
        secured.map_err(|_| End::Gone)?;
        let judge = Certificate::of(&self.channel, &self.federation);
        self.receiving.secured(judge);
        Ok(())
    }

    /// Asks the domain's own server, while this stream goes on.
    fn verify(&mut self, question: Question) {
        let (federation, shared) = (Arc::clone(&self.federation), Arc::clone(&self.shared));
        let verdicts = self.verdicts.clone();
        tokio::spawn(async move {
            let pair = question.pair.clone();
            let verdict = dial::verify(&federation, &shared, question).await;
            // There is room for as many as may be asked at once; a stream that is gone needs none.
            let _ = verdicts.send((pair, verdict)).await;
        });
    }

    fn manage(&mut self, nonza: &sm::Nonza) {
        let Some(acks) = &mut self.acks else { return };
        if *nonza != sm::Nonza::Request {
            // We send no stanzas here that could be acknowledged.
            return;
        }
        match acks.wanted {
            // The first question keeps its place, or one who asks all the time would never hear.
            Some(_) => acks.again = true,
            None => acks.wanted = Some((acks.last, acks.handled)),
        }
    }

    fn acknowledge(&mut self) {
        let Some(acks) = &mut self.acks else { return };
        let Some((_, h)) = acks.wanted.take() else {
            return;
        };
        if std::mem::take(&mut acks.again) {
            acks.wanted = Some((acks.last, acks.handled));
        }
        let ack = sm::Nonza::Ack(h).to_element();
        self.channel.send(&ack.to_bytes(ns::SERVER));
    }

    async fn element(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.heard();
        self.pay(bytes.len()).await?;
        let context = self.receiving.context();
        match Stanza::parse(bytes, &self.channel.limits(), context) {
            Ok(stanza) => self.stanza(stanza).await,
            Err(StanzaParseError::NotAStanza) => {
                let step = self.receiving.element(bytes);
                self.follow(step).await
            }
            Err(StanzaParseError::Refused(refusal)) => self.refused(*refusal).await,
            Err(StanzaParseError::Xml(error)) => self.fail(error.into()).await,
        }
    }

    /// Past the speed that one server may have, reading waits.
    async fn pay(&mut self, bytes: usize) -> Result<(), End> {
        let (rate, wheel) = (self.federation.rate, &self.shared.wheel);
        self.bucket.take(rate, wheel.micros(), bytes);
        let wait = self.bucket.wait(rate, wheel.micros());
        if wait.is_zero() {
            return Ok(());
        }
        count(&self.shared.stats.rate_delays, 1);
        let waited = self.channel.bounded(tokio::time::sleep(wait)).await;
        match waited {
            Ok(()) => Ok(()),
            Err(error) => self.give_up(&error).await,
        }
    }

    async fn stanza(&mut self, stanza: Stanza) -> Result<(), End> {
        if let Err(error) = self.receiving.admits(&stanza) {
            return self.fail(error).await;
        }
        count(&self.shared.stats.servers_stanzas_in, 1);
        match self.shared.node.enter(stanza).await {
            Ok(ticket) => {
                self.handled(ticket);
                Ok(())
            }
            Err(error) => self.fail(error).await,
        }
    }

    /// A stanza that cannot be processed: its sender is told, as far as its addresses can be trusted.
    async fn refused(&mut self, refusal: Refusal) -> Result<(), End> {
        if !self.proven {
            return self.fail(StreamCondition::NotAuthorized.into()).await;
        }
        let node = &self.shared.node;
        let may_go = |reply: &Stanza| {
            let is_theirs = reply
                .to
                .as_ref()
                .is_some_and(|to| self.receiving.speaks_for(to.domain()));
            is_theirs
                && reply
                    .from
                    .as_ref()
                    .is_some_and(|from| node.serves(from.domain()))
        };
        let ticket = match refusal.reply.filter(may_go) {
            Some(reply) => node.route(vec![Envelope::new(reply)]).await,
            None => Ticket::DURABLE,
        };
        self.handled(ticket);
        Ok(())
    }

    fn handled(&mut self, ticket: Ticket) {
        if let Some(acks) = &mut self.acks {
            acks.handled = acks.handled.wrapping_add(1);
            acks.last = acks.last.max(ticket);
        }
    }

    async fn fail(&mut self, error: StreamError) -> Result<(), End> {
        let step = self.receiving.fail(error);
        Box::pin(self.follow(step)).await
    }

    /// Nothing more comes, for now or for good.
    async fn give_up(&mut self, error: &ChannelError) -> Result<(), End> {
        if matches!(error, ChannelError::Late) && self.proven && !self.leaving {
            // Not an error: it has been silent for long. What it says before it has heard us still counts.
            self.channel.send(b"</stream:stream>");
            self.leaving = true;
            self.channel.wait_at_most(FAREWELL);
            return Ok(());
        }
        tracing::debug!(peer = self.receiving.peer(), %error, "another server's connection ends");
        match error.stream_error() {
            Some(error) if !self.leaving => self.fail(error).await,
            _ => Err(End::Gone),
        }
    }
}
