//! Guessing passwords is slow: failed log-ins delay the next ones, per address and per account.
//!
//! An address waits twice as long after each failure, its attempts one after the other; beyond
//! [`MAX_WAIT_MS`] it is refused. An account waits less and is never refused, or anyone could lock
//! its owner out. Which it is does not depend on whether the account exists. Tokens and
//! certificates cannot be guessed: they do not pass here.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use posthaste_proto::jid::BareJid;

use crate::clock::Timestamp;

/// Failures of an address that cost nothing: many people may share it.
const ADDRESS_FREE: u32 = 10;
/// Failures of an account that cost nothing: typing errors.
const ACCOUNT_FREE: u32 = 3;
/// The first delay; each failure more doubles it.
const FIRST_DELAY_MS: u64 = 500;
/// The longest delay between two attempts of an address: 450 guesses an hour, while the others
/// behind a shared address still get in.
const ADDRESS_MAX_DELAY_MS: u64 = 8_000;
/// The longest delay that guessing at an account can bring upon its owner.
const ACCOUNT_MAX_DELAY_MS: u64 = 4_000;
/// A log-in that would have to wait longer is refused instead: its connection costs memory.
const MAX_WAIT_MS: u64 = 10_000;
/// Failures are forgotten so long after the last one.
const FORGET_MS: u64 = 30 * 60_000;
/// Addresses and accounts remembered at once, some 4 MB. When there are more, those that failed
/// longest ago are forgotten.
const MAX_ENTRIES: usize = 50_000;
/// The window of [`Quota`].
const DAY_MS: u64 = 24 * 3_600_000;

/// Whether a log-in may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Now.
    Now,
    /// After waiting.
    After(Duration),
    /// Not for some time: `temporary-auth-failure`.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Address(IpAddr),
    /// The hash of its address, which whoever guesses could make as long as a JID may be. Two
    /// accounts with one hash would share a delay of seconds.
    Account(u64),
}

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    failures: u32,
    last: Timestamp,
    /// The next attempt may start then.
    next: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Throttle {
    suspicions: Mutex<HashMap<Subject, Suspicion>>,
    hasher: RandomState,
}

impl Throttle {
    pub(super) fn admit(
        &self,
        now: Timestamp,
        address: IpAddr,
        account: Option<&BareJid>,
    ) -> Admission {
        let mut suspicions = self.lock();
        let account_wait = account
            .and_then(|account| suspicions.get(&self.account(account)))
            .map_or(0, |suspicion| suspicion.next.since(now));
        let mut address_wait = 0;
        if let Some(suspicion) = suspicions.get_mut(&Subject::Address(network(address))) {
            address_wait = suspicion.next.since(now);
            if address_wait > MAX_WAIT_MS {
                return Admission::Refused;
            }
            // The next one of this address comes after this one, not beside it.
            let delay = delay(suspicion.failures, ADDRESS_FREE, ADDRESS_MAX_DELAY_MS);
            suspicion.next = now.plus_millis(address_wait).plus_millis(delay);
        }
        match account_wait.max(address_wait) {
            0 => Admission::Now,
            millis => Admission::After(Duration::from_millis(millis)),
        }
    }

    pub(super) fn failed(&self, now: Timestamp, address: IpAddr, account: Option<&BareJid>) {
        let mut suspicions = self.lock();
        let address = Subject::Address(network(address));
        note(
            &mut suspicions,
            now,
            address,
            ADDRESS_FREE,
            ADDRESS_MAX_DELAY_MS,
        );
        if let Some(account) = account {
            let account = self.account(account);
            note(
                &mut suspicions,
                now,
                account,
                ACCOUNT_FREE,
                ACCOUNT_MAX_DELAY_MS,
            );
        }
    }

    /// The address stays suspected: whoever guesses at others' accounts may have one too.
    pub(super) fn succeeded(&self, account: &BareJid) {
        self.lock().remove(&self.account(account));
    }

