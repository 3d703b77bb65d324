//! From an accepted connection to a session: runs `proto::stream::server` over a channel and
//! answers its questions through the node.
//!
//! Whoever fails to log in waits before the next attempt, as the accounts say; all waiting here is
//! bounded by the time a client has to log in.

use std::net::IpAddr;
use std::sync::Arc;

use posthaste_im::accounts::{AccountError, Admission};
use posthaste_im::binding::{BindError, ResourceWish, ResumeError};
use posthaste_im::connection::Connection;
use posthaste_im::devices::Introduction;
use posthaste_im::ext;
use posthaste_im::node::Node;
use posthaste_proto::error::{Condition, StanzaError};
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::{self, ChannelBindings, Failure, Mechanism};
use posthaste_proto::stream::server::{
    Answer, Ask, BindRequest, Bound, Host, Negotiation, Next, Policy, Session, SessionLimits, Step,
    Transport, UserAgent, Wanted,
};
use posthaste_proto::stream::sm;
use posthaste_proto::xml::{Element, StreamContext};

use crate::channel::{Channel, ChannelError, Received};
use crate::config::GateConfig;
use crate::stats::count;

/// A connection that has become a session.
pub(crate) struct Negotiated {
    pub(crate) channel: Channel,
    pub(crate) connection: Connection,
    /// What the stream's header declared.
    pub(crate) context: StreamContext,
}

/// Brings a connection to its session. `None`: it has ended before, and the client was told why.
pub(crate) async fn negotiate(channel: Channel) -> Option<Negotiated> {
    let node = Arc::clone(&channel.shared.node);
    let mut seed = [0; 32];
    node.entropy().fill(&mut seed);
    let negotiation = Negotiation::new(
        policy(&node, &channel.shared.config),
        transport(&channel),
        seed,
    );
    let desk = Desk {
        address: channel.peer.ip().to_canonical(),
        node,
        connection: None,
    };
    let mut driver = Driver {
        channel,
        negotiation,
        desk,
    };
    match driver.run().await {
        End::Session(session) => return driver.finish(*session),
        End::HangUp => driver.channel.hang_up().await,
        End::Gone => {}
    }
    driver.desk.leave().await;
    None
}

/// What is offered, as the node is configured now.
fn policy(node: &Node, gate: &GateConfig) -> Arc<Policy> {
    let (config, login, limits) = (node.config(), &gate.login, &gate.limits);
    // Of two kinds at most, however many hosts there are: they cost a hash.
    let mut features: [Option<Arc<[Element]>>; 2] = [None, None];
    let hosts = config.hosts.iter().map(|host| {
        let features = features[usize::from(host.registration)]
            .get_or_insert_with(|| ext::stream_features(&config, host.registration).into());
        Host {
            domain: host.domain.clone(),
            registration: host.registration,
            session_features: features.clone(),
        }
    });
    let mut policy = Policy::new(hosts.collect());
    policy.mechanisms.clone_from(&login.mechanisms);
    policy.fast = login.fast;
    policy.auth_attempts = login.attempts;
    policy.resumption = config.resume_seconds > 0;
    policy.limits.stanza_bytes = limits.element_bytes_before_login;
    policy.session_limits = SessionLimits {
        stanza_bytes: Some(limits.stanza_bytes),
        idle_seconds: Some(limits.idle_probe.as_secs()),
    };
    Arc::new(policy)
}

fn transport(channel: &Channel) -> Transport {
    let facts = channel.tls.as_ref();
    let bindings = facts.map_or_else(ChannelBindings::none, |facts| ChannelBindings {
        exporter: facts.exporter,
        server_end_point: facts.server_end_point.as_deref().map(Box::from),
    });
    let certified = facts.map_or_else(Vec::new, |facts| {
        let addresses = facts.client_addresses.iter();
        addresses
            .filter_map(|address| BareJid::parse(address).ok())
            .collect()
    });
    Transport {
        websocket: channel.is_web_socket(),
        secure: channel.is_secure(),
        starttls: channel.offers_start_tls(),
        bindings,
        certified,
    }
}

struct Driver {
    channel: Channel,
    negotiation: Negotiation,
    desk: Desk,
}

/// How a negotiation ends.
enum End {
    /// With a session, of which the client has been told.
    Session(Box<Session>),
    /// With a last word, which is queued.
    HangUp,
    /// There is nobody left to talk to.
    Gone,
}

impl Driver {
    async fn run(&mut self) -> End {
        loop {
            let step = match self.channel.receive().await {
                Ok(Received::Open(bytes)) => self.negotiation.stream_open(&bytes),
                Ok(Received::Element(bytes)) => self.negotiation.element(&bytes),
                Ok(Received::Close) => self.negotiation.stream_close(),
                Err(error) => return self.give_up(&error),
            };
            if let Some(end) = self.follow(step).await {
                return end;
            }
        }
    }

