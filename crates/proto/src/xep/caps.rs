//! Entity capabilities: a hash in presence instead of asking everybody what they can do.
//!
//! XEP-0115 1.6.0. The legacy format without `hash` is not read. SHA-1 is mandatory; SHA-256 and
//! SHA-512 are understood as well.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use thiserror::Error;

use super::data_form::{DataForm, FORM_TYPE, FieldKind};
use super::disco::Info;
use crate::ns;
use crate::xml::Element;

/// A hash function of a `<c/>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CapsHash {
    /// SHA-1: what everybody sends.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl CapsHash {
    /// The IANA name.
    pub fn as_str(self) -> &'static str {
        match self {
            CapsHash::Sha1 => "sha-1",
            CapsHash::Sha256 => "sha-256",
            CapsHash::Sha512 => "sha-512",
        }
    }

    fn parse(name: &str) -> Option<CapsHash> {
        [CapsHash::Sha1, CapsHash::Sha256, CapsHash::Sha512]
            .into_iter()
            .find(|hash| hash.as_str() == name)
    }

    fn digest(self, text: &str) -> Vec<u8> {
        match self {
            CapsHash::Sha1 => Sha1::digest(text).to_vec(),
            CapsHash::Sha256 => Sha256::digest(text).to_vec(),
            CapsHash::Sha512 => Sha512::digest(text).to_vec(),
        }
    }
}

/// The `<c/>` of presence and stream features.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caps {
    /// How `ver` was made.
    pub hash: CapsHash,
    /// The software, as a URI.
    pub node: String,
    /// The verification string.
    pub ver: String,
}

impl Caps {
    /// The capabilities of one who answers disco#info with `info`.
    ///
    /// # Errors
    /// If `info` has repeats (XEP-0115 §5.4).
    pub fn of(info: &Info, node: &str) -> Result<Caps, IllFormed> {
        Ok(Caps {
            hash: CapsHash::Sha1,
            node: node.to_owned(),
            ver: verification_string(info, CapsHash::Sha1)?,
        })
    }

    /// Reads a `<c/>`; `None` if it is none, is in the legacy format or of an unknown hash function.
    pub fn read(c: &Element) -> Option<Caps> {
        if !c.is("c", ns::CAPS) {
            return None;
        }
        Some(Caps {
            hash: CapsHash::parse(c.attr("hash")?)?,
            node: c.attr("node")?.to_owned(),
            ver: c.attr("ver")?.to_owned(),
        })
    }

    /// The `<c/>` to send.
    pub fn to_element(&self) -> Element {
        Element::new("c", ns::CAPS)
            .with_attr("hash", self.hash.as_str())
            .with_attr("node", &*self.node)
            .with_attr("ver", &*self.ver)
    }

    /// The disco#info node that asks for exactly these capabilities.
    pub fn disco_node(&self) -> String {
        format!("{}#{}", self.node, self.ver)
    }

    /// Whether `info` is what the hash was made from. Only then may it be believed of everybody
    /// who sends the same hash.
    pub fn is_proved_by(&self, info: &Info) -> bool {
        verification_string(info, self.hash).is_ok_and(|ver| ver == self.ver)
    }
}

/// A disco#info answer that must not be hashed. The peer's fault.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum IllFormed {
    /// XEP-0115 §5.4: something is in it twice.
    #[error("a disco#info answer with the same {0} twice has no capabilities hash")]
    Repeat(&'static str),
    /// Something in it could be read in two ways.
    #[error("a disco#info answer with a '<' in a name has no capabilities hash")]
    Separator,
}

/// The verification string of an answer (XEP-0115 §5.1).
///
/// # Errors
/// If the answer is ill-formed in the sense of §5.4.
pub fn verification_string(info: &Info, hash: CapsHash) -> Result<String, IllFormed> {
    Ok(BASE64.encode(hash.digest(&hashed_text(info)?)))
}

/// The string S of §5.1. Comparing Rust strings is the "i;octet" collation that it asks for.
fn hashed_text(info: &Info) -> Result<String, IllFormed> {
    let mut text = String::new();
    let mut identities: Vec<[&str; 4]> = info
        .identities
        .iter()
        .map(|identity| {
            let (lang, name) = (identity.lang.as_deref(), identity.name.as_deref());
            [
                &*identity.category,
                &*identity.kind,
                lang.unwrap_or_default(),
                name.unwrap_or_default(),
            ]
        })
        .collect();
    sort_distinct(&mut identities, "identity")?;
    for identity in identities {
        append(&mut text, &identity.join("/"))?;
    }
    let mut features: Vec<&str> = info.features.iter().map(String::as_str).collect();
    sort_distinct(&mut features, "feature")?;
    for feature in features {
        append(&mut text, feature)?;
    }
    append_forms(&mut text, &info.forms)?;
    Ok(text)
}

fn append_forms(text: &mut String, forms: &[DataForm]) -> Result<(), IllFormed> {
    let mut typed = Vec::new();
    for form in forms {
        let Some(form_type) = form.field(FORM_TYPE) else {
            continue;
        };
        // §5.4: a form whose FORM_TYPE is not hidden is ignored.
        let (Some(FieldKind::Hidden), Some(name)) = (form_type.kind, form_type.value()) else {
            continue;
        };
        if form_type.values.iter().any(|value| value != name) {
            return Err(IllFormed::Repeat("FORM_TYPE"));
        }
        typed.push((name, form));
    }
    typed.sort_by_key(|(name, _)| *name);
    if typed.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(IllFormed::Repeat("form"));
    }
    for (name, form) in typed {
        append(text, name)?;
        let mut fields: Vec<_> = form
            .fields
            .iter()
            .filter(|field| field.var != FORM_TYPE)
            .collect();
        fields.sort_by_key(|field| &*field.var);
        for field in fields {
            append(text, &field.var)?;
            let mut values: Vec<&str> = field.values.iter().map(String::as_str).collect();
            values.sort_unstable();
            for value in values {
                append(text, value)?;
            }
        }
    }
    Ok(())
}

