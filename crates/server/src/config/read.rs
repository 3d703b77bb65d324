//! Reading a configuration file: TOML text in, a [`Config`] or every complaint about it out.

use super::check::check;
use super::keys::{COMPONENT_KEYS, HOST_KEYS, SECTIONS};
use super::value::Key;
use super::{Complaint, Component, Config, ConfigError, Host, Origins};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// A configuration file is a few KiB; a larger one is the wrong file.
const FILE_BYTES_MOST: u64 = 1 << 20;

/// More hosts than this belong on several servers, or behind a database.
pub(crate) const HOSTS_MOST: usize = 1_000;

/// Gateways and bots come by the handful.
pub(crate) const COMPONENTS_MOST: usize = 100;

/// Reads and checks the file at `path`. Relative paths in it are taken from its own folder.
pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        file: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > FILE_BYTES_MOST {
        let larger = std::io::Error::other("larger than 1 MiB, so not a configuration file");
        return Err(unreadable(larger));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, &path.display().to_string(), folder)
}

/// Reads and checks configuration text. `name` is what complaints call it, `folder` is where its
/// relative paths begin.
pub(crate) fn parse(text: &str, name: &str, folder: &Path) -> Result<Config, ConfigError> {
    let mut reader = Reader {
        lines: Lines::new(text),
        origins: Origins::of(name),
        complaints: Vec::new(),
    };
    let mut config = Config::defaults();
    let (root, mistakes) = DeTable::parse_recoverable(text);
    for mistake in &mistakes {
        let line = mistake.span().map(|span| reader.lines.of(span.start));
        reader.complain(line, None, mistake.message().to_owned());
    }
    if mistakes.is_empty() {
        reader.root(root.get_ref(), &mut config);
    }
    config.origins = reader.origins;
    let mut complaints = reader.complaints;
    if complaints.is_empty() {
        config.resolve_paths(folder);
        complaints = check(&config);
    }
    if complaints.is_empty() {
        return Ok(config);
    }
    complaints.sort_by_key(|complaint| complaint.line);
    Err(ConfigError::Invalid(complaints))
}

struct Reader {
    lines: Lines,
    origins: Origins,
    complaints: Vec<Complaint>,
}

impl Reader {
    fn root(&mut self, root: &DeTable<'_>, config: &mut Config) {
        for (name, value) in root {
            if name.get_ref() == "host" {
                self.hosts(name, value, &mut config.hosts);
                continue;
            }
            if name.get_ref() == "component" {
                self.components(name, value, &mut config.components);
                continue;
            }
            let Some(section) = SECTIONS
                .iter()
                .find(|section| section.name == name.get_ref())
            else {
                let known = SECTIONS
                    .iter()
                    .map(|section| section.name)
                    .chain(["host", "component"]);
                self.unknown(name, "", "section", known);
                continue;
            };
            if let Some(table) = self.table(section.name, name, value) {
                self.keys(&format!("{}.", section.name), section.keys, config, table);
            }
        }
    }

    fn hosts(
        &mut self,
        name: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        hosts: &mut Vec<Host>,
    ) {
        let Some(table) = self.table("host.\"example.org\"", name, value) else {
            return;
        };
        hosts.clear();
        if table.is_empty() || table.len() > HOSTS_MOST {
            let line = self.lines.of(name.span().start);
            self.complain(
                Some(line),
                Some("host".to_owned()),
                format!("wants 1 to {HOSTS_MOST} hosts"),
            );
        }
        for (domain, value) in table {
            self.host(domain, value, hosts);
        }
    }

    fn host(
        &mut self,
        domain: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        hosts: &mut Vec<Host>,
    ) {
        let key = format!("host.\"{}\"", domain.get_ref());
        let line = self.lines.of(domain.span().start);
        let Some(table) = self.table(&key, domain, value) else {
            return;
        };
        let mut host = match Host::new(domain.get_ref()) {
            Ok(host) => host,
            Err(what) => return self.complain(Some(line), Some(key), what),
        };
        // From here on it is called by its normal form, whatever the file's spelling.
        let key = host.key();
        self.keys(&format!("{key}."), HOST_KEYS, &mut host, table);
        if hosts.iter().any(|other| other.domain == host.domain) {
            return self.complain(
                Some(line),
                Some(key),
                "is the same host as another".to_owned(),
            );
        }
        self.origins.note(key, line);
        hosts.push(host);
    }

