//! Every metric of the server, by name. docs/operating.md says what to watch.

use super::media;
use super::page::Page;
use super::resident_bytes;
use super::survey::Survey;
use crate::generation::Generation;
use posthaste_engine_embedded::{CommitStats, LATENCY_BOUNDS_SECONDS, Latency};
use posthaste_gate::{GateStats, TransportKind};
use posthaste_im::node::Node;
use posthaste_im::stats::{ByKind, Counter, Stats};
use posthaste_kv::Kv as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What there is whether clients are served or not.
pub(crate) fn process(page: &mut Page, uptime: Duration, store_failures: u64, serving: bool) {
    let up = u8::from(serving);
    page.gauge(
        "posthaste_up",
        "1 while clients are served, 0 while the store is opened again.",
        up,
    );
    page.gauge(
        "posthaste_uptime_seconds",
        "Time since the process started.",
        uptime.as_secs(),
    );
    page.gauge(
        "posthaste_memory_bytes",
        "The process's resident memory.",
        resident_bytes(),
    );
    page.counter(
        "posthaste_store_failures_total",
        "Times the store failed and was opened again.",
        store_failures,
    );
}

/// What serves.
pub(crate) fn generation(page: &mut Page, generation: &Generation) {
    sessions(page, &generation.node);
    stanzas(page, &generation.node.stats);
    store(
        page,
        &generation.store.commit_stats(),
        generation.store.size_bytes(),
    );
    gate(page, &generation.gate_stats);
    media::ledger(page, &generation.node.stats.media);
    if let Some(service) = &generation.media {
        media::store(page, service.store());
        media::service(page, service);
    }
}

fn sessions(page: &mut Page, node: &Node) {
    let survey = Survey::of(node);
    page.gauges(
        "posthaste_sessions",
        "Sessions, with a connection or waiting to be resumed.",
        "state",
        [
            ("connected", survey.connected),
            ("resumable", survey.resumable),
        ],
    );
    page.gauge(
        "posthaste_homes",
        "Accounts whose state is in memory.",
        survey.homes,
    );
    page.gauge(
        "posthaste_queued_stanzas",
        "Stanzas in the queues of all sessions.",
        survey.queued,
    );
    page.gauge(
        "posthaste_longest_queue_stanzas",
        "Stanzas in the longest queue.",
        survey.longest_queue,
    );
    page.gauge(
        "posthaste_queued_bytes",
        "Memory held by queued stanzas.",
        survey.queued_bytes,
    );
    page.gauge(
        "posthaste_lagging_sessions",
        "Sessions that are caught up from the log.",
        survey.lagging,
    );
    let age = survey
        .oldest_undelivered
        .map_or(0, |since| node.now().since(since));
    page.gauge(
        "posthaste_oldest_undelivered_seconds",
        "Age of the oldest message that a session is there for and nobody has acknowledged.",
        Duration::from_millis(age).as_secs_f64(),
    );
}

fn stanzas(page: &mut Page, stats: &Stats) {
    let kinds = |kinds: &ByKind| {
        [
            ("message", kinds.message.value()),
            ("presence", kinds.presence.value()),
            ("iq", kinds.iq.value()),
        ]
    };
    page.counters(
        "posthaste_stanzas_in_total",
        "Stanzas from clients.",
        "kind",
        kinds(&stats.stanzas_in),
    );
    page.counters(
        "posthaste_stanzas_out_total",
        "Stanzas handed to sessions.",
        "kind",
        kinds(&stats.stanzas_out),
    );
    let counters: [(&str, &str, &Counter); 10] = [
        (
            "posthaste_log_appends_total",
            "Messages appended to logs.",
            &stats.log_appends,
        ),
        (
            "posthaste_sessions_bound_total",
            "Sessions begun.",
            &stats.sessions_bound,
        ),
        (
            "posthaste_sessions_resumed_total",
            "Sessions resumed.",
            &stats.sessions_resumed,
        ),
        (
            "posthaste_sessions_ended_total",
            "Sessions ended.",
            &stats.sessions_ended,
        ),
        (
            "posthaste_stanza_errors_total",
            "Stanza errors sent.",
            &stats.stanza_errors,
        ),
        (
            "posthaste_store_errors_total",
            "Stanzas that the store refused or failed.",
            &stats.store_errors,
        ),
        (
            "posthaste_push_notifications_total",
            "Push notifications published (XEP-0357).",
            &stats.pushes,
        ),
        (
            "posthaste_queue_refusals_total",
            "Stanzas that found no room in a slow session's queue.",
            &stats.refused_by_queue,
        ),
        (
            "posthaste_spam_reports_total",
            "Senders blocked and reported for spam.",
            &stats.spam_reports,
        ),
        (
            "posthaste_abuse_reports_total",
            "Senders blocked and reported for abuse or another reason.",
            &stats.abuse_reports,
        ),
    ];
    for (name, help, counter) in counters {
        page.counter(name, help, counter.value());
    }
}

