//! FAST (XEP-0484): a client that has logged in once gets a token for next time.
//!
//! A token is bound to its account, its client and one mechanism, ends after some time, and is
//! replaced as it is used. The server stores a random seed of each; the token is an HMAC of it
//! under the node's secret, so that a copy of a home does not log anyone in. (A plain hash would
//! not do: HT proves possession by an HMAC keyed with the token itself.)

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use posthaste_kv::{Batch, KvError, Precondition, Scan};
use posthaste_proto::jid::BareJid;
use posthaste_proto::sasl::{Hash, HtBinding, Mechanism, Secret, ht};
use posthaste_proto::stream::server::{ClientId, IssuedToken, TokenProof, TokenVerdict};

use super::record::{ClientTokens, SEED_BYTES, Slot};
use super::{AccountError, Accounts, SECRET_BYTES, partition};
use crate::clock::Timestamp;
use crate::codec::Corrupt;
use crate::tables;

/// Clients of one account that hold tokens; the one whose token ends first makes room.
const MAX_CLIENTS: usize = 50;

/// A token used by two connections at once: one of them writes first, the other looks again.
const MAX_TRIES: usize = 3;

const HOUR_MS: u64 = 3_600_000;

impl Accounts {
    /// Checks a log-in by token, and does what follows from it: counts it, rotates or invalidates
    /// the token.
    ///
    /// # Errors
    /// The store failed.
    pub async fn verify_token(&self, proof: &TokenProof) -> Result<TokenVerdict, AccountError> {
        if self.is_disabled(&proof.account).await? {
            return Ok(TokenVerdict::Invalid);
        }
        let partition = partition(&proof.account)?;
        let key = tables::token_key(proof.client.as_str());
        let secret = self.secret().await?;
        for _ in 0..MAX_TRIES {
            let stored = self.kv.get(&partition, &key).await?;
            let tokens = match &stored {
                Some(value) => ClientTokens::decode(value.clone())?,
                None => ClientTokens::default(),
            };
            let used = match use_token(tokens, proof, secret, self.now()) {
                Ok(used) => used,
                Err(verdict) => return Ok(verdict),
            };
            let (tokens, rotated) = self.rotate(used.tokens, proof, secret);
            let mut batch = Batch::new(partition.clone());
            if proof.invalidate {
                batch.delete(key.clone());
            } else {
                batch.put(key.clone(), tokens.encode());
            }
            let unchanged = stored.map(|value| Precondition::Equals {
                key: key.clone(),
                value,
            });
            match self
                .kv
                .commit_if(batch, unchanged.into_iter().collect())
                .await
            {
                Ok(ticket) => {
                    // What the client keeps, or must no longer be able to use, outlives a crash.
                    if rotated.is_some() || proof.invalidate {
                        self.durable(ticket).await?;
                    }
                    return Ok(TokenVerdict::Valid {
                        responder: used.responder,
                        rotated,
                    });
                }
                Err(KvError::PreconditionFailed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(TokenVerdict::Invalid)
    }

    /// Gives a client a token. It is durable when this returns.
    ///
    /// # Errors
    /// The store failed.
    pub async fn issue_token(
        &self,
        account: &BareJid,
        client: &ClientId,
        mechanism: HtBinding,
    ) -> Result<IssuedToken, AccountError> {
        let partition = partition(account)?;
        let key = tables::token_key(client.as_str());
        let secret = self.secret().await?;
        let mut tokens = match self.kv.get(&partition, &key).await? {
            Some(value) => ClientTokens::decode(value)?,
            None => ClientTokens::default(),
        };
        let slot = self.new_slot(mechanism);
        let issued = issued(&slot, account, client, secret);
        tokens.new = Some(slot);
        let mut batch = Batch::new(partition.clone());
        for gone in self.surplus(&partition, &key).await? {
            batch.delete(gone);
        }
        batch.put(key, tokens.encode());
        let ticket = self.kv.commit(batch)?;
        self.durable(ticket).await?;
        Ok(issued)
    }

    /// Is one of a client's stored tokens still good?
    ///
    /// # Errors
    /// The value is none that can be read.
    pub(crate) fn is_any_token_valid(&self, stored: Bytes) -> Result<bool, Corrupt> {
        let tokens = ClientTokens::decode(stored)?;
        let mut slots = [tokens.current, tokens.new].into_iter().flatten();
        Ok(slots.any(|slot| slot.expires > self.now()))
    }

    /// The keys that make room for one more client.
    async fn surplus(
        &self,
        partition: &posthaste_kv::Partition,
        own: &Bytes,
    ) -> Result<Vec<Bytes>, AccountError> {
        let all = Scan::prefix(tables::FAST, MAX_CLIENTS + 1);
        let mut others = Vec::new();
        for (key, value) in self.kv.scan(partition, all).await? {
            if key != *own {
                let tokens = ClientTokens::decode(value)?;
                let end = [&tokens.current, &tokens.new]
                    .into_iter()
                    .flatten()
                    .map(|slot| slot.expires)
                    .max();
                others.push((end, key));
            }
        }
        others.sort();
        let many = (others.len() + 1).saturating_sub(MAX_CLIENTS);
        Ok(others.into_iter().take(many).map(|(_, key)| key).collect())
    }

    /// A token that is old enough gets a successor; it stays good until that one is used.
    fn rotate(
        &self,
        mut tokens: ClientTokens,
        proof: &TokenProof,
        secret: &[u8; SECRET_BYTES],
    ) -> (ClientTokens, Option<IssuedToken>) {
        let age_ms = u64::from(self.settings().token_rotation_hours) * HOUR_MS;
        let is_due = tokens
            .current
            .as_ref()
            .is_some_and(|slot| self.now().since(slot.issued) >= age_ms);
        if !proof.rotate || !is_due {
            return (tokens, None);
        }
        let slot = self.new_slot(proof.mechanism);
        let issued = issued(&slot, &proof.account, &proof.client, secret);
        tokens.new = Some(slot);
        (tokens, Some(issued))
    }

    fn new_slot(&self, mechanism: HtBinding) -> Slot {
        let mut seed = [0; SEED_BYTES];
        self.entropy.fill(&mut seed);
        let now = self.now();
        let life_ms = u64::from(self.settings().token_days) * 24 * HOUR_MS;
        Slot {
            mechanism,
            seed,
            issued: now,
            expires: now.plus_millis(life_ms),
            count: None,
        }
    }
}

/// A token that was used.
struct Used {
    /// The tokens after that use.
    tokens: ClientTokens,
    responder: posthaste_proto::sasl::Digest,
}

/// Looks for the token that the proof was made with, and moves it where tokens in use belong.
fn use_token(
    tokens: ClientTokens,
    proof: &TokenProof,
    secret: &[u8; SECRET_BYTES],
    now: Timestamp,
) -> Result<Used, TokenVerdict> {
    // Both are always computed, also where there is none, so that time tells nothing.
    let new = matching(tokens.new.as_ref(), proof, secret);
    let current = matching(tokens.current.as_ref(), proof, secret);
    let (token, mut slot, rest) = match (new, current) {
        (Some((token, slot)), _) => (token, slot, None),
        (None, Some((token, slot))) => (token, slot, tokens.new),
        (None, None) => return Err(TokenVerdict::Invalid),
    };
    if slot.expires <= now {
        return Err(TokenVerdict::Expired);
    }
    // XEP-0484 §3.4: a count that is not above the last one is a replay.
    if let Some(count) = proof.count {
        if slot.count.is_some_and(|last| count <= last) {
            return Err(TokenVerdict::Invalid);
        }
        slot.count = Some(count);
    }
    Ok(Used {
        responder: ht::responder(token.expose(), &proof.binding),
        tokens: ClientTokens {
            current: Some(slot),
            new: rest,
        },
    })
}

fn matching(
    slot: Option<&Slot>,
    proof: &TokenProof,
    secret: &[u8; SECRET_BYTES],
) -> Option<(Secret, Slot)> {
    let seed = slot.map_or([0; SEED_BYTES], |slot| slot.seed);
    let token = token(
        &seed,
        proof.mechanism,
        &proof.account,
        &proof.client,
        secret,
    );
    let is_proven = ht::initiator(token.expose(), &proof.binding) == proof.initiator;
    let slot = slot.filter(|slot| is_proven && slot.mechanism == proof.mechanism)?;
    Some((token, slot.clone()))
}

/// The token of a seed: 256 bits in URL-safe base64.
fn token(
    seed: &[u8; SEED_BYTES],
    mechanism: HtBinding,
    account: &BareJid,
    client: &ClientId,
    secret: &[u8; SECRET_BYTES],
) -> Secret {
    let name = Mechanism::Ht(mechanism).name();
    // NUL bytes between the parts, which none of them holds, keep apart what is not the same.
    let parts: [&[u8]; 8] = [
        b"fast token\0",
        name.as_bytes(),
        b"\0",
        account.as_str().as_bytes(),
        b"\0",
        client.as_str().as_bytes(),
        b"\0",
        seed,
    ];
    Secret::new(URL_SAFE_NO_PAD.encode(Hash::Sha256.hmac(secret, &parts).as_slice()))
}

fn issued(
    slot: &Slot,
    account: &BareJid,
    client: &ClientId,
    secret: &[u8; SECRET_BYTES],
) -> IssuedToken {
    IssuedToken {
        token: token(&slot.seed, slot.mechanism, account, client, secret),
        expiry: slot.expires.to_string(),
    }
}
