//! The binary as an operator meets it: started, asked, reloaded, stopped, killed, and on a disk
//! that fails.
#![allow(clippy::unwrap_used)]

mod server;

use crate::server::{PATIENCE, Place, read_until, text};
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn accounts_are_managed_on_a_running_server_and_without_one() {
    let place = Place::new("");
    let added = place.succeed(&["user", "add", "romeo@localhost"], "montague\n");
    assert_eq!(added, "romeo@localhost is added\n");
    let running = place.start();
    let added = place.succeed(&["user", "add", "juliet@localhost"], "capulet\n");
    assert_eq!(added, "juliet@localhost is added\n");
    let changed = place.succeed(&["user", "passwd", "juliet@localhost"], "montague\n");
    assert_eq!(changed, "juliet@localhost has a new password\n");
    assert_eq!(
        place.succeed(&["user", "list"], ""),
        "juliet@localhost\nromeo@localhost\n"
    );

    let again = place.fail(&["user", "add", "romeo@localhost"], "x\n");
    assert!(
        again.contains("there is such an account already"),
        "{again}"
    );
    let stranger = place.fail(&["user", "add", "romeo@example.org"], "x\n");
    assert!(
        stranger.contains("example.org is not a host of this server"),
        "{stranger}"
    );
    let empty = place.fail(&["user", "passwd", "romeo@localhost"], "\n");
    assert!(empty.contains("the password is empty"), "{empty}");
    let nobody = place.fail(&["user", "passwd", "nobody@localhost"], "x\n");
    assert!(nobody.contains("there is no such account"), "{nobody}");
    let generated = place.succeed(&["user", "passwd", "romeo@localhost", "--generate"], "");
    assert_eq!(generated.trim().len(), 24);

    for (verb, done) in [
        ("disable", "romeo@localhost is disabled\n"),
        ("enable", "romeo@localhost is enabled\n"),
        ("kick", "0 sessions are ended\n"),
    ] {
        assert_eq!(place.succeed(&["user", verb, "romeo@localhost"], ""), done);
    }
    running.stop();
    let removed = place.succeed(&["user", "remove", "juliet@localhost"], "");
    assert_eq!(removed, "juliet@localhost is removed\n");
    let _running = place.start();
    assert_eq!(
        place.succeed(&["user", "list", "localhost"], ""),
        "romeo@localhost\n"
    );
    place.succeed(&["user", "remove", "romeo@localhost"], "");
    assert_eq!(place.succeed(&["user", "list"], ""), "");
}

#[test]
fn what_accounts_have_uploaded_is_asked_of_a_running_server_and_without_one() {
    let place = Place::new("");
    place.succeed(&["user", "add", "romeo@localhost"], "montague\n");
    let romeo = ["media", "usage", "romeo@localhost"];
    let mut running = Some(place.start());
    for is_running in [true, false] {
        if !is_running && let Some(running) = running.take() {
            running.stop();
        }
        let all = place.succeed(&["media", "usage"], "");
        assert_eq!(all, "nobody has uploaded anything\n");
        let shown = place.succeed(&romeo, "");
        assert!(shown.starts_with("files        0 of 100000\n"), "{shown}");
        assert!(
            shown.contains("\nstored       0 B of 10.0 GiB\n"),
            "{shown}"
        );
        let json = place.succeed(&["media", "usage", "--json"], "");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["total"]["files"], 0);
        assert_eq!(json["limits"]["account_files"], 100_000);
        let nothing = place.succeed(&["media", "purge", "--older-than", "30d"], "");
        assert_eq!(nothing, "there is nothing to remove\n");
        for (arguments, why) in [
            (
                &["media", "usage", "nobody@localhost"][..],
                "there is no such account",
            ),
            (
                &["media", "purge", "nobody@localhost"],
                "there is no such account",
            ),
            (
                &["media", "usage", "romeo@example.org"],
                "is not a host of this server",
            ),
            (&["media", "purge", "--file", "x"], "names no file"),
            (
                &["media", "purge", "--file", "abcdefghijklmnopqrstuvw7"],
                "there is no file abcdefghijklmnopqrstuvw7",
            ),
        ] {
            let error = place.fail(arguments, "");
            assert!(error.contains(why), "{arguments:?}: {error}");
        }
    }
    let unsaid = place.command(&["media", "purge"], "");
    assert_eq!(unsaid.status.code(), Some(2));
    let what = text(&unsaid.stderr);
    assert!(
        what.contains("--older-than <AGE>") && what.contains("--file <ID>"),
        "{what}"
    );
    let both = ["media", "purge", "romeo@localhost", "--file", "x"];
    assert_eq!(place.command(&both, "").status.code(), Some(2));
    let no_age = place.command(&["media", "purge", "--older-than", "soon"], "");
    assert!(text(&no_age.stderr).contains("is not a duration"));
}

