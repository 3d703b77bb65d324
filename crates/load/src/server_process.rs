//! What the loaded server costs its machine, read from /proc: CPU time of all threads and resident memory.

use std::time::Duration;

/// /proc reports CPU time in ticks of USER_HZ, which Linux has fixed at 100 for user space.
const TICKS_PER_SECOND: u64 = 100;

/// The processes that make up the server.
#[derive(Clone)]
pub(crate) struct ServerProcess {
    pids: Vec<u32>,
}

/// Memory of the server at one moment, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Resident set.
    pub(crate) rss: u64,
    /// Proportional set: shared pages counted by their share.
    pub(crate) pss: u64,
}

impl ServerProcess {
    /// Watches these processes; `None` when there are none to watch.
    pub(crate) fn new(pids: &[u32]) -> Option<ServerProcess> {
        (!pids.is_empty()).then(|| ServerProcess {
            pids: pids.to_vec(),
        })
    }

    /// User and system time of all threads so far.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let mut ticks = 0;
        for pid in &self.pids {
            ticks += cpu_ticks(&std::fs::read_to_string(format!("/proc/{pid}/stat"))?)
                .ok_or_else(|| anyhow::anyhow!("/proc/{pid}/stat is not as proc(5) says"))?;
        }
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// The resident set now, in bytes, as cheap for the server as it can be asked for.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for pid in &self.pids {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
            bytes += kib_line(&status, "VmRSS:") * 1024;
        }
        Ok(bytes)
    }

    /// Resident memory now.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let mut memory = Memory { rss: 0, pss: 0 };
        for pid in &self.pids {
            let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            memory.rss += kib_line(&rollup, "Rss:") * 1024;
            memory.pss += kib_line(&rollup, "Pss:") * 1024;
        }
        Ok(memory)
    }
}

/// utime + stime of a stat line. The command name may hold blanks, so fields count from its closing bracket.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kib_line(text: &str, label: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(label))
        .and_then(|rest| rest.split_ascii_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_ticks_are_found_after_a_name_with_blanks_and_brackets() {
        let stat = "12 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20 0 1";
        assert_eq!(cpu_ticks(stat), Some(100));
    }

    #[test]
    fn memory_lines_are_in_kib() {
        let rollup = "0-1 ---p\nRss:      1234 kB\nPss:       1000 kB\nPss_Dirty: 7 kB\n";
        assert_eq!(kib_line(rollup, "Rss:"), 1234);
        assert_eq!(kib_line(rollup, "Pss:"), 1000);
    }

    #[test]
    fn a_process_can_watch_itself() {
        let own = ServerProcess::new(&[std::process::id()]).unwrap();
        assert!(own.memory().unwrap().rss > 0);
        assert!(own.resident().unwrap() > 0);
        own.cpu_time().unwrap();
    }
}
