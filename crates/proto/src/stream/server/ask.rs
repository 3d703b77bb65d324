//! What a negotiation has to ask whoever keeps accounts and sessions, and the answers.

use crate::error::StanzaError;
use crate::jid::{BareJid, FullJid};
use crate::sasl::{Digest, Failure, Hash, HtBinding, Mechanism, Secret, StoredKeys};
use crate::stream::sm;
use crate::xml::{Element, StreamContext};

/// A question. Each variant says which [`Answer`] belongs to it; [`Answer::Refused`] answers every
/// question about credentials.
#[derive(Debug)]
pub enum Ask {
    /// The stored keys of an account, or fake ones if there is no such account:
    /// [`Answer::Keys`].
    Keys {
        /// Who logs in.
        account: BareJid,
        /// Keys for this hash.
        hash: Hash,
    },
    /// Is this the account's password? [`Answer::Verified`], after the same time for accounts
    /// that do not exist.
    Password {
        /// Who logs in.
        account: BareJid,
        /// What was given as the password.
        password: Secret,
    },
    /// The client's certificate names this account; may it log in? [`Answer::Verified`].
    Certificate {
        /// Who logs in.
        account: BareJid,
    },
    /// Does the client hold a token of this account? [`Answer::Token`].
    Token(Box<TokenProof>),
    /// A password was wrong. [`Answer::Proceed`] once the client has waited long enough; then it is
    /// told.
    Failed {
        /// The account it was about, if the client got that far.
        account: Option<BareJid>,
    },
    /// The client wants a token for next time: [`Answer::Issued`].
    IssueToken {
        /// Who has logged in.
        account: BareJid,
        /// Which client of theirs.
        client: ClientId,
        /// The only mechanism the token is to be good for.
        mechanism: HtBinding,
    },
    /// Which better keys would be of use to an account whose password the client knows
    /// (XEP-0480)? [`Answer::Upgrades`].
    Upgrades {
        /// Who has logged in.
        account: BareJid,
        /// The keys it was checked by.
        proven: Box<StoredKeys>,
        /// What the client can make.
        wanted: Vec<Hash>,
    },
    /// The client has made better keys: [`Answer::Proceed`] once they are stored.
    Upgrade {
        /// Who has logged in.
        account: BareJid,
        /// The keys it was checked by.
        proven: Box<StoredKeys>,
        /// The new ones.
        keys: Box<StoredKeys>,
    },
    /// Bring back a former session: [`Answer::Resumed`] or [`Answer::NotResumed`].
    Resume {
        /// Who has logged in; the session must be theirs.
        account: BareJid,
        /// Which session, and how far the client has got.
        resume: sm::Resume,
    },
    /// Make a session: [`Answer::Bound`] or [`Answer::NotBound`].
    Bind(Box<BindRequest>),
    /// Make an account (XEP-0077): [`Answer::Registered`].
    Register {
        /// Its address.
        account: BareJid,
        /// Its password.
        password: Secret,
    },
}

/// An answer to the [`Ask`] that names it.
#[derive(Debug)]
pub enum Answer {
    /// To [`Ask::Keys`].
    Keys(Box<StoredKeys>),
    /// To [`Ask::Password`] and [`Ask::Certificate`].
    Verified(bool),
    /// To [`Ask::Token`].
    Token(Box<TokenVerdict>),
    /// To any of these: log-ins are refused for now, or the store does not answer.
    Refused(Failure),
    /// To [`Ask::Upgrades`]: what the client is to make, in order.
    Upgrades(Vec<Upgrade>),
    /// To [`Ask::Failed`] and [`Ask::Upgrade`].
    Proceed,
    /// To [`Ask::IssueToken`]; `None` if there is to be none.
    Issued(Option<IssuedToken>),
    /// To [`Ask::Resume`]: the session is this stream's now.
    Resumed {
        /// The session's address.
        jid: FullJid,
        /// How many of the client's stanzas it has handled.
        h: u32,
    },
    /// To [`Ask::Resume`].
    NotResumed(sm::Failed),
    /// To [`Ask::Bind`].
    Bound(Box<Bound>),
    /// To [`Ask::Bind`].
    NotBound(Box<StanzaError>),
    /// To [`Ask::Register`].
    Registered(Result<(), Box<StanzaError>>),
}

/// The UUID by which a client installation names itself (XEP-0388 §2.3), in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Box<str>);