    /// Does what a step says, and the steps that follow from it without the client.
    async fn follow(&mut self, mut step: Step) -> Option<End> {
        loop {
            for bytes in &step.send {
                self.channel.send(bytes);
            }
            match step.next {
                Next::Read => return None,
                Next::Restart => {
                    self.channel.restart();
                    return None;
                }
                Next::StartTls => return self.start_tls().await,
                Next::Ask(ask) => match self.ask(ask).await {
                    Ok(answer) => step = self.negotiation.answer(answer),
                    Err(error) => return Some(self.give_up(&error)),
                },
                Next::Done(session) => {
                    return Some(match self.channel.flush().await {
                        Ok(()) => End::Session(session),
                        Err(error) => self.give_up(&error),
                    });
                }
                Next::Close => {
                    if let Some(condition) = step.error {
                        self.channel.shared.stats.stream_error(condition.as_str());
                    }
                    return Some(End::HangUp);
                }
            }
        }
    }

    async fn ask(&mut self, ask: Ask) -> Result<Answer, ChannelError> {
        // What was queued is not kept from the client while it waits.
        self.channel.flush().await?;
        self.channel.bounded(Box::pin(self.desk.answer(ask))).await
    }

    async fn start_tls(&mut self) -> Option<End> {
        let host = self.negotiation.host().unwrap_or_default().to_owned();
        if let Err(error) = self.channel.start_tls(&host).await {
            tracing::debug!(%error, "no TLS after STARTTLS");
            return Some(End::Gone);
        }
        self.negotiation.secured(transport(&self.channel));
        None
    }

    fn finish(mut self, session: Session) -> Option<Negotiated> {
        let connection = self.desk.connection.take()?;
        count(&self.channel.shared.stats.sessions, 1);
        tracing::debug!(
            jid = %session.jid,
            mechanism = %session.mechanism,
            resumed = session.resumed,
            "a client has a session"
        );
        self.desk
            .node
            .accounts()
            .login_succeeded(&session.jid.to_bare());
        Some(Negotiated {
            channel: self.channel,
            connection,
            context: session.context,
        })
    }

    /// Nothing more comes, or nothing that is XMPP.
    fn give_up(&mut self, error: &ChannelError) -> End {
        tracing::debug!(%error, "no session");
        let stats = &self.channel.shared.stats;
        if matches!(error, ChannelError::Late) {
            count(&stats.negotiation_timeouts, 1);
        }
        let Some(error) = error.stream_error() else {
            return End::Gone;
        };
        stats.stream_error(error.condition.as_str());
        for bytes in self.negotiation.fail(error).send {
            self.channel.send(&bytes);
        }
        End::HangUp
    }
}

/// Answers the negotiation's questions.
struct Desk {
    node: Arc<Node>,
    address: IpAddr,
    /// The session, once there is one.
    connection: Option<Connection>,
}

/// A store that does not answer is no reason to tell anybody that they are wrong.
const UNAVAILABLE: Failure = Failure::new(sasl::Condition::TemporaryAuthFailure, "");
const SLOW_DOWN: Failure = Failure::new(
    sasl::Condition::TemporaryAuthFailure,
    "too many failed log-ins",
);

impl Desk {
    async fn answer(&mut self, ask: Ask) -> Answer {
        let accounts = self.node.accounts();
        match ask {
            Ask::Keys { account, hash } => {
                let keys =
                    async { Ok(Answer::Keys(Box::new(accounts.keys(&account, hash).await?))) };
                self.admitted(&account, keys).await
            }
            Ask::Password { account, password } => {
                let verdict = async {
                    Ok(Answer::Verified(
                        accounts.verify_password(&account, password).await?,
                    ))
                };
                self.admitted(&account, verdict).await
            }
            Ask::Certificate { account } => {
                checked(async { Ok(Answer::Verified(accounts.may_log_in(&account).await?)) }).await
            }
            Ask::Token(proof) => {
                checked(async {
                    Ok(Answer::Token(Box::new(
                        accounts.verify_token(&proof).await?,
                    )))
                })
                .await
            }
            Ask::Failed { account } => {
                accounts.login_failed(self.address, account.as_ref());
                Answer::Proceed
            }
            Ask::IssueToken {
                account,
                client,
                mechanism,
            } => {
                let issued = accounts.issue_token(&account, &client, mechanism).await;
                // Without a token the client logs in by password next time: no reason to fail.
                Answer::Issued(issued.inspect_err(complain).ok())
            }
            Ask::Upgrades {
                account,
                proven,
                wanted,
            } => {
                checked(async {
                    let upgrades = accounts.upgrades(&account, &proven, &wanted).await?;
                    Ok(Answer::Upgrades(upgrades))
                })
                .await
            }
            Ask::Upgrade {
                account,
                proven,
                keys,
            } => {
                checked(async {
                    accounts.upgrade(&account, &proven, &keys).await?;
                    Ok(Answer::Proceed)
                })
                .await
            }
            Ask::Resume { account, resume } => self.resume(&account, &resume).await,
            Ask::Bind(request) => self.bind(*request).await,
            Ask::Register { account, password } => {
                Answer::Registered(self.register(&account, &password).await)
            }
        }
    }

