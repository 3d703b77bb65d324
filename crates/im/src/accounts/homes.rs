//! Accounts of a running server: homes in memory and contacts hear when one is made or removed.

use posthaste_kv::Scan;
use posthaste_proto::error::{StreamCondition, StreamError};
use posthaste_proto::jid::{BareJid, Jid};
use posthaste_proto::sasl::Secret;
use posthaste_proto::stanza::{Kind, PresenceType, Stanza};

use super::AccountError;
use crate::error::WalkError;
use crate::home::HomeState;
use crate::media;
use crate::node::Node;
use crate::roster::{MAX_PENDING_IN, MAX_TOMBSTONES, RosterItem};
use crate::router::Envelope;
use crate::session::{Session, SessionId};
use crate::tables;

impl Node {
    /// Makes an account.
    ///
    /// # Errors
    /// As [`super::Accounts::create`].
    pub async fn create_account(
        &self,
        account: &BareJid,
        password: &Secret,
    ) -> Result<(), AccountError> {
        self.accounts().create(account, password).await?;
        // Somebody may have written to it before there was one: its home is in memory.
        let home = self.home(account);
        let mut state = home.lock(self).await.map_err(store_error)?;
        if state.sessions.is_empty() {
            *state = load(self, account).await?;
        }
        Ok(())
    }

    /// Removes an account with everything in its home, cancels its subscriptions and ends its
    /// sessions with `<not-authorized/>` (XEP-0077 §3.2).
    ///
    /// # Errors
    /// As [`super::Accounts::remove`].
    pub async fn remove_account(&self, account: &BareJid) -> Result<(), AccountError> {
        self.accounts().revoke(account).await?;
        self.erase_home(account).await
    }

    /// Ends what is left of an account that is gone.
    pub(crate) async fn erase_home(&self, account: &BareJid) -> Result<(), AccountError> {
        let home = self.home(account);
        let (sessions, farewells) = {
            let mut state = home.lock(self).await.map_err(store_error)?;
            // From here on nothing is delivered to it and nobody binds.
            state.has_account = false;
            let gone = StreamError::new(StreamCondition::NotAuthorized);
            (close(&state, None, &gone), farewells(self, &state).await?)
        };
        for session in sessions {
            self.end_session(account, session).await;
        }
        self.route(farewells).await;
        // Before its rows are erased: they alone say where the bytes of its files are.
        media::doom_account(self, account)
            .await
            .map_err(store_error)?;
        self.accounts().erase(account).await?;
        let mut state = home.lock(self).await.map_err(store_error)?;
        *state = load(self, account).await?;
        Ok(())
    }
}

impl Node {
    /// Locks an account and ends its sessions.
    ///
    /// # Errors
    /// As [`super::Accounts::disable`].
    pub async fn disable_account(&self, account: &BareJid) -> Result<(), AccountError> {
        self.accounts().disable(account).await?;
        let why =
            StreamError::new(StreamCondition::NotAuthorized).with_text("the account is disabled");
        self.end_sessions(account, None, &why).await.map(drop)
    }

    /// Ends the session with this resource, or all of an account, so that nobody resumes them. Answers how many.
    ///
    /// # Errors
    /// The store failed.
    pub async fn end_sessions(
        &self,
        account: &BareJid,
        resource: Option<&str>,
        why: &StreamError,
    ) -> Result<usize, AccountError> {
        let home = self.home(account);
        let sessions = close(&*home.lock(self).await.map_err(store_error)?, resource, why);
        for session in &sessions {
            self.end_session(account, *session).await;
        }
        Ok(sessions.len())
    }
}

/// Closes connections; what is closed has still to be ended.
fn close(state: &HomeState, resource: Option<&str>, why: &StreamError) -> Vec<SessionId> {
    let is_meant = |session: &Session| resource.is_none_or(|it| session.jid.resource() == it);
    let sessions = state.sessions.iter().map(|attendee| &*attendee.session);
    let meant = sessions.filter(|session| is_meant(session));
    meant
        .map(|session| {
            session.state().close(why.clone());
            session.id
        })
        .collect()
}

/// What tells each contact that there is nobody any more.
async fn farewells(node: &Node, state: &HomeState) -> Result<Vec<Envelope>, AccountError> {
    let most = node.config().roster_items + MAX_PENDING_IN + MAX_TOMBSTONES as usize;
    let scan = Scan::prefix(tables::ROSTER, most);
    let mut farewells = Vec::new();
    for (key, value) in node.kv().scan(&state.partition, scan).await? {
        let name = key.strip_prefix(tables::ROSTER).unwrap_or_default();
        let Some(contact) = std::str::from_utf8(name)
            .ok()
            .and_then(|n| BareJid::parse(n).ok())
        else {
            continue;
        };
        let item = RosterItem::decode(contact, value)?;
        let subscription = item.subscription.state;
        let ends = [
            (
                subscription.sees_contact() || subscription.is_pending_out(),
                PresenceType::Unsubscribe,
            ),
            (
                subscription.is_seen_by_contact() || subscription.is_pending_in(),
                PresenceType::Unsubscribed,
            ),
        ];
        for (_, kind) in ends.into_iter().filter(|(is_so, _)| *is_so) {
            let mut presence = Stanza::new(Kind::Presence(kind));
            presence.from = Some(Jid::from(&state.jid));
            presence.to = Some(Jid::from(&item.jid));
            farewells.push(Envelope::new(presence));
        }
    }
    Ok(farewells)
}

async fn load(node: &Node, account: &BareJid) -> Result<HomeState, AccountError> {
    HomeState::load(node, account).await.map_err(store_error)
}

fn store_error(error: WalkError) -> AccountError {
    match error {
        WalkError::Store(error) => error.into(),
        WalkError::Corrupt(corrupt) => corrupt.into(),
        // Loading a home asks nothing of a peer.
        WalkError::Refused(_) => AccountError::NotFound,
    }
}
