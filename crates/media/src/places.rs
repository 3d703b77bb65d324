//! How many are served at once: in total, and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places for transfers of one kind.
#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    most_per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<u64, usize>,
}

/// A place; dropping it makes room for the next.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: Option<u64>,
}

impl Places {
    pub(crate) fn new(most: usize, most_per_address: usize) -> Arc<Places> {
        Arc::new(Places {
            most,
            most_per_address,
            taken: Mutex::default(),
        })
    }

    /// A place for somebody at `address`, if there is one.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = key(address);
        let mut taken = self.lock();
        if taken.total >= self.most {
            return None;
        }
        if let Some(address) = address {
            let here = taken.by_address.entry(address).or_default();
            if *here >= self.most_per_address {
                return None;
            }
            *here += 1;
        }
        taken.total += 1;
        Some(Place {
            places: Arc::clone(self),
            address,
        })
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.total -= 1;
        let Some(address) = self.address else { return };
        if let Some(here) = taken.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

/// One customer: an IPv4 address or an IPv6 /64. Not this machine itself: that is a proxy, behind which all are.
fn key(address: IpAddr) -> Option<u64> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        // Where no IPv6 network can be: ffff:ffff::/32 is multicast.
        IpAddr::V4(v4) => Some(0xffff_ffff_0000_0000 | u64::from(v4.to_bits())),
        IpAddr::V6(v6) => u64::try_from(v6.to_bits() >> 64).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(places: &Arc<Places>, address: &str) -> Option<Place> {
        places.take(address.parse().unwrap())
    }

    #[test]
    fn no_more_than_all_places_are_taken_and_who_leaves_makes_room() {
        let places = Places::new(2, 2);
        let first = take(&places, "192.0.2.1").unwrap();
        let _second = take(&places, "127.0.0.1").unwrap();
        assert!(take(&places, "192.0.2.2").is_none());
        drop(first);
        let _third = take(&places, "192.0.2.2").unwrap();
        assert_eq!(places.taken(), 2);
    }

    #[test]
    fn one_address_cannot_take_all_places_unless_it_is_a_proxy_of_ours() {
        let places = Places::new(10, 1);
        let _first = take(&places, "2001:db8:0:1::1").unwrap();
        assert!(take(&places, "2001:db8:0:1::2").is_none());
        let second = take(&places, "2001:db8:0:2::1").unwrap();
        let _proxied = [(); 2].map(|()| take(&places, "::ffff:127.0.0.1").unwrap());
        drop(second);
        assert_eq!(places.lock().by_address.len(), 1, "who left is forgotten");
    }
}
