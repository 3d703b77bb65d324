//! A node: what a gate and a server hold of the heart. It owns the table of homes and does the housekeeping that no
//! stanza causes (sessions that are not resumed, cursors to save, homes to forget).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use posthaste_kv::Kv;
use posthaste_proto::jid::{BareJid, FullJid};

use crate::accounts::Accounts;
use crate::border::Border;
use crate::clock::{Clock, Entropy, Timestamp};
use crate::config::Config;
use crate::ext::caps::ClientKinds;
use crate::ext::commands::sessions::Sessions as CommandSessions;
use crate::home::{Home, HomeState};
use crate::media::Painter;
use crate::orders::Orders;
use crate::session::{Session, SessionId};
use crate::stats::Stats;

/// The table of homes is cut into so many parts, so that connections on different cores rarely meet at a lock.
const PARTS: usize = 64;
/// A home that nobody has used for so long leaves memory.
const HOME_IDLE_MILLIS: u64 = 30_000;

/// Accounts that wait for a moment to push; beyond it only what can be pushed at once is.
const MAX_EXPECTED_PUSHES: usize = 100_000;

/// Part of the table of homes.
type Part = Mutex<HashMap<BareJid, Arc<Home>>>;

/// One server process's heart.
pub struct Node {
    kv: Arc<dyn Kv>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    config: RwLock<Arc<Config>>,
    accounts: Accounts,
    homes: Vec<Part>,
    hasher: RandomState,
    /// Commands that wait for their requesters (XEP-0050).
    pub(crate) commands: CommandSessions,
    /// What the process has been told to do.
    pub(crate) orders: Orders,
    /// What has been counted since the start.
    pub stats: Stats,
    /// The kinds of clients that are around (XEP-0115).
    pub client_kinds: ClientKinds,
    /// When the node was started, for XEP-0012.
    pub started_at: Timestamp,
    next_session: AtomicU64,
    /// Sessions without a connection, by when they end.
    detached: Mutex<BTreeMap<(Timestamp, SessionId), FullJid>>,
    /// Homes whose cursor is to be saved.
    dirty: Mutex<Vec<Arc<Home>>>,
    /// Sessions whose clients are to be asked in the next round what they have taken of the copies they got.
    asks_later: Mutex<Vec<Arc<Session>>>,
    /// When to look at the push registrations of an account, or at what a group has to tell, and which.
    pushes: Mutex<BTreeSet<(Timestamp, BareJid)>>,
    /// Homes whose account was removed by its owner and that are to be erased.
    removed: Mutex<Vec<BareJid>>,
    pub(crate) border: Border,
    /// Who makes small pictures of files.
    pub(crate) painter: OnceLock<Arc<dyn Painter>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("sessions", &self.stats.sessions())
            .finish_non_exhaustive()
    }
}

impl Node {
    /// A node on a store. Nothing runs yet; the caller spawns [`Node::keep_house`].
    pub fn new(
        config: Config,
        kv: Arc<dyn Kv>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Arc<Node> {
        let started_at = clock.now();
        let accounts = Accounts::new(kv.clone(), clock.clone(), entropy.clone(), config.accounts);
        Arc::new(Node {
            accounts,
            kv,
            clock,
            entropy,
            config: RwLock::new(Arc::new(config)),
            homes: (0..PARTS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            commands: CommandSessions::default(),
            orders: Orders::default(),
            stats: Stats::default(),
            client_kinds: ClientKinds::default(),
            started_at,
            next_session: AtomicU64::new(1),
            detached: Mutex::default(),
            dirty: Mutex::default(),
            asks_later: Mutex::default(),
            pushes: Mutex::default(),
            removed: Mutex::default(),
            border: Border::default(),
            painter: OnceLock::new(),
        })
    }

    /// The settings now.
    pub fn config(&self) -> Arc<Config> {
        self.config
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// New settings, for what happens from now on.
    pub fn reconfigure(&self, config: Config) {
        self.accounts.reconfigure(config.accounts);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Credentials, and who may try them.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The store.
    pub fn kv(&self) -> &dyn Kv {
        &*self.kv
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An unguessable name of 120 bits, as 24 characters of base 32 without padding.
    pub fn random_name(&self) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut bytes = [0u8; 24];
        self.entropy.fill(&mut bytes);
        bytes
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte & 31)]))
            .collect()
    }

