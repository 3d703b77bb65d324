//! How many connections are let in: in total, and from one address.
//!
//! An address is an IPv4 address or an IPv6 /64, the least that one customer is given.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::stats::{GateStats, TransportKind, count};

/// The counts of a gate.
#[derive(Debug)]
pub(crate) struct Admission {
    most: usize,
    most_per_address: usize,
    stats: Arc<GateStats>,
    counts: Mutex<Counts>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<u64, u32>,
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The gate has as many connections as it may have.
    Full,
    /// This address has.
    AddressFull,
}

/// One admitted connection; dropping it makes room for the next.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    address: u64,
    kind: TransportKind,
}

impl Admission {
    pub(crate) fn new(
        most: usize,
        most_per_address: usize,
        stats: Arc<GateStats>,
    ) -> Arc<Admission> {
        Arc::new(Admission {
            most,
            most_per_address,
            stats,
            counts: Mutex::default(),
            emptied: Notify::new(),
        })
    }

    /// Lets a connection of `kind` from `address` in, or says what is full.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        kind: TransportKind,
    ) -> Result<Permit, Refusal> {
        let admitted = self.find_room(address_key(address));
        match admitted {
            Ok(()) => {
                count(&self.stats.accepted, 1);
                self.stats.opened(kind);
            }
            Err(Refusal::Full) => count(&self.stats.refused_full, 1),
            Err(Refusal::AddressFull) => count(&self.stats.refused_address, 1),
        }
        admitted.map(|()| Permit {
            admission: Arc::clone(self),
            address: address_key(address),
            kind,
        })
    }

    /// Connections open now.
    pub(crate) fn total(&self) -> usize {
        self.lock().total
    }

    /// Waits until no connection is open.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.lock().total == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn find_room(&self, address: u64) -> Result<(), Refusal> {
        let mut counts = self.lock();
        if counts.total >= self.most {
            return Err(Refusal::Full);
        }
        let here = counts.by_address.entry(address).or_default();
        if *here as usize >= self.most_per_address {
            return Err(Refusal::AddressFull);
        }
        *here += 1;
        counts.total += 1;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Permit {
    /// How the connection is counted now.
    pub(crate) fn kind(&self) -> TransportKind {
        self.kind
    }

    /// The connection has become one of another kind.
    pub(crate) fn becomes(&mut self, kind: TransportKind) {
        self.admission.stats.closed(self.kind);
        self.admission.stats.opened(kind);
        self.kind = kind;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.stats.closed(self.kind);
        let mut counts = self.admission.lock();
        counts.total -= 1;
        if counts.total == 0 {
            self.admission.emptied.notify_waiters();
        }
        if let Some(here) = counts.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

/// The upper 64 bits of an IPv6 address. IPv4 goes where no IPv6 peer can be: below ffff:ffff::/32,
/// which is multicast.
fn address_key(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => 0xffff_ffff_0000_0000 | u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(most: usize, most_per_address: usize) -> Arc<Admission> {
        Admission::new(most, most_per_address, Arc::default())
    }

    fn admit(admission: &Arc<Admission>, address: &str) -> Result<Permit, Refusal> {
        admission.admit(address.parse().unwrap(), TransportKind::Tcp)
    }

    #[test]
    fn the_total_is_bounded_and_a_closed_connection_makes_room() {
        let admission = admission(2, 10);
        let first = admit(&admission, "192.0.2.1").unwrap();
        let _second = admit(&admission, "192.0.2.2").unwrap();
        assert_eq!(admit(&admission, "192.0.2.3").unwrap_err(), Refusal::Full);
        drop(first);
        admit(&admission, "192.0.2.3").unwrap();
    }

    #[test]
    fn one_address_cannot_take_the_room_of_all() {
        let admission = admission(10, 1);
        let _one = admit(&admission, "192.0.2.1").unwrap();
        assert_eq!(
            admit(&admission, "192.0.2.1").unwrap_err(),
            Refusal::AddressFull
        );
        assert_eq!(
            admit(&admission, "::ffff:192.0.2.1").unwrap_err(),
            Refusal::AddressFull
        );
        admit(&admission, "192.0.2.2").unwrap();
    }

    #[test]
    fn a_whole_ipv6_network_counts_as_one_address() {
        let admission = admission(10, 1);
        let _one = admit(&admission, "2001:db8:0:1::1").unwrap();
        assert_eq!(
            admit(&admission, "2001:db8:0:1:ffff::2").unwrap_err(),
            Refusal::AddressFull
        );
        admit(&admission, "2001:db8:0:2::1").unwrap();
    }

    #[tokio::test]
    async fn the_last_to_leave_is_noticed() {
        let admission = admission(10, 10);
        let permit = admit(&admission, "192.0.2.1").unwrap();
        let (waiting, ()) = tokio::join!(
            tokio::time::timeout(std::time::Duration::from_secs(5), admission.empty()),
            async move { drop(permit) }
        );
        waiting.unwrap();
    }

    #[test]
    fn a_connection_is_counted_as_what_it_has_become() {
        let admission = admission(10, 10);
        let mut permit = admit(&admission, "192.0.2.1").unwrap();
        permit.becomes(TransportKind::StartTls);
        assert_eq!(admission.stats.open(TransportKind::Tcp), 0);
        assert_eq!(admission.stats.open(TransportKind::StartTls), 1);
        drop(permit);
        assert_eq!(admission.stats.open(TransportKind::StartTls), 0);
    }

    #[test]
    fn addresses_that_left_are_forgotten() {
        let admission = admission(10, 1);
        drop(admit(&admission, "192.0.2.1").unwrap());
        assert!(admission.lock().by_address.is_empty());
        assert_eq!(admission.lock().total, 0);
    }
}