#[test]
fn a_password_is_typed_twice_and_never_shown() {
    let place = Place::new("");
    let add = &["user", "add", "romeo@localhost"];
    let (status, shown) = place.type_at_prompts(add, &["montague", "capulet"]);
    assert_eq!((status.code(), shown.as_str()), (Some(1), ""));
    assert_eq!(place.succeed(&["user", "list"], ""), "");
    let (status, shown) = place.type_at_prompts(add, &["montague", "montague"]);
    assert_eq!((status.code(), shown.as_str()), (Some(0), ""));
    assert_eq!(place.succeed(&["user", "list"], ""), "romeo@localhost\n");
}

#[test]
fn a_second_start_on_the_same_data_is_refused() {
    let place = Place::new("");
    let running = place.start();
    let refused = place.fail(&["run"], "");
    let pid = running.pid().as_raw_nonzero();
    let who = format!("is in use by another posthaste (process {pid})");
    assert!(refused.contains(&who), "{refused}");
    running.stop();
    place.start().stop();
}

#[test]
fn an_address_that_is_taken_is_blamed_on_its_line() {
    let place = Place::new("");
    let running = place.start();
    let taken = running.address("xmpp ");
    let other = Place::new("");
    let text = format!("[listen]\nc2s_tls = []\nhttp = []\nmetrics = []\nc2s = [\"{taken}\"]\n");
    std::fs::write(other.path("posthaste.toml"), text).unwrap();
    let error = other.fail(&["run"], "");
    assert!(
        error.contains("posthaste.toml:5: listen.c2s: cannot listen on"),
        "{error}"
    );
}

#[test]
fn a_folder_of_files_that_is_none_is_named() {
    let place = Place::new("");
    place.start().stop();
    std::fs::remove_dir_all(place.path("data/media")).unwrap();
    std::fs::write(place.path("data/media"), "").unwrap();
    let error = place.fail(&["run"], "");
    let why = "data/media, where uploaded files lie: Not a directory";
    assert!(error.contains(why), "{error}");
    std::fs::remove_file(place.path("data/media")).unwrap();
    place.start().stop();
}

#[test]
fn everything_kept_is_private_to_its_owner() {
    let place = Place::new("");
    let running = place.start();
    for (name, mode) in [
        ("data", 0o700),
        ("data/admin.sock", 0o600),
        ("data/server.lock", 0o600),
        ("data/tls", 0o700),
        ("data/tls/localhost.key", 0o600),
    ] {
        let permissions = std::fs::metadata(place.path(name)).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "{name}");
    }
    running.stop();
}

#[test]
fn a_reload_takes_what_it_can_and_names_what_waits() {
    let place = Place::new("");
    let running = place.start();
    place.configure("[log]\nlevel = \"debug\"\n[server]\nthreads = 3\n");
    let answer = place.succeed(&["reload"], "");
    assert!(answer.contains("changed: log.level\n"), "{answer}");
    assert!(
        answer.contains("need a restart: server.threads\n"),
        "{answer}"
    );

    place.configure("[log]\nlevel = \"loud\"\n");
    let mistake = place.fail(&["reload"], "");
    assert!(
        mistake.contains("posthaste.toml:7: log.level: \"loud\" is not one of"),
        "{mistake}"
    );

    place.configure("[messages]\nkeep = \"forever\"\n");
    running.signal(Signal::HUP);
    running.wait_for("messages.keep");
    running.stop();
}

#[test]
fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let place = Place::new("");
    let running = place.start();
    std::fs::write(place.path("data/tls/localhost.crt"), "nonsense").unwrap();
    let refused = place.fail(&["reload"], "");
    assert!(refused.contains("localhost.crt"), "{refused}");
    running.client();
    running.stop();
}