    /// The source of randomness.
    pub fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    pub(crate) fn next_session_id(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Ordering::Relaxed))
    }

    fn part(&self, jid: &str) -> &Part {
        // The mask keeps the index within PARTS, on machines of any word size.
        let hash = self.hasher.hash_one(jid) & (PARTS as u64 - 1);
        &self.homes[usize::try_from(hash).unwrap_or(0)]
    }

    /// The home of a session's account, if it is in the table.
    pub(crate) fn home_of(&self, session: &FullJid) -> Option<Arc<Home>> {
        self.home_in_table(session.bare_str())
    }

    /// The home of a bare JID, if it is in the table.
    pub(crate) fn home_in_table(&self, jid: &str) -> Option<Arc<Home>> {
        let part = self.part(jid);
        let part = part.lock().unwrap_or_else(PoisonError::into_inner);
        part.get(jid).cloned()
    }

    /// The home of a bare JID, loaded or not.
    pub fn home(&self, jid: &BareJid) -> Arc<Home> {
        let mut part = self
            .part(jid.as_str())
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(home) = part.get(jid) {
            return home.clone();
        }
        let home = Arc::new(Home::new(jid.clone()));
        part.insert(jid.clone(), home.clone());
        home
    }

    /// All homes that are in the table, for statistics and shutdown.
    pub fn homes(&self) -> Vec<Arc<Home>> {
        let lock = |part: &Part| {
            part.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .values()
                .cloned()
                .collect::<Vec<_>>()
        };
        self.homes.iter().flat_map(lock).collect()
    }

    pub(crate) fn note_dirty(&self, home: &Arc<Home>, state: &mut HomeState) {
        if state.has_unsaved() && !state.listed_dirty {
            state.listed_dirty = true;
            self.dirty
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(home.clone());
        }
    }

    pub(crate) fn take_dirty(&self) -> Vec<Arc<Home>> {
        std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn note_asks_later(&self, session: Arc<Session>) {
        let mut asks = self
            .asks_later
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        asks.push(session);
    }

    pub(crate) fn take_asks_later(&self) -> Vec<Arc<Session>> {
        let mut asks = self
            .asks_later
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *asks)
    }

    pub(crate) fn note_removed(&self, account: BareJid) {
        self.removed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(account);
    }

    pub(crate) fn take_removed(&self) -> Vec<BareJid> {
        std::mem::take(&mut *self.removed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// This session ends at `deadline` unless it is resumed before.
    pub(crate) fn expect_resumption(&self, deadline: Timestamp, id: SessionId, jid: FullJid) {
        self.detached
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((deadline, id), jid);
    }

    /// The sessions whose time to be resumed is over.
    pub(crate) fn take_overdue(&self, now: Timestamp) -> Vec<(SessionId, FullJid)> {
        let mut detached = self.detached.lock().unwrap_or_else(PoisonError::into_inner);
        let later = detached.split_off(&(now.plus_millis(1), SessionId(0)));
        std::mem::replace(&mut *detached, later)
            .into_iter()
            .map(|((_, id), jid)| (id, jid))
            .collect()
    }

    /// The push registrations of this account, or what this group has to tell, are to be looked at then. Answers whether
    /// they will be.
    pub(crate) fn expect_push(&self, at: Timestamp, account: &BareJid) -> bool {
        let mut pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        if pushes.len() >= MAX_EXPECTED_PUSHES {
            return false;
        }
        pushes.insert((at, account.clone()));
        true
    }

    /// The accounts and groups that are to be looked at by now.
    pub(crate) fn take_expected_pushes(&self, now: Timestamp) -> Vec<BareJid> {
        let mut pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        while let Some((at, _)) = pushes.first()
            && *at <= now
        {
            due.extend(pushes.pop_first().map(|(_, account)| account));
        }
        due
    }

    /// Drops the homes that nobody has used lately.
    pub fn forget_idle_homes(&self) {
        let since = Timestamp(self.now().millis().saturating_sub(HOME_IDLE_MILLIS));
        for part in &self.homes {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            // A count of one is the table's own; under the table's lock nobody can make it two.
            part.retain(|_, home| Arc::strong_count(home) > 1 || !home.forget_if_idle(since));
            if part.capacity() > 4 * part.len() + 64 {
                part.shrink_to_fit();
            }
        }
    }
}
