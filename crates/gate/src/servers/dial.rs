//! From a pair of domains to a stream that takes stanzas, or to the verdict about a key.

use std::net::SocketAddr;
use std::sync::Arc;

use posthaste_proto::error::{StanzaError, StreamCondition};
use posthaste_proto::stream::s2s::initiating::{Failure, Goal, Initiating, Next, Policy};
use posthaste_proto::stream::s2s::receiving::Question;
use posthaste_proto::stream::s2s::{Pair, Verdict};
use posthaste_proto::xml::StreamContext;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::Federation;
use super::resolve::{ResolveError, Target};
use crate::channel::{Channel, ChannelError, Received};
use crate::listen;
use crate::shared::Shared;
use crate::stats::{TransportKind, count};
use crate::tls::TlsUse;

/// One address may take this part of the time for all of them.
const ADDRESSES_IN_TIME: u32 = 3;

/// A stream that takes stanzas.
pub(super) struct Ready {
    pub(super) channel: Channel,
    /// Does the other side acknowledge what it takes?
    pub(super) managed: bool,
    pub(super) context: StreamContext,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// Nobody knows where the domain's servers are.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// None of its addresses could be connected to.
    #[error("it cannot be connected to")]
    Unreachable,
    /// The connection was lost, or said what is no XMPP.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The two of us do not come to terms.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// It took too long.
    #[error("it took too long")]
    Late,
    /// We have as many connections as we may have.
    #[error("there are too many connections")]
    Full,
}

impl DialError {
    /// Nothing that time could mend: the error that those who wait get at once (RFC 6120 §8.3.3.16, §8.3.3.17).
    pub(super) fn verdict(&self) -> Option<StanzaError> {
        match self {
            DialError::Resolve(ResolveError::NotFound) => {
                Some(StanzaError::remote_server_not_found())
            }
            DialError::Failure(failure) => disagreement(failure),
            DialError::Resolve(ResolveError::Unanswered(_))
            | DialError::Unreachable
            | DialError::Channel(_)
            | DialError::Late
            | DialError::Full => None,
        }
    }
}

fn disagreement(failure: &Failure) -> Option<StanzaError> {
    use StreamCondition::{HostGone, HostUnknown, NotAuthorized, PolicyViolation};
    let timeout = || StanzaError::remote_server_timeout().with_text(failure.to_string());
    match failure {
        // XEP-0220 §2.1.1 names these two.
        Failure::Disbelieved => Some(StanzaError::internal_server_error()),
        Failure::Unverified(_) => Some(timeout()),
        Failure::NoTls | Failure::Untrusted | Failure::NoProof => Some(timeout()),
        Failure::Ended(Some(HostUnknown | HostGone)) => {
            Some(StanzaError::remote_server_not_found())
        }
        Failure::Ended(Some(PolicyViolation | NotAuthorized)) => Some(timeout()),
        // It may be on its way down or up.
        Failure::Ended(_) | Failure::Broken(_) => None,
    }
}

/// What a connection was made for.
enum Outcome {
    Ready(Box<Ready>),
    Verified(Verdict),
}

/// Opens a stream for stanzas.
pub(super) async fn stream(
    federation: &Federation,
    shared: &Arc<Shared>,
    pair: &Pair,
) -> Result<Box<Ready>, DialError> {
    match dial(federation, shared, pair, &Goal::Stanzas).await? {
        Outcome::Ready(ready) => Ok(ready),
        // It was asked for nothing of the kind.
        Outcome::Verified(_) => Err(DialError::Late),
    }
}

/// Asks the server of a domain whether a key is its own (XEP-0220 §2.1.2).
pub(super) async fn verify(
    federation: &Federation,
    shared: &Arc<Shared>,
    question: Question,
) -> Verdict {
    let pair = question.pair.reversed();
    let goal = Goal::Verification(question);
    match dial(federation, shared, &pair, &goal).await {
        Ok(Outcome::Verified(verdict)) => verdict,
        Ok(Outcome::Ready(_)) => Verdict::Error(Box::new(StanzaError::internal_server_error())),
        Err(error) => {
            tracing::debug!(domain = %pair.to, %error, "a key of dialback could not be verified");
            let timeout = StanzaError::remote_server_timeout();
            Verdict::Error(Box::new(error.verdict().unwrap_or(timeout)))
        }
    }
}

