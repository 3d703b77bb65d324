//! How many connections are let in: in total, and from one address.
//!
//! An address is an IPv4 address or an IPv6 /64, the least that one customer is given.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

/// The counts of a gate.
#[derive(Debug)]
pub(crate) struct Admission {
    most: usize,
    most_per_address: usize,
    counts: Mutex<Counts>,
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
}

impl Admission {
    pub(crate) fn new(most: usize, most_per_address: usize) -> Arc<Admission> {
        Arc::new(Admission {
            most,
            most_per_address,
            counts: Mutex::default(),
        })
    }

    /// Lets a connection from `address` in, or says what is full.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Refusal> {
        let address = address_key(address);
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
        Ok(Permit {
            admission: Arc::clone(self),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.lock();
        counts.total -= 1;
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

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_total_is_bounded_and_a_closed_connection_makes_room() {
        let admission = Admission::new(2, 10);
        let first = admission.admit(ip("192.0.2.1")).unwrap();
        let _second = admission.admit(ip("192.0.2.2")).unwrap();
        assert_eq!(admission.admit(ip("192.0.2.3")).unwrap_err(), Refusal::Full);
        drop(first);
        admission.admit(ip("192.0.2.3")).unwrap();
    }

    #[test]
    fn one_address_cannot_take_the_room_of_all() {
        let admission = Admission::new(10, 1);
        let _one = admission.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(
            admission.admit(ip("192.0.2.1")).unwrap_err(),
            Refusal::AddressFull
        );
        assert_eq!(
            admission.admit(ip("::ffff:192.0.2.1")).unwrap_err(),
            Refusal::AddressFull
        );
        admission.admit(ip("192.0.2.2")).unwrap();
    }

    #[test]
    fn a_whole_ipv6_network_counts_as_one_address() {
        let admission = Admission::new(10, 1);
        let _one = admission.admit(ip("2001:db8:0:1::1")).unwrap();
        assert_eq!(
            admission.admit(ip("2001:db8:0:1:ffff::2")).unwrap_err(),
            Refusal::AddressFull
        );
        admission.admit(ip("2001:db8:0:2::1")).unwrap();
    }

    #[test]
    fn addresses_that_left_are_forgotten() {
        let admission = Admission::new(10, 1);
        drop(admission.admit(ip("192.0.2.1")).unwrap());
        assert!(admission.lock().by_address.is_empty());
        assert_eq!(admission.lock().total, 0);
    }
}
