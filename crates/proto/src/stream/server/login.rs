//! A log-in by any mechanism; what differs between SASL1 and SASL2 is in their files.

use super::features;
use super::register;
use super::sasl1;
use super::sasl2::Authenticate;
use super::upgrade;
use super::{Answer, Ask, Next, Shared, State, TokenProof, TokenVerdict, Turn, UserAgent};
use crate::error::{Condition as StanzaCondition, StreamCondition};
use crate::jid::BareJid;
use crate::ns;
use crate::sasl::ht::HashedToken;
use crate::sasl::plain::Plain;
use crate::sasl::scram::server::{self as scram, ExpectClientFinal, NeedKeys};
use crate::sasl::{Condition, Failure, Hash, HtBinding, Mechanism, external};
use crate::stream::sm;
use crate::xml::Element;

/// A proven identity.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) account: BareJid,
    pub(super) mechanism: Mechanism,
    pub(super) user_agent: UserAgent,
}

/// The syntax a log-in is in, with what the client asked for besides.
#[derive(Debug)]
pub(super) enum Profile {
    Sasl1,
    Sasl2(Box<Authenticate>),
}

impl Profile {
    fn ns(&self) -> &'static str {
        match self {
            Profile::Sasl1 => ns::SASL,
            Profile::Sasl2(_) => ns::SASL2,
        }
    }
}

/// Features have been sent: waiting for TLS, a log-in or a registration.
#[derive(Debug)]
pub(super) struct ExpectLogin;

impl ExpectLogin {
    pub(super) fn element(self, shared: &mut Shared, element: &Element) -> Turn {
        match (element.ns(), element.name()) {
            (ns::TLS, "starttls") => starttls(shared),
            (ns::SASL, "auth") => {
                let (name, initial) = sasl1::read_auth(element);
                begin(shared, Profile::Sasl1, &name, initial)
            }
            (ns::SASL2, "authenticate") => match Authenticate::parse(shared, element) {
                Ok((request, initial)) => {
                    let name = element.attr("mechanism").unwrap_or_default();
                    begin(shared, Profile::Sasl2(Box::new(request)), name, initial)
                }
                Err(failure) => {
                    shared.attempts += 1;
                    tell(shared, &Profile::Sasl2(Box::default()), failure)
                }
            },
            (ns::CLIENT, "iq") if features::offers_registration(shared) => {
                register::iq(shared, element)
            }
            (ns::SM, _) => {
                // XEP-0198 §3: not before authentication, and the stream lives on.
                let failed = sm::Failed::new(StanzaCondition::UnexpectedRequest);
                shared.out.element(&failed.to_element());
                Ok((State::Login(self), Next::Read))
            }
            // RFC 6120 §4.9.3.12.
            _ => Err(StreamCondition::NotAuthorized.into()),
        }
    }
}

/// RFC 6120 §5.4.2.
fn starttls(shared: &mut Shared) -> Turn {
    if !shared.transport.starttls {
        shared.out.element(&Element::new("failure", ns::TLS));
        shared.out.close();
        return Ok((State::Closed, Next::Close));
    }
    shared.out.element(&Element::new("proceed", ns::TLS));
    shared.out.restart();
    Ok((State::Tls, Next::StartTls))
}

/// A log-in begins. `initial` is the initial response, decoded.
fn begin(
    shared: &mut Shared,
    profile: Profile,
    name: &str,
    initial: Result<Option<Vec<u8>>, Failure>,
) -> Turn {
    shared.attempts += 1;
    let initial = match initial {
        Ok(initial) => initial,
        Err(failure) => return tell(shared, &profile, failure),
    };
    let Some(mechanism) = Mechanism::from_name(name).filter(|m| is_offered(shared, &profile, *m))
    else {
        return tell(shared, &profile, refusal(shared));
    };
    match initial {
        Some(message) => first_message(shared, profile, mechanism, &message),
        None => {
            // RFC 4422 §5: the client speaks first; an empty challenge tells it to.
            challenge(shared, &profile, &[]);
            let state = ExpectResponse {
                profile,
                mechanism,
                waiting: Waiting::First,
            };
            Ok((State::Response(state), Next::Read))
        }
    }
}

