//! The metrics of uploaded files.

use super::page::Page;
use posthaste_im::media::stats::{Refused, Stats};
use posthaste_im::stats::Counter;
use posthaste_media::{MediaService, Store};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the heart knows of them.
pub(super) fn ledger(page: &mut Page, stats: &Stats) {
    let sum = stats.sum();
    let gauges = [
        (
            "posthaste_media_accounts",
            "Accounts that have files, when the last sweep came round.",
            sum.accounts,
        ),
        (
            "posthaste_media_files",
            "Files, those being uploaded included, when the last sweep came round.",
            sum.files,
        ),
        (
            "posthaste_media_uploading_files",
            "Uploads begun and not ended, when the last sweep came round.",
            sum.open,
        ),
        (
            "posthaste_media_bytes",
            "Bytes that files take; an account's identical ones count once. As of the last sweep.",
            sum.bytes,
        ),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, value);
    }
    let counters: [(&str, &str, &Counter); 5] = [
        (
            "posthaste_media_slots_total",
            "Slots for uploads given out (XEP-0363).",
            &stats.slots,
        ),
        (
            "posthaste_media_uploads_begun_total",
            "Uploads that began.",
            &stats.begun,
        ),
        (
            "posthaste_media_uploads_abandoned_total",
            "Uploads that came to nothing.",
            &stats.abandoned,
        ),
        (
            "posthaste_media_files_removed_total",
            "Files removed, by their uploader, by an administrator or because their time had come.",
            &stats.removed,
        ),
        (
            "posthaste_media_sweeps_total",
            "Rounds of the sweep over all accounts.",
            &stats.rounds,
        ),
    ];
    for (name, help, counter) in counters {
        page.counter(name, help, counter.value());
    }
    page.counters(
        "posthaste_media_uploads_finished_total",
        "Uploads that became files: with bytes of their own, or with some that the account had.",
        "bytes",
        [
            ("new", stats.stored.value()),
            ("known", stats.adopted.value()),
        ],
    );
    page.counters(
        "posthaste_media_uploads_refused_total",
        "Uploads refused before a byte was taken, by the limit that was reached.",
        "reason",
        Refused::ALL.map(|why| (why.label(), stats.refused(why))),
    );
}

/// What the store of files has done, and what went wrong with it.
pub(super) fn store(page: &mut Page, store: &Store) {
    let stats = store.stats();
    page.counters(
        "posthaste_media_objects_total",
        "Objects of uploaded files that were brought to the store, and erased from it.",
        "deed",
        [
            ("kept", value(&stats.kept)),
            ("erased", value(&stats.erased)),
        ],
    );
    page.counters(
        "posthaste_media_transferred_bytes_total",
        "Bytes of files that were taken from uploads, and read for downloads.",
        "direction",
        [
            ("in", value(&stats.bytes_staged)),
            ("out", value(&stats.bytes_read)),
        ],
    );
    page.counters(
        "posthaste_media_errors_total",
        "Times the store of files could not do its part: the disk was nearly full, what was read was not what had been stored, or the disk or the service failed.",
        "cause",
        [
            ("full", value(&stats.refused_full)),
            ("mismatch", value(&stats.mismatches)),
            ("failed", value(&stats.failures)),
        ],
    );
}

/// Who is served.
pub(super) fn service(page: &mut Page, service: &MediaService) {
    let (uploads, downloads) = service.transfers();
    page.gauges(
        "posthaste_media_transfers",
        "Uploads and downloads that are under way.",
        "direction",
        [("in", uploads), ("out", downloads)],
    );
    let answers = service.answers().by_status();
    let answers: Vec<(String, u64)> = answers
        .into_iter()
        .map(|(status, count)| (status.to_string(), count))
        .collect();
    page.counters(
        "posthaste_media_requests_total",
        "Requests for uploaded files and for their uploads, by the status of the answer.",
        "status",
        answers
            .iter()
            .map(|(status, count)| (status.as_str(), *count)),
    );
    let previewed = service.previewed();
    page.counters(
        "posthaste_media_previews_total",
        "Files looked at for their previews: pictures made small, files of which there is nothing to see, files that could not be read; and requests while too many waited.",
        "outcome",
        [
            ("made", value(&previewed.made)),
            ("nothing", value(&previewed.nothing)),
            ("failed", value(&previewed.failed)),
            ("busy", value(&previewed.busy)),
        ],
    );
    page.counter(
        "posthaste_media_preview_seconds_total",
        "Time that looking at them has taken.",
        previewed.time().as_secs_f64(),
    );
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