    fn account(&self, account: &BareJid) -> Subject {
        Subject::Account(self.hasher.hash_one(account))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Suspicion>> {
        self.suspicions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(
    suspicions: &mut HashMap<Subject, Suspicion>,
    now: Timestamp,
    subject: Subject,
    free: u32,
    max_delay_ms: u64,
) {
    if suspicions.len() >= MAX_ENTRIES && !suspicions.contains_key(&subject) {
        make_room(suspicions, now, |suspicion| suspicion.last, FORGET_MS);
    }
    let fresh = Suspicion {
        failures: 0,
        last: now,
        next: now,
    };
    let suspicion = suspicions.entry(subject).or_insert(fresh);
    if now.since(suspicion.last) > FORGET_MS {
        *suspicion = fresh;
    }
    suspicion.failures = suspicion.failures.saturating_add(1);
    suspicion.last = now;
    let next = now.plus_millis(delay(suspicion.failures, free, max_delay_ms));
    suspicion.next = suspicion.next.max(next);
}

/// How long the next attempt waits after so many failures.
fn delay(failures: u32, free: u32, max_ms: u64) -> u64 {
    match failures.saturating_sub(free) {
        0 => 0,
        over => FIRST_DELAY_MS
            .saturating_mul(1 << (over - 1).min(32))
            .min(max_ms),
    }
}

/// Drops what may be forgotten; if that is nothing, the oldest tenth.
fn make_room<K: Eq + std::hash::Hash, V>(
    entries: &mut HashMap<K, V>,
    now: Timestamp,
    time: impl Fn(&V) -> Timestamp,
    forget_ms: u64,
) {
    entries.retain(|_, entry| now.since(time(entry)) <= forget_ms);
    if entries.len() >= MAX_ENTRIES {
        let mut times: Vec<Timestamp> = entries.values().map(&time).collect();
        let (_, tenth, _) = times.select_nth_unstable(MAX_ENTRIES / 10);
        let tenth = *tenth;
        entries.retain(|_, entry| time(entry) > tenth);
    }
}

/// Who has an IPv6 address has at least a /64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

/// So many of something per address and day.
#[derive(Debug, Default)]
pub(super) struct Quota {
    /// How many, since when.
    taken: Mutex<HashMap<IpAddr, (u32, Timestamp)>>,
}

impl Quota {
    /// Takes one; `false` if there are none left today.
    pub(super) fn take(&self, now: Timestamp, address: IpAddr, most: u32) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(address);
        if taken.len() >= MAX_ENTRIES && !taken.contains_key(&address) {
            make_room(&mut taken, now, |(_, since)| *since, DAY_MS);
        }
        let entry = taken.entry(address).or_insert((0, now));
        if now.since(entry.1) > DAY_MS {
            *entry = (0, now);
        }
        if entry.0 >= most {
            return false;
        }
        entry.0 += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn jid(text: &str) -> BareJid {
        BareJid::parse(text).unwrap()
    }

    fn other(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn typing_errors_cost_nothing() {
        let throttle = Throttle::default();
        let romeo = jid("romeo@a.example");
        for _ in 0..ACCOUNT_FREE {
            throttle.failed(Timestamp(0), HERE, Some(&romeo));
        }
        let admission = throttle.admit(Timestamp(0), HERE, Some(&romeo));
        assert_eq!(admission, Admission::Now);
    }

    #[test]
    fn an_account_that_is_guessed_at_is_slow_for_all_but_never_closed() {
        let throttle = Throttle::default();
        let romeo = jid("romeo@a.example");
        for number in 0..100 {
            throttle.failed(Timestamp(0), other(number), Some(&romeo));
        }
        let admission = throttle.admit(Timestamp(0), HERE, Some(&romeo));
        assert_eq!(
            admission,
            Admission::After(Duration::from_millis(ACCOUNT_MAX_DELAY_MS))
        );
        let elsewhere = throttle.admit(Timestamp(0), HERE, Some(&jid("juliet@a.example")));
        assert_eq!(elsewhere, Admission::Now);
        throttle.succeeded(&romeo);
        assert_eq!(
            throttle.admit(Timestamp(0), HERE, Some(&romeo)),
            Admission::Now
        );
    }

    #[test]
    fn an_address_that_guesses_waits_ever_longer_and_is_refused_at_last() {
        let throttle = Throttle::default();
        for _ in 0..=ADDRESS_FREE {
            throttle.failed(Timestamp(0), HERE, None);
        }
        let wait = |millis| Admission::After(Duration::from_millis(millis));
        assert_eq!(throttle.admit(Timestamp(0), HERE, None), wait(500));
        // Attempts side by side wait for each other.
        assert_eq!(throttle.admit(Timestamp(0), HERE, None), wait(1000));
        for _ in 0..20 {
            throttle.failed(Timestamp(2000), HERE, None);
        }
        assert_eq!(throttle.admit(Timestamp(2000), HERE, None), wait(8000));
        assert_eq!(
            throttle.admit(Timestamp(2000), HERE, None),
            Admission::Refused
        );
        assert_eq!(
            throttle.admit(Timestamp(2000), other(7), None),
            Admission::Now
        );
        let later = Timestamp(2000 + 2 * ADDRESS_MAX_DELAY_MS);
        assert_eq!(throttle.admit(later, HERE, None), Admission::Now);
    }

    #[test]
    fn failures_are_forgotten_in_time() {
        let throttle = Throttle::default();
        for _ in 0..50 {
            throttle.failed(Timestamp(0), HERE, None);
        }
        let later = Timestamp(FORGET_MS + 1);
        throttle.failed(later, HERE, None);
        assert_eq!(throttle.admit(later, HERE, None), Admission::Now);
    }

    #[test]
    fn a_whole_ipv6_network_is_one_address() {
        let throttle = Throttle::default();
        for number in 0..=u128::from(ADDRESS_FREE) {
            let address = Ipv6Addr::from(0x2001_0db8 << 96 | number);
            throttle.failed(Timestamp(0), IpAddr::V6(address), None);
        }
        let same = IpAddr::V6("2001:db8::ffff".parse().unwrap());
        let next = IpAddr::V6("2001:db8:0:1::1".parse().unwrap());
        assert_ne!(throttle.admit(Timestamp(0), same, None), Admission::Now);
        assert_eq!(throttle.admit(Timestamp(0), next, None), Admission::Now);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let throttle = Throttle::default();
        for number in 0..u32::try_from(MAX_ENTRIES + 10).unwrap() {
            throttle.failed(Timestamp(u64::from(number)), other(number), None);
        }
        let suspicions = throttle.lock();
        assert!(suspicions.len() <= MAX_ENTRIES);
        assert!(!suspicions.contains_key(&Subject::Address(other(0))));
        let last = u32::try_from(MAX_ENTRIES + 9).unwrap();
        assert!(suspicions.contains_key(&Subject::Address(other(last))));
    }

    #[test]
    fn a_quota_is_per_address_and_day() {
        let quota = Quota::default();
        assert!(quota.take(Timestamp(0), HERE, 2));
        assert!(quota.take(Timestamp(1), HERE, 2));
        assert!(!quota.take(Timestamp(2), HERE, 2));
        assert!(quota.take(Timestamp(2), other(9), 2));
        assert!(quota.take(Timestamp(DAY_MS + 1), HERE, 2));
        assert!(!quota.take(Timestamp(DAY_MS + 1), HERE, 0));
    }
}
