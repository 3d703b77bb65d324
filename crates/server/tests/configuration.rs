//! The commands about the configuration file, run as an operator runs them.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

fn posthaste(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_posthaste"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_printed_examples_are_good_configurations() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, file) in [
        (&["example-config"][..], "all.toml"),
        (&["example-config", "--dev"], "dev.toml"),
    ] {
        let example = posthaste(folder.path(), arguments);
        assert!(example.status.success());
        std::fs::write(folder.path().join(file), example.stdout).unwrap();
        let check = posthaste(folder.path(), &["check-config", "-c", file]);
        assert!(check.status.success(), "{}", text(&check.stderr));
        assert_eq!(text(&check.stdout), format!("{file} is good\n"));
    }
}

#[test]
fn a_mistake_ends_the_check_with_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("x.toml"),
        "[log]\nlevel = \"info\"\ncolour = 1\n",
    )
    .unwrap();
    for command in ["check-config", "run", "status"] {
        let check = posthaste(folder.path(), &[command, "-c", "x.toml"]);
        assert_eq!(check.status.code(), Some(1), "{command}");
        let complaint = "posthaste: x.toml:3: log.colour: unknown key; there are: level, format\n";
        assert_eq!(text(&check.stderr), complaint, "{command}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let check = posthaste(folder.path(), &["check-config", "-c", "none.toml"]);
    assert_eq!(check.status.code(), Some(1));
    let error = text(&check.stderr);
    assert!(
        error.contains("cannot read the configuration file none.toml: No such file"),
        "{error}"
    );
}

#[test]
fn the_file_in_the_working_directory_is_found_without_naming_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("posthaste.toml"), "").unwrap();
    let check = posthaste(folder.path(), &["check-config"]);
    assert_eq!(text(&check.stdout), "posthaste.toml is good\n");
}

#[test]
fn the_version_is_told_in_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    for argument in ["version", "--version"] {
        let version = posthaste(folder.path(), &[argument]);
        assert_eq!(
            text(&version.stdout),
            format!("posthaste {}\n", env!("CARGO_PKG_VERSION"))
        );
    }
}

#[test]
fn credentials_in_the_environment_are_the_servers_alone_to_have() {
    let folder = tempfile::tempdir().unwrap();
    let text_of_file = "[media]\nstore = \"s3\"\n[s3]\nbucket = \"files\"\n[listen]\nc2s = [\"127.0.0.1:0\"]\n\
        c2s_tls = []\nhttp = []\nmetrics = []\n[storage]\ndirectory = \"data\"\n";
    std::fs::write(folder.path().join("x.toml"), text_of_file).unwrap();
    let without = |command: &str| {
        let mut posthaste = Command::new(env!("CARGO_BIN_EXE_posthaste"));
        let given =
            std::env::vars_os().filter(|(name, _)| !name.as_encoded_bytes().starts_with(b"AWS_"));
        posthaste.env_clear().envs(given).current_dir(folder.path());
        posthaste.args([command, "-c", "x.toml"]).output().unwrap()
    };
    let check = without("check-config");
    assert_eq!(
        text(&check.stdout),
        "x.toml is good\n",
        "{}",
        text(&check.stderr)
    );
    let run = without("run");
    assert_eq!(run.status.code(), Some(1));
    let error = text(&run.stderr);
    assert!(
        error.contains(
            "s3.credentials is not given, and the environment has not AWS_ACCESS_KEY_ID with"
        ),
        "{error}"
    );
}
