//! Metrics for Prometheus, on an address of their own.
//!
//! The gate, the heart and the store count in plain atomics; this renders them when asked. That
//! costs the hot path one relaxed addition and keeps the metrics library out of those crates.

pub(crate) mod exposition;
mod listener;
mod media;
mod page;
mod survey;

pub(crate) use listener::MetricsListener;
pub(crate) use page::Page;
pub(crate) use survey::Survey;

/// The process's resident memory in bytes; nought where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_has_memory() {
        assert!(super::resident_bytes() > 0);
    }
}