    fn components(
        &mut self,
        name: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        components: &mut Vec<Component>,
    ) {
        let Some(table) = self.table("component.\"bot.example.org\"", name, value) else {
            return;
        };
        if table.len() > COMPONENTS_MOST {
            let line = self.lines.of(name.span().start);
            let what = format!("wants at most {COMPONENTS_MOST} components");
            return self.complain(Some(line), Some("component".to_owned()), what);
        }
        for (domain, value) in table {
            self.component(domain, value, components);
        }
    }

    fn component(
        &mut self,
        domain: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        components: &mut Vec<Component>,
    ) {
        let key = format!("component.\"{}\"", domain.get_ref());
        let line = self.lines.of(domain.span().start);
        let Some(table) = self.table(&key, domain, value) else {
            return;
        };
        let mut component = match Component::new(domain.get_ref()) {
            Ok(component) => component,
            Err(what) => return self.complain(Some(line), Some(key), what),
        };
        let key = component.key();
        self.keys(&format!("{key}."), COMPONENT_KEYS, &mut component, table);
        self.origins.note(key, line);
        components.push(component);
    }

    /// Reads every entry of one table into `target` by its table of keys.
    fn keys<T>(&mut self, prefix: &str, keys: &[Key<T>], target: &mut T, table: &DeTable<'_>) {
        for (name, value) in table {
            let Some(key) = keys.iter().find(|key| key.name == name.get_ref()) else {
                self.unknown(name, prefix, "key", keys.iter().map(|key| key.name));
                continue;
            };
            let path = format!("{prefix}{}", key.name);
            let line = self.lines.of(name.span().start);
            match key.value.read(target, value.get_ref()) {
                Ok(()) => {
                    self.origins.note(path, line);
                }
                Err(what) => {
                    self.complain(Some(self.lines.of(value.span().start)), Some(path), what);
                }
            }
        }
    }

    fn table<'a, 'i>(
        &mut self,
        key: &str,
        name: &Spanned<DeString<'_>>,
        value: &'a Spanned<DeValue<'i>>,
    ) -> Option<&'a DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let line = self.lines.of(name.span().start);
            self.complain(
                Some(line),
                Some(key.to_owned()),
                format!("is a section; write [{key}] above its keys"),
            );
        }
        table
    }

    fn unknown<'a>(
        &mut self,
        name: &Spanned<DeString<'_>>,
        prefix: &str,
        what: &str,
        known: impl Iterator<Item = &'a str>,
    ) {
        let known = known.collect::<Vec<_>>().join(", ");
        let line = self.lines.of(name.span().start);
        let key = format!("{prefix}{}", name.get_ref());
        self.complain(
            Some(line),
            Some(key),
            format!("unknown {what}; there are: {known}"),
        );
    }

    fn complain(&mut self, line: Option<usize>, key: Option<String>, what: String) {
        let file = self.origins.file.clone();
        self.complaints.push(Complaint {
            file,
            line,
            key,
            what,
        });
    }
}

impl Config {
    /// Every key at its default.
    pub(crate) fn defaults() -> Self {
        let mut config = Self::default();
        for key in SECTIONS.iter().flat_map(|section| section.keys) {
            key.value.reset(&mut config);
        }
        config.hosts = vec![Host::local()];
        config
    }

    fn resolve_paths(&mut self, folder: &Path) {
        for key in SECTIONS.iter().flat_map(|section| section.keys) {
            if let Some(path) = key.value.path(self) {
                *path = below(folder, path);
            }
        }
        for host in &mut self.hosts {
            for key in HOST_KEYS {
                if let Some(path) = key.value.path(host) {
                    *path = below(folder, path);
                }
            }
        }
    }
}

fn below(folder: &Path, path: &Path) -> PathBuf {
    // `join` keeps an absolute path as it is.
    folder.join(path)
}

/// Where each line of a text begins.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(after_newlines).collect())
    }

    /// The line, counted from 1, that byte `at` is in.
    fn of(&self, at: usize) -> usize {
        self.0.partition_point(|begin| *begin <= at)
    }
}