fn is_offered(shared: &Shared, profile: &Profile, mechanism: Mechanism) -> bool {
    match (mechanism, profile) {
        (Mechanism::Ht(binding), Profile::Sasl2(_)) => {
            features::fast_mechanisms(shared).contains(&binding)
        }
        _ => features::mechanisms(shared).contains(&mechanism),
    }
}

fn refusal(shared: &Shared) -> Failure {
    if shared.transport.secure {
        Failure::new(Condition::InvalidMechanism, "the mechanism was not offered")
    } else {
        Failure::new(Condition::EncryptionRequired, "TLS first")
    }
}

/// Waiting for the client's next message.
#[derive(Debug)]
pub(super) struct ExpectResponse {
    profile: Profile,
    mechanism: Mechanism,
    waiting: Waiting,
}

#[derive(Debug)]
enum Waiting {
    First,
    ScramFinal(Box<ExpectClientFinal>, BareJid),
}

impl ExpectResponse {
    pub(super) fn element(self, shared: &mut Shared, element: &Element) -> Turn {
        let ExpectResponse {
            mut profile,
            mechanism,
            waiting,
        } = self;
        match element.name() {
            "response" if element.ns() == profile.ns() => {}
            "abort" if element.ns() == profile.ns() => {
                return tell(shared, &profile, Failure::new(Condition::Aborted, ""));
            }
            // XEP-0388 §2.4: servers must disconnect clients that send anything else.
            _ => {
                return Err(StreamCondition::PolicyViolation.into());
            }
        }
        let message = match sasl1::decode(&element.text()) {
            Ok(message) => message,
            Err(failure) => return tell(shared, &profile, failure),
        };
        match waiting {
            Waiting::First => first_message(shared, profile, mechanism, &message),
            Waiting::ScramFinal(exchange, account) => {
                if let Profile::Sasl2(request) = &mut profile
                    && !request.upgrades.is_empty()
                {
                    request.proven = Some(exchange.keys().clone());
                }
                match exchange.client_final(&message) {
                    Ok(proof) => succeed(shared, profile, mechanism, account, Some(proof)),
                    Err(failure) => fail(shared, profile, mechanism, Some(account), failure),
                }
            }
        }
    }
}

/// The message in which the client says who it is.
fn first_message(
    shared: &mut Shared,
    profile: Profile,
    mechanism: Mechanism,
    message: &[u8],
) -> Turn {
    let question = match mechanism {
        Mechanism::Scram { hash, plus } => scram_first(shared, &profile, hash, plus, message),
        Mechanism::Plain => plain(shared, &profile, message),
        Mechanism::External => external(shared, message),
        Mechanism::Ht(binding) => token(shared, &profile, binding, message),
    };
    match question {
        Ok(question) => {
            let Question {
                account,
                ask,
                wants,
            } = question;
            let state = ExpectAnswer {
                profile,
                mechanism,
                account: Some(account),
                wants,
            };
            Ok((State::LoginAnswer(Box::new(state)), Next::Ask(ask)))
        }
        Err(failure) => fail(shared, profile, mechanism, None, failure),
    }
}

/// What has to be asked to go on with a log-in.
struct Question {
    account: BareJid,
    ask: Ask,
    wants: Wants,
}

fn scram_first(
    shared: &Shared,
    profile: &Profile,
    hash: Hash,
    plus: bool,
    message: &[u8],
) -> Result<Question, Failure> {
    let is_plus = |mechanism: &Mechanism| matches!(mechanism, Mechanism::Scram { plus: true, .. });
    let plus_offered = features::mechanisms(shared).iter().any(is_plus);
    let need = scram::client_first(
        hash,
        plus,
        plus_offered,
        &shared.transport.bindings,
        message,
    )?;
    let account = account(shared, profile, need.username(), need.authzid())?;
    let ask = Ask::Keys {
        account: account.clone(),
        hash,
    };
    Ok(Question {
        account,
        ask,
        wants: Wants::Keys(Box::new(need)),
    })
}

