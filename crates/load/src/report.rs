//! The result of a run: named figures with units, shown as a table or as JSON.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

/// One figure of a report.
struct Figure {
    /// Stable name, for scripts.
    key: String,
    value: f64,
    unit: &'static str,
}

/// What a scenario measured.
pub(crate) struct Report {
    scenario: &'static str,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(scenario: &'static str) -> Report {
        Report {
            scenario,
            figures: Vec::new(),
        }
    }

    /// Adds a figure.
    pub(crate) fn add(&mut self, key: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure {
            key: key.into(),
            value,
            unit,
        });
    }

    /// Adds a count.
    pub(crate) fn count(&mut self, key: impl Into<String>, count: u64) {
        self.add(key, as_f64(count), "");
    }

    /// Adds how often something happened in a time, under `<key>` and `<key>_per_s`.
    pub(crate) fn rate(&mut self, key: &str, count: u64, elapsed: Duration) {
        self.count(key, count);
        self.add(
            format!("{key}_per_s"),
            as_f64(count) / elapsed.as_secs_f64(),
            "/s",
        );
    }

    /// Adds the server's CPU time, whole and for each 1,000 of `count`.
    pub(crate) fn cpu(&mut self, prefix: &str, cpu: Duration, count: u64, elapsed: Duration) {
        self.add(format!("{prefix}_cpu_s"), cpu.as_secs_f64(), "s");
        self.add(
            format!("{prefix}_cores"),
            cpu.as_secs_f64() / elapsed.as_secs_f64(),
            "cores",
        );
        if count > 0 {
            let per_thousand = cpu.as_secs_f64() * 1e6 / as_f64(count);
            self.add(format!("{prefix}_cpu_ms_per_1000"), per_thousand, "ms");
        }
    }

    /// Adds the percentiles of a histogram that holds microseconds.
    pub(crate) fn latency(&mut self, prefix: &str, micros: &Histogram<u64>) {
        if micros.is_empty() {
            return;
        }
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
            let value = as_f64(micros.value_at_quantile(quantile)) / 1000.0;
            self.add(format!("{prefix}_{name}_ms"), value, "ms");
        }
        self.add(
            format!("{prefix}_max_ms"),
            as_f64(micros.max()) / 1000.0,
            "ms",
        );
    }

    /// Prints the report to standard output.
    pub(crate) fn print(&self, json: bool) -> std::io::Result<()> {
        let text = if json {
            self.to_json()
        } else {
            self.to_table()
        };
        std::io::stdout().lock().write_all(text.as_bytes())
    }

    fn to_table(&self) -> String {
        let mut text = format!("{}\n", self.scenario);
        for figure in &self.figures {
            let _ = writeln!(
                text,
                "  {:<34} {:>14.3} {}",
                figure.key, figure.value, figure.unit
            );
        }
        text
    }

    fn to_json(&self) -> String {
        let mut text = format!("{{\"scenario\":\"{}\"", self.scenario);
        for figure in &self.figures {
            // JSON has no word for infinity or for what is not a number.
            let value = if figure.value.is_finite() {
                figure.value
            } else {
                0.0
            };
            let _ = write!(text, ",\"{}\":{value}", figure.key);
        }
        text.push_str("}\n");
        text
    }
}

/// A histogram of microseconds up to ten minutes, with three significant digits.
pub(crate) fn micros_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("constant bounds are valid")
}

/// Counts here stay far below 2^53, where a double is still exact.
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_json_object() {
        let mut report = Report::new("login");
        report.rate("logins", 50, Duration::from_secs(2));
        report.add("odd", f64::INFINITY, "");
        let expected = "{\"scenario\":\"login\",\"logins\":50,\"logins_per_s\":25,\"odd\":0}\n";
        assert_eq!(report.to_json(), expected);
    }

    #[test]
    fn cpu_is_given_for_each_thousand() {
        let mut report = Report::new("chat");
        report.cpu(
            "server",
            Duration::from_millis(500),
            1000,
            Duration::from_secs(1),
        );
        assert!(report.to_json().contains("\"server_cpu_ms_per_1000\":500"));
    }
}
