//! What transfers may cost.

use std::time::Duration;

/// The bounds of all transfers together, and of each.
///
/// A download keeps no more than two pieces of the file (256 KiB each, 64 KiB for a slow reader) and 16 KiB of the
/// connection's, an upload those 16 KiB and what its staged file collects (512 KiB): whatever the size of the file.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Uploads at one time. Bounds file descriptors and memory.
    pub uploads: usize,
    /// Downloads at one time.
    pub downloads: usize,
    /// Uploads at one time from one IPv4 address or IPv6 /64: a mobile carrier puts many people behind one. A proxy on
    /// this machine is not counted.
    pub uploads_per_address: usize,
    /// Downloads at one time from one such address.
    pub downloads_per_address: usize,
    /// Time that an upload may send nothing: a phone in a tunnel. It can be resumed afterwards.
    pub silence: Duration,
    /// Time that an upload has to reach the least speed.
    pub grace: Duration,
    /// The least average speed of an upload past its grace, in bytes a second: what a bad mobile network still gives.
    pub least_speed: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            uploads: 1_024,
            downloads: 2_048,
            uploads_per_address: 256,
            downloads_per_address: 512,
            silence: Duration::from_secs(60),
            grace: Duration::from_secs(60),
            least_speed: 1_024,
        }
    }
}