fn plain(shared: &Shared, profile: &Profile, message: &[u8]) -> Result<Question, Failure> {
    let plain = Plain::parse(message)?;
    let account = account(shared, profile, &plain.username, plain.authzid.as_deref())?;
    let ask = Ask::Password {
        account: account.clone(),
        password: plain.password,
    };
    Ok(Question {
        account,
        ask,
        wants: Wants::Verified,
    })
}

fn external(shared: &Shared, message: &[u8]) -> Result<Question, Failure> {
    let domain = shared.host.as_ref().map_or("", |host| host.domain.as_str());
    let account = external::authorize(message, &shared.transport.certified, domain)?;
    let ask = Ask::Certificate {
        account: account.clone(),
    };
    Ok(Question {
        account,
        ask,
        wants: Wants::Verified,
    })
}

fn token(
    shared: &Shared,
    profile: &Profile,
    mechanism: HtBinding,
    message: &[u8],
) -> Result<Question, Failure> {
    let Profile::Sasl2(request) = profile else {
        return Err(Failure::new(Condition::InvalidMechanism, "HT is for FAST"));
    };
    let client = request.user_agent.id.clone();
    let client = client.ok_or(Failure::malformed("FAST needs a user-agent with an id"))?;
    let proof = HashedToken::parse(message)?;
    let account = account(shared, profile, &proof.username, None)?;
    let binding = mechanism
        .binding_type()
        .and_then(|kind| shared.transport.bindings.get(kind))
        .unwrap_or_default();
    let ask = Ask::Token(Box::new(TokenProof {
        account: account.clone(),
        client,
        mechanism,
        binding: binding.to_vec(),
        initiator: proof.initiator,
        count: request.fast.count,
        invalidate: request.fast.invalidate,
        rotate: request.request_token.is_none() && !request.fast.invalidate,
    }));
    Ok(Question {
        account,
        ask,
        wants: Wants::Token,
    })
}

/// The account of a name at the stream's host, acting for itself only.
fn account(
    shared: &Shared,
    profile: &Profile,
    username: &str,
    authzid: Option<&str>,
) -> Result<BareJid, Failure> {
    const BAD_AUTHZID: Failure = Failure::new(Condition::InvalidAuthzid, "not your account");
    let domain = shared.host.as_ref().map_or("", |host| host.domain.as_str());
    let account = BareJid::new(Some(username), domain).map_err(|_| Failure::not_authorized())?;
    let Some(authzid) = authzid else {
        return Ok(account);
    };
    if BareJid::parse(authzid).ok().as_ref() != Some(&account) {
        return Err(BAD_AUTHZID);
    }
    // XEP-0388 §2.3: it must be whom the stream's header said, too.
    match (profile, &shared.from) {
        (Profile::Sasl2(_), Some(from)) if *from != account => Err(BAD_AUTHZID),
        _ => Ok(account),
    }
}

/// Waiting for an answer in the middle of a log-in.
#[derive(Debug)]
pub(super) struct ExpectAnswer {
    profile: Profile,
    mechanism: Mechanism,
    account: Option<BareJid>,
    wants: Wants,
}

#[derive(Debug)]
enum Wants {
    Keys(Box<NeedKeys>),
    Verified,
    Token,
    /// Leave to tell the client that it failed.
    Proceed(Failure),
}

