//! What differs between two configurations, and which of it a running server can take.

use super::keys::{COMPONENT_KEYS, HOST_KEYS, SECTIONS};
use super::value::Key;
use super::{Component, Config, Host};

/// The keys whose values differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// They take effect on reload.
    pub(crate) taken: Vec<String>,
    /// They wait for a restart.
    pub(crate) waiting: Vec<String>,
}

/// Compares two configurations key by key.
pub(crate) fn changes(old: &Config, new: &Config) -> Changes {
    let (mut old, mut new) = (old.clone(), new.clone());
    let mut changes = Changes::default();
    for section in SECTIONS {
        changes.compare(
            &format!("{}.", section.name),
            section.keys,
            &mut old,
            &mut new,
        );
    }
    for host in &mut new.hosts {
        let name = host.key();
        match old
            .hosts
            .iter_mut()
            .find(|other| other.domain == host.domain)
        {
            Some(before) => changes.compare(&format!("{name}."), HOST_KEYS, before, host),
            None => changes.waiting.push(name),
        }
    }
    let gone = old
        .hosts
        .iter()
        .filter(|before| !new.hosts.iter().any(|host| host.domain == before.domain));
    changes.waiting.extend(gone.map(Host::key));
    changes
        .waiting
        .extend(changed_components(&mut old, &mut new));
    changes
}

/// The components that came, went or are described otherwise: all of that waits for a restart.
fn changed_components(old: &mut Config, new: &mut Config) -> Vec<String> {
    let described = |config: &mut Config| -> Vec<(String, Vec<Option<String>>)> {
        let components = config.components.iter_mut();
        let describe = |component: &mut Component| {
            let values = COMPONENT_KEYS.iter().map(|key| key.value.show(component));
            let values = values.collect();
            (component.key(), values)
        };
        components.map(describe).collect()
    };
    let (old, new) = (described(old), described(new));
    let differ = |one: &[(String, Vec<Option<String>>)],
                  other: &[(String, Vec<Option<String>>)]| {
        let gone = one.iter().filter(|component| !other.contains(component));
        gone.map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    let mut changed = differ(&old, &new);
    changed.extend(differ(&new, &old));
    changed.sort();
    changed.dedup();
    changed
}

impl Config {
    /// What is in force after a reload: of `new` what a running server can take, the rest as it is.
    pub(crate) fn reloaded(&self, new: &Self) -> Self {
        let (mut result, mut new) = (self.clone(), new.clone());
        for key in SECTIONS
            .iter()
            .flat_map(|section| section.keys)
            .filter(|key| key.reload)
        {
            key.value.copy(&mut new, &mut result);
        }
        for host in &mut result.hosts {
            let Some(new) = new
                .hosts
                .iter_mut()
                .find(|other| other.domain == host.domain)
            else {
                continue;
            };
            for key in HOST_KEYS.iter().filter(|key| key.reload) {
                key.value.copy(new, host);
            }
        }
        result
    }
}

impl Changes {
    fn compare<T>(&mut self, prefix: &str, keys: &[Key<T>], old: &mut T, new: &mut T) {
        for key in keys
            .iter()
            .filter(|key| key.value.show(old) != key.value.show(new))
        {
            let list = if key.reload {
                &mut self.taken
            } else {
                &mut self.waiting
            };
            list.push(format!("{prefix}{}", key.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use std::path::Path;

    fn config(text: &str) -> Config {
        parse(text, "test", Path::new("")).unwrap()
    }

    #[test]
    fn changes_are_sorted_into_those_taken_and_those_waiting_for_a_restart() {
        let old = config("[log]\nlevel = 'info'\n[host.'a.example']\n[host.'b.example']\n");
        let new = config(
            "[log]\nlevel = 'debug'\n[storage]\ndirectory = 'other'\n[host.'a.example']\nkeep = 'forever'\n[host.'c.example']\n",
        );
        let changes = changes(&old, &new);
        assert_eq!(changes.taken, ["log.level", "host.\"a.example\".keep"]);
        assert_eq!(
            changes.waiting,
            [
                "storage.directory",
                "host.\"c.example\"",
                "host.\"b.example\""
            ]
        );
        assert_eq!(super::changes(&old, &old), Changes::default());

        let with = |secret: &str| {
            config(&format!(
                "[component.'bot.localhost']\nsecret = '{secret}'\n"
            ))
        };
        for (one, other) in [
            (with("x"), with("y")),
            (with("x"), config("")),
            (config(""), with("x")),
        ] {
            let changes = super::changes(&one, &other);
            assert_eq!(changes.waiting, ["component.\"bot.localhost\""]);
            assert!(super::changes(&one, &one).waiting.is_empty());
        }

        let reloaded = old.reloaded(&new);
        let still = super::changes(&old, &reloaded);
        assert_eq!((still.taken, still.waiting), (changes.taken, Vec::new()));
        let next = super::changes(&reloaded, &new);
        assert_eq!((next.taken, next.waiting), (Vec::new(), changes.waiting));
    }
}