    /// Checks a password, once this address and this account may have one checked.
    async fn admitted(
        &self,
        account: &BareJid,
        check: impl Future<Output = Result<Answer, AccountError>>,
    ) -> Answer {
        match self.node.accounts().admit(self.address, Some(account)) {
            Admission::Now => {}
            Admission::After(wait) => tokio::time::sleep(wait).await,
            Admission::Refused => return Answer::Refused(SLOW_DOWN),
        }
        checked(check).await
    }

    async fn register(
        &self,
        account: &BareJid,
        password: &sasl::Secret,
    ) -> Result<(), Box<StanzaError>> {
        let accounts = self.node.accounts();
        let made = match accounts.admit_registration(self.address) {
            Ok(()) => self.node.create_account(account, password).await,
            Err(error) => Err(error),
        };
        made.map_err(|error| {
            Box::new(match error {
                AccountError::Exists => StanzaError::conflict(),
                AccountError::Password(reason) => {
                    StanzaError::not_acceptable().with_text(reason.to_string())
                }
                AccountError::NoLocalpart => StanzaError::jid_malformed(),
                AccountError::NotFound => StanzaError::item_not_found(),
                // XEP-0077 §3.1.1: a client that registers too often is told not-acceptable.
                AccountError::TooManyRegistrations => StanzaError::resource_constraint(),
                AccountError::Store(_) | AccountError::Corrupt(_) => {
                    complain(&error);
                    StanzaError::internal_server_error()
                }
            })
        })
    }

    async fn resume(&mut self, account: &BareJid, resume: &sm::Resume) -> Answer {
        match self.node.resume(account, &resume.previd, resume.h).await {
            Ok((connection, h)) => {
                let jid = connection.jid().clone();
                self.connection = Some(connection);
                Answer::Resumed { jid, h }
            }
            Err(error) => {
                tracing::debug!(%error, "a session is not resumed");
                let condition = match error {
                    ResumeError::NotFound | ResumeError::TooHigh(_) => Condition::ItemNotFound,
                    ResumeError::Walk(_) => Condition::InternalServerError,
                };
                Answer::NotResumed(sm::Failed::new(condition))
            }
        }
    }

    async fn bind(&mut self, request: BindRequest) -> Answer {
        let client = introduction(&request);
        let wish = match request.resource {
            Wanted::Any => ResourceWish::Any,
            Wanted::Resource(resource) => ResourceWish::Exactly(resource),
            Wanted::Tag(tag) => ResourceWish::Tagged(tag),
        };
        let bound = match client {
            Some(client) => {
                let node = &self.node;
                node.bind_client(&request.account, &wish, &client).await
            }
            _ => self.node.bind(&request.account, &wish).await,
        };
        let mut connection = match bound {
            Ok(connection) => connection,
            Err(error) => return Answer::NotBound(Box::new(bind_error(error))),
        };
        let sm = request
            .enable
            .map(|enable| Ok(connection.enable_sm(enable.resume, enable.max_seconds)));
        if request.carbons {
            connection.enable_carbons().await;
        }
        if !request.active {
            connection.set_inactive(true);
        }
        // XEP-0386 §4: where the archive ends at this moment, so that the client knows what to ask it for.
        let metadata = match request.bind2 {
            true => connection.archive_metadata().await,
            false => None,
        };
        let jid = connection.jid().clone();
        self.connection = Some(connection);
        Answer::Bound(Box::new(Bound {
            jid,
            sm,
            extra: metadata.into_iter().collect(),
        }))
    }

    /// The connection has ended before the client had its session for good.
    async fn leave(self) {
        if let Some(connection) = self.connection {
            connection.detach().await;
        }
    }
}

/// What a client says of itself, if it names its installation and uses Bind 2.
fn introduction(request: &BindRequest) -> Option<Introduction> {
    let UserAgent {
        id,
        software,
        device,
    } = &request.user_agent;
    let id = id.as_ref().filter(|_| request.bind2)?;
    Some(Introduction {
        id: id.as_str().to_owned(),
        software: software.clone(),
        device: device.clone(),
        by_password: matches!(
            request.mechanism,
            Mechanism::Scram { .. } | Mechanism::Plain
        ),
    })
}

async fn checked(check: impl Future<Output = Result<Answer, AccountError>>) -> Answer {
    check.await.unwrap_or_else(|error| {
        complain(&error);
        Answer::Refused(UNAVAILABLE)
    })
}

fn bind_error(error: BindError) -> StanzaError {
    match error {
        BindError::BadResource => StanzaError::bad_request(),
        // RFC 6120 §7.6.2.1.
        BindError::TooMany => StanzaError::resource_constraint(),
        // It was removed after the log-in.
        BindError::NoAccount => StanzaError::not_allowed(),
        BindError::Walk(error) => error.into_stanza_error(),
    }
}

fn complain(error: &AccountError) {
    match error {
        AccountError::Corrupt(_) => tracing::error!(%error, "an account cannot be read"),
        AccountError::Store(_) => tracing::warn!(%error, "the store did not answer a log-in"),
        _ => tracing::debug!(%error, "a log-in was not served"),
    }
}
