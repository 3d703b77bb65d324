//! A page in Prometheus' text format.

use std::fmt::{Display, Write as _};

/// The media type of a page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page under construction. Names and label values are ours and need no escaping.
#[derive(Default)]
pub(crate) struct Page(String);

impl Page {
    /// Something that only grows.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "counter");
        self.line(format_args!("{name} {value}"));
    }

    /// Something that goes up and down.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "gauge");
        self.line(format_args!("{name} {value}"));
    }

    /// A counter split by the values of one label.
    pub(crate) fn counters<'a, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, V)>,
    ) {
        self.head(name, help, "counter");
        self.split(name, label, values);
    }

    /// A gauge split by the values of one label.
    pub(crate) fn gauges<'a, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, V)>,
    ) {
        self.head(name, help, "gauge");
        self.split(name, label, values);
    }

    /// Observed seconds. `buckets` are (upper bound, observations in this bucket alone), the last
    /// of them without a bound.
    pub(crate) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        buckets: impl IntoIterator<Item = (Option<f64>, u64)>,
        sum_seconds: f64,
    ) {
        self.head(name, help, "histogram");
        let mut so_far = 0;
        for (bound, observations) in buckets {
            so_far += observations;
            match bound {
                Some(bound) => self.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {so_far}")),
                None => self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {so_far}")),
            }
        }
        self.line(format_args!("{name}_sum {sum_seconds}"));
        self.line(format_args!("{name}_count {so_far}"));
    }

    /// The finished text.
    pub(crate) fn finish(self) -> String {
        self.0
    }

    fn split<'a, V: Display>(
        &mut self,
        name: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, V)>,
    ) {
        for (kind, value) in values {
            self.line(format_args!("{name}{{{label}=\"{kind}\"}} {value}"));
        }
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::default();
        page.gauge("sessions", "Bound sessions.", 3);
        page.counters("stanzas", "Stanzas.", "kind", [("iq", 1), ("message", 2)]);
        page.histogram(
            "wait_seconds",
            "Waits.",
            [(Some(0.5), 2), (Some(1.0), 0), (None, 1)],
            2.25,
        );
        let expected = "\
# HELP sessions Bound sessions.
# TYPE sessions gauge
sessions 3
# HELP stanzas Stanzas.
# TYPE stanzas counter
stanzas{kind=\"iq\"} 1
stanzas{kind=\"message\"} 2
# HELP wait_seconds Waits.
# TYPE wait_seconds histogram
wait_seconds_bucket{le=\"0.5\"} 2
wait_seconds_bucket{le=\"1\"} 2
wait_seconds_bucket{le=\"+Inf\"} 3
wait_seconds_sum 2.25
wait_seconds_count 3
";
        assert_eq!(page.finish(), expected);
    }
}
