//! The generated example: every key with its documentation, bounds and default.

use super::keys::{COMPONENT_DOC, COMPONENT_KEYS, HOST_DOC, HOST_KEYS, SECTIONS};
use super::value::Key;
use super::{Config, Host};
use std::fmt::Write as _;

/// What `posthaste run --dev` runs: loopback only, registration open, everything under `./data`.
pub(crate) const DEVELOPMENT: &str = include_str!("development.toml");

const HEAD: &str = "\
# Posthaste's configuration. Every key is shown with its default, so an empty file means the same.
# Check a changed file with `posthaste check-config -c FILE`.
#
# Sizes are written \"256 KiB\" (B, KiB, MiB, GiB, TiB), durations \"10m\" (ms, s, m, h, d).
# Relative paths begin at this file's folder.
# Keys marked (reload) take effect on `posthaste reload` or SIGHUP, the others on a restart.
";

/// The example file.
pub(crate) fn example() -> String {
    let mut out = HEAD.to_owned();
    let mut config = Config::defaults();
    for section in SECTIONS {
        heading(&mut out, section.doc, section.name);
        for key in section.keys {
            entry(&mut out, key, &mut config);
        }
    }
    heading(&mut out, HOST_DOC, "host.\"localhost\"");
    let mut host = Host::local();
    for key in HOST_KEYS {
        entry(&mut out, key, &mut host);
    }
    component(&mut out);
    out
}

/// There is none without such a section, so that the example has it in comments.
fn component(out: &mut String) {
    out.push('\n');
    for line in COMPONENT_DOC {
        line_of(out, format_args!("# {line}"));
    }
    line_of(out, format_args!("# [component.\"bot.localhost\"]"));
    for key in COMPONENT_KEYS {
        out.push('\n');
        for line in key.doc {
            line_of(out, format_args!("# {line}"));
        }
        line_of(out, format_args!("# {} = \"…\"", key.name));
    }
}

fn heading(out: &mut String, doc: &[&str], name: &str) {
    out.push('\n');
    for line in doc {
        line_of(out, format_args!("# {line}"));
    }
    line_of(out, format_args!("[{name}]"));
}

fn entry<T>(out: &mut String, key: &Key<T>, target: &mut T) {
    out.push('\n');
    for line in key.doc {
        line_of(out, format_args!("# {line}"));
    }
    let bounds = key
        .value
        .bounds()
        .map(|bounds| format!("{bounds}. "))
        .unwrap_or_default();
    let reload = if key.reload { "(reload)" } else { "" };
    let note = format!("{bounds}{reload}");
    if !note.is_empty() {
        line_of(out, format_args!("# {}", note.trim_end()));
    }
    match key.value.show(target) {
        Some(value) => line_of(out, format_args!("{} = {value}", key.name)),
        None => {
            let value = key.value.example().unwrap_or_default();
            line_of(out, format_args!("# {} = {value}", key.name));
        }
    }
}

fn line_of(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
    use super::super::{load, parse};
    use super::*;
    use std::path::Path;

    #[test]
    fn the_committed_example_is_the_generated_one() {
        let committed = include_str!("../../../../posthaste.example.toml");
        assert!(
            committed == example(),
            "run `posthaste example-config > posthaste.example.toml`"
        );
    }

    #[test]
    fn the_example_says_the_defaults() {
        let mut read = parse(&example(), "example", Path::new("")).unwrap();
        let mut defaults = Config::defaults();
        for key in SECTIONS.iter().flat_map(|section| section.keys) {
            assert_eq!(
                key.value.show(&mut read),
                key.value.show(&mut defaults),
                "{}",
                key.name
            );
        }
        assert_eq!(read.hosts.len(), 1);
        assert_eq!(read.hosts[0].domain, defaults.hosts[0].domain);
    }

    #[test]
    fn commented_values_of_the_example_can_be_taken_into_use() {
        for line in example().lines() {
            let Some(line) = line.strip_prefix("# ").filter(|line| line.contains(" = ")) else {
                continue;
            };
            assert!(toml::from_str::<toml::Table>(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn the_development_configuration_listens_on_loopback_only() {
        let config = parse(DEVELOPMENT, "development", Path::new("")).unwrap();
        let listen = &config.listen;
        for address in [&listen.c2s, &listen.c2s_tls, &listen.http, &listen.metrics]
            .into_iter()
            .flatten()
        {
            assert!(address.ip().is_loopback(), "{address}");
        }
    }

    #[test]
    fn an_empty_file_is_a_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("posthaste.toml");
        std::fs::write(&path, "").unwrap();
        let config = load(&path).unwrap();
        assert_eq!(config.storage.directory, folder.path().join("data"));
    }
}
