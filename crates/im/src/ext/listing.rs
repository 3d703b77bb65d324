//! The list of extensions for people: `docs/extensions.md` is written by it
//! (`cargo run -p posthaste-im --example extensions > docs/extensions.md`).

use super::{Ext, every};

const HEAD: &str = "# Extensions\n\n\
    What the server speaks beyond RFC 6120 and RFC 6121 themselves, made from the table of extensions \
    (`crates/im/src/ext`); do not edit it by hand.\n\n\
    | Specification | Name | Version | Announced as |\n\
    |---|---|---|---|\n";

/// The list in Markdown, by number.
pub fn markdown() -> String {
    let mut all: Vec<&Ext> = every().collect();
    all.sort_by_key(|ext| (ext.xep, ext.name));
    let rows = all.into_iter().map(row);
    std::iter::once(HEAD.to_owned()).chain(rows).collect()
}

fn row(ext: &Ext) -> String {
    let specification = match ext.xep {
        0 => ext.version.to_owned(),
        xep => format!("XEP-{xep:04}"),
    };
    let version = if ext.xep == 0 { "" } else { ext.version };
    let mut features = [ext.host_features, ext.account_features].concat();
    features.sort_unstable();
    features.dedup();
    let features: Vec<String> = features
        .iter()
        .map(|feature| format!("`{feature}`"))
        .collect();
    format!(
        "| {specification} | {} | {version} | {} |\n",
        ext.name,
        features.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_list_is_current() {
        let committed = include_str!("../../../../docs/extensions.md");
        assert!(
            committed == markdown(),
            "run: cargo run -p posthaste-im --example extensions > docs/extensions.md"
        );
    }
}