impl ClientId {
    /// Reads a UUID: `8-4-4-4-12` hexadecimal digits, in any case and of any version.
    pub fn parse(text: &str) -> Option<ClientId> {
        let groups: Vec<&str> = text.split('-').collect();
        let is_uuid = groups.len() == 5
            && groups.iter().zip([8, 4, 4, 4, 12]).all(|(group, digits)| {
                group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
        is_uuid.then(|| ClientId(text.to_ascii_lowercase().into()))
    }

    /// The UUID.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a client says about itself (XEP-0388 §2.3). Never shown to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAgent {
    /// The installation.
    pub id: Option<ClientId>,
    /// The software's name, for the account's owner.
    pub software: Option<String>,
    /// The device's name, for the account's owner.
    pub device: Option<String>,
}

/// A log-in by FAST token (XEP-0484).
#[derive(Debug)]
pub struct TokenProof {
    /// Who logs in.
    pub account: BareJid,
    /// Which client of theirs.
    pub client: ClientId,
    /// The mechanism used; the token must have been issued for it.
    pub mechanism: HtBinding,
    /// The channel binding's data; empty for -NONE.
    pub binding: Vec<u8>,
    /// What [`crate::sasl::ht::initiator`] must give for the token and the binding.
    pub initiator: Digest,
    /// The client's counter of uses; a value not above the last one is a replay.
    pub count: Option<u64>,
    /// Whether the token must be good for nothing afterwards.
    pub invalidate: bool,
    /// Whether a new token may be given if this one is due for rotation.
    pub rotate: bool,
}

/// What became of it.
#[derive(Debug)]
pub enum TokenVerdict {
    /// It is the client's token.
    Valid {
        /// [`crate::sasl::ht::responder`] for the token and the binding.
        responder: Digest,
        /// Its successor, if it was due for rotation.
        rotated: Option<IssuedToken>,
    },
    /// It was, but no longer: told as `credentials-expired`.
    Expired,
    /// It is not: told as `not-authorized`.
    Invalid,
}

/// Keys that a client is to make of its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// With which hash.
    pub hash: Hash,
    /// With which salt.
    pub salt: Box<[u8]>,
    /// In how many rounds.
    pub iterations: u32,
}

/// A token for the client.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: Secret,
    /// When it expires, as an XEP-0082 DateTime.
    pub expiry: String,
}

/// A session to be made.
#[derive(Debug)]
pub struct BindRequest {
    /// Whose.
    pub account: BareJid,
    /// Its resource.
    pub resource: Wanted,
    /// What the client says about itself. By Bind 2 the earlier sessions of the same installation end (XEP-0386 §4).
    pub user_agent: UserAgent,
    /// How the client proved who it is.
    pub mechanism: Mechanism,
    /// Stream management to be enabled with it.
    pub enable: Option<sm::Enable>,
    /// Whether carbons (XEP-0280) start enabled.
    pub carbons: bool,
    /// The client state (XEP-0352) it starts in: `false` is inactive.
    pub active: bool,
    /// Whether this is Bind 2: the client reads the archive, offline messages are not sent to it.
    pub bind2: bool,
}

/// The resource that a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Any.
    Any,
    /// This one (RFC 6120 §7.7); the server may give another.
    Resource(String),
    /// One that begins with this tag (XEP-0386 §4.1).
    Tag(String),
}

/// A session that was made.
#[derive(Debug)]
pub struct Bound {
    /// Its address.
    pub jid: FullJid,
    /// What became of [`BindRequest::enable`].
    pub sm: Option<Result<sm::Enabled, sm::Failed>>,
    /// More children for `<bound/>`, such as XEP-0313's `<metadata/>`.
    pub extra: Vec<Element>,
}

/// A finished negotiation: from now on stanzas flow.
#[derive(Debug)]
pub struct Session {
    /// The session's address.
    pub jid: FullJid,
    /// Whether it is a former session brought back.
    pub resumed: bool,
    /// How the client proved who it is.
    pub mechanism: Mechanism,
    /// What the client says about itself.
    pub user_agent: UserAgent,
    /// What the stream's header declared, for parsing its stanzas.
    pub context: StreamContext,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_by_a_uuid() {
        let id = ClientId::parse("D4565FA7-4d72-4749-b3d3-740edbf87770").unwrap();
        assert_eq!(id.as_str(), "d4565fa7-4d72-4749-b3d3-740edbf87770");
        for bad in [
            "",
            "d4565fa74d724749b3d3740edbf87770",
            "g4565fa7-4d72-4749-b3d3-740edbf87770",
        ] {
            assert_eq!(ClientId::parse(bad), None, "{bad}");
        }
    }
}