#[test]
fn stopping_closes_streams_and_ends_well() {
    let place = Place::new("");
    let mut running = place.start();
    let mut client = running.client();
    running.signal(Signal::TERM);
    let last = read_until(&mut client, "</stream:stream>");
    assert!(last.contains("system-shutdown"), "{last}");
    drop(client);
    assert!(running.ended().success());
    assert!(!place.path("data/admin.sock").exists());
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let place = Place::new("[limits]\nlinger = \"1m\"\n[server]\ndrain_timeout = \"10m\"\n");
    let mut running = place.start();
    let mut client = running.client();
    running.signal(Signal::INT);
    // This client has its last word, but does not close: the server would wait for it.
    read_until(&mut client, "</stream:stream>");
    running.signal(Signal::INT);
    assert_eq!(running.ended().code(), Some(1));
}

#[test]
fn a_killed_server_starts_again_with_all_accounts() {
    let place = Place::new("");
    let mut running = place.start();
    place.succeed(&["user", "add", "romeo@localhost"], "montague\n");
    running.signal(Signal::KILL);
    running.ended();
    let running = place.start();
    assert_eq!(place.succeed(&["user", "list"], ""), "romeo@localhost\n");
    running.stop();
}

#[test]
fn status_and_metrics_tell_how_the_server_is() {
    let place = Place::new("");
    let running = place.start();
    let told = place.succeed(&["status"], "");
    assert!(told.contains("state        serving\n"), "{told}");
    let status = place.status();
    assert_eq!(status["state"], "serving");
    assert_eq!(status["hosts"][0], "localhost");
    assert_eq!(status["sessions"], 0);

    let page = metrics(&status);
    for line in [
        "posthaste_up 1\n",
        "posthaste_sessions{state=\"connected\"} 0\n",
        "posthaste_store_failures_total 0\n",
        "posthaste_commit_seconds_bucket{le=\"+Inf\"}",
        "posthaste_connections{transport=\"tcp\"}",
        "posthaste_stanzas_in_total{kind=\"message\"} 0\n",
    ] {
        assert!(page.contains(line), "no {line} in {page}");
    }
    running.stop();
}

#[test]
fn without_a_server_status_and_reload_say_so() {
    let place = Place::new("");
    for command in ["status", "reload"] {
        let error = place.fail(&[command], "");
        assert!(error.contains("no server answers at"), "{error}");
    }
}

#[test]
fn a_store_that_fails_is_opened_again_and_loses_nothing() {
    let place = Place::new("");
    let running = place.start();
    place.succeed(&["user", "add", "romeo@localhost"], "montague\n");
    let mut client = running.client();

    limit_file_size(&running, Some(0));
    // Whether this account is there afterwards is open: it was never said to be.
    let refused = place.command(&["user", "add", "juliet@localhost"], "capulet\n");
    assert!(!refused.status.success(), "{}", text(&refused.stdout));
    let told = running.wait_for("the store failed");
    assert!(told.contains("ERROR"), "{told}");
    // Every connection is dropped: none of them may take for stored what was not.
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    running.wait_for("the store will be opened again");
    assert!(
        place.status()["state"]
            .as_str()
            .unwrap()
            .starts_with("store failed")
    );
    let meanwhile = place.fail(&["user", "list"], "");
    assert!(meanwhile.contains("not now: store failed"), "{meanwhile}");

    limit_file_size(&running, None);
    running.wait_for("serving");
    assert!(
        place
            .succeed(&["user", "list"], "")
            .contains("romeo@localhost\n")
    );
    place.succeed(&["user", "add", "benvolio@localhost"], "montague\n");
    assert!(metrics(&place.status()).contains("posthaste_store_failures_total 1\n"));
    running.stop();
}

/// Bounds the files the server may write, which a disk does that fails: writes end in an error.
fn limit_file_size(running: &server::Running<'_>, bytes: Option<u64>) {
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(Some(running.pid()), Resource::Fsize, limit).unwrap();
}

fn metrics(status: &serde_json::Value) -> String {
    let address = status["metrics"][0].as_str().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}