fn append(text: &mut String, part: &str) -> Result<(), IllFormed> {
    // S does not escape its separator: a name with one could pass for a name and a feature, and so
    // make a hash that another answer already has. Honest software has no use for it.
    if part.contains('<') {
        return Err(IllFormed::Separator);
    }
    text.push_str(part);
    text.push('<');
    Ok(())
}

fn sort_distinct<T: Ord>(list: &mut [T], what: &'static str) -> Result<(), IllFormed> {
    list.sort_unstable();
    if list.windows(2).any(|pair| pair[0] == pair[1]) {
        Err(IllFormed::Repeat(what))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::data_form::{Field, FormKind};
    use super::super::disco::Identity;
    use super::*;

    fn features() -> Vec<String> {
        ["disco#items", "caps", "muc", "disco#info"]
            .map(|name| format!("http://jabber.org/protocol/{name}"))
            .into()
    }

    /// XEP-0115 §5.2.
    fn exodus() -> Info {
        Info {
            identities: vec![Identity::new("client", "pc", Some("Exodus 0.9.1"))],
            features: features(),
            ..Info::default()
        }
    }

    /// XEP-0115 §5.3.
    fn psi() -> Info {
        let identity = |lang: &str, name| Identity {
            lang: Some(lang.to_owned()),
            ..Identity::new("client", "pc", Some(name))
        };
        let form = DataForm::new(FormKind::Result, "urn:xmpp:dataforms:softwareinfo")
            .with_field(Field::new("software_version", ["0.11"]))
            .with_field(Field::new("ip_version", ["ipv6", "ipv4"]).of_kind(FieldKind::TextMulti))
            .with_field(Field::new("os", ["Mac"]))
            .with_field(Field::new("os_version", ["10.5.1"]))
            .with_field(Field::new("software", ["Psi"]));
        Info {
            identities: vec![identity("en", "Psi 0.11"), identity("el", "Ψ 0.11")],
            features: features(),
            forms: vec![form],
            ..Info::default()
        }
    }

    #[test]
    fn the_examples_of_xep_0115_have_the_hashes_it_says() {
        assert_eq!(
            verification_string(&exodus(), CapsHash::Sha1).unwrap(),
            "QgayPKawpkPSDYmwT/WM94uAlu0="
        );
        assert_eq!(
            verification_string(&psi(), CapsHash::Sha1).unwrap(),
            "q07IKJEyjvHSyhy//CH0CxmKi8w="
        );
    }

    #[test]
    fn a_hash_proves_only_its_own_answer() {
        let caps = Caps::of(&psi(), "http://psi-im.org").unwrap();
        assert_eq!(Caps::read(&caps.to_element()), Some(caps.clone()));
        assert_eq!(
            caps.disco_node(),
            "http://psi-im.org#q07IKJEyjvHSyhy//CH0CxmKi8w="
        );
        assert!(caps.is_proved_by(&psi()));
        assert!(!caps.is_proved_by(&exodus()));
        let ver = verification_string(&psi(), CapsHash::Sha256).unwrap();
        assert!(
            Caps {
                hash: CapsHash::Sha256,
                ver,
                ..caps
            }
            .is_proved_by(&psi())
        );
    }

    #[test]
    fn an_answer_with_repeats_proves_nothing() {
        let twice = |change: fn(&mut Info)| {
            let mut info = psi();
            change(&mut info);
            verification_string(&info, CapsHash::Sha1)
        };
        assert_eq!(
            twice(|info| info.features.push(info.features[0].clone())),
            Err(IllFormed::Repeat("feature"))
        );
        assert_eq!(
            twice(|info| info.identities.push(info.identities[0].clone())),
            Err(IllFormed::Repeat("identity"))
        );
        assert_eq!(
            twice(|info| info.forms.push(info.forms[0].clone())),
            Err(IllFormed::Repeat("form"))
        );
        assert_eq!(
            twice(|info| info.forms[0].fields[0].values.push("urn:other".to_owned())),
            Err(IllFormed::Repeat("FORM_TYPE"))
        );
    }

    #[test]
    fn an_answer_that_could_be_read_in_two_ways_proves_nothing() {
        let mut info = exodus();
        info.identities[0].name = Some("Exodus 0.9.1<urn:example:encryption".to_owned());
        assert_eq!(
            verification_string(&info, CapsHash::Sha1),
            Err(IllFormed::Separator)
        );
    }

    #[test]
    fn a_form_without_a_hidden_type_is_not_hashed() {
        let mut info = exodus();
        info.forms.push(DataForm {
            kind: FormKind::Result,
            title: None,
            instructions: vec![],
            fields: vec![Field::new("a", ["b"])],
        });
        info.forms
            .push(DataForm::new(FormKind::Submit, "urn:example"));
        assert_eq!(
            verification_string(&info, CapsHash::Sha1).unwrap(),
            "QgayPKawpkPSDYmwT/WM94uAlu0="
        );
    }

    #[test]
    fn the_legacy_format_is_not_read() {
        let c = |attrs: &str| {
            let xml = format!("<c xmlns='http://jabber.org/protocol/caps' {attrs}/>");
            Caps::read(&Element::parse(xml.as_bytes(), ns::CLIENT).unwrap())
        };
        assert_eq!(c("node='http://psi-im.org' ver='0.11' ext='a b'"), None);
        assert_eq!(c("hash='md5' node='http://psi-im.org' ver='x'"), None);
        assert!(c("hash='sha-512' node='http://psi-im.org' ver='x'").is_some());
    }
}
