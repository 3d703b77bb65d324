//! Accounts of a running server: homes in memory hear when one is made or removed.

use std::sync::Arc;

use posthaste_proto::error::{StreamCondition, StreamError};
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::Secret;

use super::AccountError;
use crate::error::WalkError;
use crate::home::HomeState;
use crate::node::Node;
use crate::session::SessionId;

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
        // Somebody may have written to it before there was one.
        let home = self.home(account);
        let mut state = home.lock(self).await.map_err(store_error)?;
        state.reload(self).await.map_err(store_error)
    }

    /// Removes an account with everything in its home, and ends its sessions with
    /// `<not-authorized/>` (XEP-0077 §3.2).
    ///
    /// # Errors
    /// As [`super::Accounts::remove`].
    pub async fn remove_account(self: &Arc<Node>, account: &BareJid) -> Result<(), AccountError> {
        let home = self.home(account);
        let sessions: Vec<SessionId> = {
            let mut state = home.lock(self).await.map_err(store_error)?;
            // From here on nothing is delivered to it and nobody binds.
            state.has_account = false;
            let gone = StreamError::new(StreamCondition::NotAuthorized);
            for attendee in &state.sessions {
                attendee.session.state().close(gone.clone());
            }
            state.sessions.iter().map(|a| a.session.id).collect()
        };
        for session in sessions {
            self.end_session(account, session).await;
        }
        let removed = self.accounts().remove(account).await;
        let mut state = home.lock(self).await.map_err(store_error)?;
        *state = HomeState::load(self, account).await.map_err(store_error)?;
        removed
    }
}

fn store_error(error: WalkError) -> AccountError {
    match error {
        WalkError::Store(error) => error.into(),
        WalkError::Corrupt(corrupt) => corrupt.into(),
        // Loading a home asks nothing of a peer.
        WalkError::Refused(_) => AccountError::NotFound,
    }
}