fn store(page: &mut Page, stats: &CommitStats, size_bytes: u64) {
    page.gauge(
        "posthaste_store_bytes",
        "What the store takes on the disk.",
        size_bytes,
    );
    page.gauge(
        "posthaste_store_full",
        "1 while too little disk is free and nothing more is stored.",
        u8::from(stats.disk_full),
    );
    page.gauge(
        "posthaste_undurable_bytes",
        "What is on its way to the disk.",
        stats.pending_bytes,
    );
    page.counter(
        "posthaste_commits_total",
        "Batches that have become durable.",
        stats.batches,
    );
    page.counter(
        "posthaste_committed_bytes_total",
        "Their bytes.",
        stats.bytes,
    );
    page.counter(
        "posthaste_syncs_total",
        "Syncs of the disk; each makes many batches durable.",
        stats.rounds,
    );
    latency(
        page,
        "posthaste_commit_seconds",
        "For each sync, how long its oldest batch waited to be durable.",
        &stats.latency,
    );
    latency(
        page,
        "posthaste_sync_seconds",
        "How long each sync of the disk took.",
        &stats.sync,
    );
}

fn latency(page: &mut Page, name: &str, help: &str, latency: &Latency) {
    let bounds = LATENCY_BOUNDS_SECONDS
        .iter()
        .copied()
        .map(Some)
        .chain([None]);
    page.histogram(name, help, bounds.zip(latency.counts), latency.sum_seconds);
}

fn gate(page: &mut Page, stats: &GateStats) {
    let open = TransportKind::ALL.map(|kind| (kind.label(), stats.open(kind)));
    page.gauges(
        "posthaste_connections",
        "Open connections.",
        "transport",
        open,
    );
    page.gauge(
        "posthaste_s2s_queued",
        "Stanzas that wait for other servers, or for their acknowledgement.",
        stats.servers_queued.load(Ordering::Relaxed),
    );
    let counters: [(&str, &str, &AtomicU64); 18] = [
        (
            "posthaste_connections_accepted_total",
            "Connections let in.",
            &stats.accepted,
        ),
        (
            "posthaste_connections_refused_full_total",
            "Connections refused because there were too many.",
            &stats.refused_full,
        ),
        (
            "posthaste_connections_refused_address_total",
            "Connections refused because their address had too many.",
            &stats.refused_address,
        ),
        (
            "posthaste_accept_errors_total",
            "Times the system gave no connection, for want of descriptors or memory.",
            &stats.accept_errors,
        ),
        (
            "posthaste_tls_failures_total",
            "TLS handshakes that failed.",
            &stats.tls_failures,
        ),
        (
            "posthaste_negotiation_timeouts_total",
            "Connections that did not reach a session in time.",
            &stats.negotiation_timeouts,
        ),
        (
            "posthaste_connection_sessions_total",
            "Connections that reached a session.",
            &stats.sessions,
        ),
        (
            "posthaste_idle_timeouts_total",
            "Sessions lost because the client was gone.",
            &stats.idle_timeouts,
        ),
        (
            "posthaste_slow_elements_total",
            "Sessions lost because an element came in too slowly.",
            &stats.slow_elements,
        ),
        (
            "posthaste_write_stalls_total",
            "Sessions lost because the client stopped reading.",
            &stats.write_stalls,
        ),
        (
            "posthaste_rate_delays_total",
            "Times reading waited because a session sent too fast.",
            &stats.rate_delays,
        ),
        (
            "posthaste_bytes_in_total",
            "XMPP received.",
            &stats.bytes_in,
        ),
        ("posthaste_bytes_out_total", "XMPP sent.", &stats.bytes_out),
        (
            "posthaste_s2s_stanzas_in_total",
            "Stanzas taken from other servers.",
            &stats.servers_stanzas_in,
        ),
        (
            "posthaste_s2s_stanzas_out_total",
            "Stanzas that other servers have taken.",
            &stats.servers_stanzas_out,
        ),
        (
            "posthaste_s2s_returned_total",
            "Stanzas given back because their server could not be reached.",
            &stats.servers_returned,
        ),
        (
            "posthaste_s2s_failures_total",
            "Attempts to open a stream to another server that failed.",
            &stats.servers_failures,
        ),
        (
            "posthaste_http_requests_total",
            "HTTP requests answered.",
            &stats.http_requests,
        ),
    ];
    for (name, help, counter) in counters {
        page.counter(name, help, counter.load(Ordering::Relaxed));
    }
    let errors = stats.stream_errors();
    page.counters(
        "posthaste_stream_errors_total",
        "Stream errors sent.",
        "condition",
        errors.iter().map(|(name, count)| (*name, *count)),
    );
}
