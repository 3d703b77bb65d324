//! A man in the middle who shortens the list of mechanisms or channel bindings is found out.
//!
//! XEP-0474 version 0.5.0: the server puts a hash of what it advertised into its SCRAM
//! server-first-message, where the proofs of both sides cover it; the client compares it with
//! what it saw.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::hash::Hash;

/// What a server advertised in the SASL profile in use: SASL1's list or SASL2's, not both (§5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// The mechanisms' names.
    pub mechanisms: Vec<String>,
    /// The channel binding types' names (XEP-0440); empty if that feature was absent.
    pub channel_bindings: Vec<String>,
}

const UNIT_SEPARATOR: u8 = 0x1f;
const RECORD_SEPARATOR: u8 = 0x1e;

impl Advertised {
    /// The value of the SCRAM attribute `h`: base64 of the hash over both sorted lists.
    pub fn hash(&self, hash: Hash) -> String {
        let mut text = Vec::new();
        append_sorted(&mut text, &self.mechanisms);
        if !self.channel_bindings.is_empty() {
            text.push(UNIT_SEPARATOR);
            append_sorted(&mut text, &self.channel_bindings);
        }
        STANDARD.encode(hash.digest(&[&text]).as_slice())
    }
}

/// `i;octet` order (RFC 4790 §9.3) is the order of `str`.
fn append_sorted(text: &mut Vec<u8>, names: &[String]) {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    for (index, name) in names.into_iter().enumerate() {
        if index > 0 {
            text.push(RECORD_SEPARATOR);
        }
        text.extend_from_slice(name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_of_the_xeps_example() {
        let advertised = Advertised {
            mechanisms: vec!["SCRAM-SHA-1-PLUS".into(), "SCRAM-SHA-1".into()],
            channel_bindings: vec!["tls-server-end-point".into(), "tls-exporter".into()],
        };
        assert_eq!(advertised.hash(Hash::Sha1), "G6k/rBLDqgOhRRaCuuatSDFkJ08=");
    }

    #[test]
    fn a_removed_binding_type_changes_the_hash() {
        let full = Advertised {
            mechanisms: vec!["SCRAM-SHA-1".into()],
            channel_bindings: vec!["tls-exporter".into()],
        };
        let stripped = Advertised {
            channel_bindings: Vec::new(),
            ..full.clone()
        };
        assert_ne!(full.hash(Hash::Sha1), stripped.hash(Hash::Sha1));
    }
}