async fn dial(
    federation: &Federation,
    shared: &Arc<Shared>,
    pair: &Pair,
    goal: &Goal,
) -> Result<Outcome, DialError> {
    let until = Instant::now() + federation.config.connect_timeout;
    let work = Box::pin(try_all(federation, shared, pair, goal));
    let outcome = timeout_at(until, work).await;
    let outcome = outcome.unwrap_or(Err(DialError::Late));
    if let Err(error) = &outcome {
        count(&shared.stats.servers_failures, 1);
        tracing::debug!(domain = %pair.to, %error, "no stream to another server");
    }
    outcome
}

async fn try_all(
    federation: &Federation,
    shared: &Arc<Shared>,
    pair: &Pair,
    goal: &Goal,
) -> Result<Outcome, DialError> {
    let node = &shared.node;
    let mut dice = || {
        let mut bytes = [0; 4];
        node.entropy().fill(&mut bytes);
        u32::from_ne_bytes(bytes)
    };
    let lookup = &federation.lookup;
    let targets = lookup.targets(pair.to.as_str(), &mut dice).await?;
    let mut last = DialError::Unreachable;
    for target in targets {
        let addresses = match lookup.addresses(&target).await {
            Ok(addresses) => addresses,
            Err(error) => {
                last = error.into();
                continue;
            }
        };
        for address in addresses {
            match try_one(federation, shared, pair, goal, &target, address).await {
                Ok(outcome) => return Ok(outcome),
                // Its other addresses are no better.
                Err(error @ DialError::Failure(_)) => return Err(error),
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}

async fn try_one(
    federation: &Federation,
    shared: &Arc<Shared>,
    pair: &Pair,
    goal: &Goal,
    target: &Target,
    address: SocketAddr,
) -> Result<Outcome, DialError> {
    let until = Instant::now() + federation.config.connect_timeout / ADDRESSES_IN_TIME;
    let connecting = timeout_at(until, TcpStream::connect(address)).await;
    let Ok(Ok(tcp)) = connecting else {
        return Err(DialError::Unreachable);
    };
    let limits = &shared.config.limits;
    // What fails here is a connection that is gone already.
    let _ = listen::prepare(&tcp, limits.probe_timeout.max(limits.write_stall));
    let kind = TransportKind::ServerOut;
    let permit = shared.admission.admit(address.ip(), kind);
    let permit = permit.map_err(|_| DialError::Full)?;
    let channel = Channel::new(Arc::clone(shared), permit, address, tcp);
    let policy = Policy {
        dialback: federation.config.dialback,
        secret: federation.secret.clone(),
    };
    let caller = Caller {
        federation,
        pair,
        channel,
        negotiation: Initiating::new(pair.clone(), goal.clone(), policy),
    };
    caller.run(target.direct_tls).await
}

/// One connection on its way.
struct Caller<'a> {
    federation: &'a Federation,
    pair: &'a Pair,
    channel: Channel,
    negotiation: Initiating,
}

impl Caller<'_> {
    async fn run(mut self, direct_tls: bool) -> Result<Outcome, DialError> {
        if direct_tls {
            self.secure(TlsUse::Server).await?;
        }
        let mut step = self.negotiation.start();
        loop {
            for bytes in &step.send {
                self.channel.send(bytes);
            }
            match step.next {
                Next::Read => {}
                Next::Restart => self.channel.restart(),
                Next::StartTls => {
                    self.secure(TlsUse::ServerStartTls).await?;
                    step = self.negotiation.start();
                    continue;
                }
                Next::Ready { managed } => {
                    let context = self.negotiation.context().clone();
                    let channel = self.channel;
                    return Ok(Outcome::Ready(Box::new(Ready {
                        channel,
                        managed,
                        context,
                    })));
                }
                Next::Verified(verdict) => {
                    tokio::spawn(self.channel.hang_up());
                    return Ok(Outcome::Verified(verdict));
                }
                Next::Fail(failure) => {
                    tokio::spawn(self.channel.hang_up());
                    return Err(failure.into());
                }
            }
            step = match self.channel.receive().await? {
                Received::Open(bytes) => self.negotiation.stream_open(&bytes),
                Received::Element(bytes) => self.negotiation.element(&bytes),
                Received::Close => self.negotiation.stream_close(),
            };
        }
    }

    async fn secure(&mut self, purpose: TlsUse) -> Result<(), ChannelError> {
        let (own, domain) = (self.pair.from.as_str(), self.pair.to.as_str());
        self.channel.connect_tls(purpose, own, domain).await?;
        let chain = self
            .channel
            .tls
            .as_ref()
            .map(|facts| &facts.server_chain[..]);
        let is_trusted = self
            .federation
            .trust
            .vouches(chain.unwrap_or_default(), domain);
        self.negotiation.secured(is_trusted);
        Ok(())
    }
}