impl ExpectAnswer {
    pub(super) fn answer(self, shared: &mut Shared, answer: Answer) -> Turn {
        let ExpectAnswer {
            mut profile,
            mechanism,
            account,
            wants,
        } = self;
        match (wants, answer, account) {
            (Wants::Keys(need), Answer::Keys(keys), Some(account)) => {
                let nonce = shared.nonces.next();
                let (exchange, first) =
                    need.with_keys(*keys, &nonce, &features::advertised(shared));
                challenge(shared, &profile, &first);
                let waiting = Waiting::ScramFinal(Box::new(exchange), account);
                let state = ExpectResponse {
                    profile,
                    mechanism,
                    waiting,
                };
                Ok((State::Response(state), Next::Read))
            }
            (Wants::Verified, Answer::Verified(true), Some(account)) => {
                succeed(shared, profile, mechanism, account, None)
            }
            (Wants::Verified, Answer::Verified(false), account) => fail(
                shared,
                profile,
                mechanism,
                account,
                Failure::not_authorized(),
            ),
            (Wants::Token, Answer::Token(verdict), Some(account)) => match *verdict {
                TokenVerdict::Valid { responder, rotated } => {
                    if let Profile::Sasl2(request) = &mut profile {
                        request.rotated = rotated;
                    }
                    let data = Some(responder.as_slice().to_vec());
                    succeed(shared, profile, mechanism, account, data)
                }
                TokenVerdict::Expired => {
                    let failure = Failure::new(Condition::CredentialsExpired, "");
                    fail(shared, profile, mechanism, Some(account), failure)
                }
                TokenVerdict::Invalid => fail(
                    shared,
                    profile,
                    mechanism,
                    Some(account),
                    Failure::not_authorized(),
                ),
            },
            (Wants::Keys(_) | Wants::Verified | Wants::Token, Answer::Refused(failure), _) => {
                tell(shared, &profile, failure)
            }
            (Wants::Proceed(failure), Answer::Proceed, _) => tell(shared, &profile, failure),
            _ => Err(super::mismatch()),
        }
    }
}

fn challenge(shared: &mut Shared, profile: &Profile, message: &[u8]) {
    let challenge = Element::new("challenge", profile.ns()).with_text(&sasl1::encode_text(message));
    shared.out.element(&challenge);
}

/// The mechanism has proven who the client is. `proof` is what proves the server to it.
fn succeed(
    shared: &mut Shared,
    profile: Profile,
    mechanism: Mechanism,
    account: BareJid,
    proof: Option<Vec<u8>>,
) -> Turn {
    match profile {
        Profile::Sasl1 => {
            let login = Login {
                account,
                mechanism,
                user_agent: UserAgent::default(),
            };
            sasl1::succeed(shared, login, proof)
        }
        Profile::Sasl2(request) => upgrade::begin(shared, *request, mechanism, account, proof),
    }
}

/// The log-in has failed. Where a password may have been guessed, the owner of the accounts hears
/// of it first and decides how long the client waits for the answer.
fn fail(
    shared: &mut Shared,
    profile: Profile,
    mechanism: Mechanism,
    account: Option<BareJid>,
    failure: Failure,
) -> Turn {
    let is_guess = match mechanism {
        Mechanism::Scram { .. } | Mechanism::Plain => failure.condition == Condition::NotAuthorized,
        // Nobody guesses 256 bits or a signature; a client with an old token is no attacker.
        Mechanism::Ht(_) | Mechanism::External => false,
    };
    if !is_guess {
        return tell(shared, &profile, failure);
    }
    let ask = Ask::Failed {
        account: account.clone(),
    };
    let wants = Wants::Proceed(failure);
    let state = ExpectAnswer {
        profile,
        mechanism,
        account,
        wants,
    };
    Ok((State::LoginAnswer(Box::new(state)), Next::Ask(ask)))
}

/// Tells the client that it failed; it may try again, but not for ever (RFC 6120 §6.4.5).
pub(super) fn tell(shared: &mut Shared, profile: &Profile, failure: Failure) -> Turn {
    let mut element = Element::new("failure", profile.ns())
        .with_child(Element::new(failure.condition.name(), ns::SASL));
    if !failure.reason.is_empty() {
        let text = Element::new("text", profile.ns()).with_text(failure.reason);
        element.push_child(match profile {
            Profile::Sasl1 => text.with_lang("en"),
            Profile::Sasl2(_) => text,
        });
    }
    shared.out.element(&element);
    if shared.attempts >= shared.policy.auth_attempts {
        return Err(StreamCondition::PolicyViolation.into());
    }
    Ok((State::Login(ExpectLogin), Next::Read))
}
