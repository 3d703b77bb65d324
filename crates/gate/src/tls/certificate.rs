//! What the gate reads in X.509 certificates: the hash for channel binding and a client's addresses.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::SignatureAlgorithm;

/// id-on-xmppAddr (RFC 6120 §13.7.1.4).
const XMPP_ADDR: &str = "1.3.6.1.5.5.7.8.5";

/// id-on-dnsSRV (RFC 4985 §2).
const SRV_NAME: &str = "1.3.6.1.5.5.7.8.7";

const SHA256_OID: &str = "2.16.840.1.101.3.4.2.1";
const SHA384_OID: &str = "2.16.840.1.101.3.4.2.2";
const SHA512_OID: &str = "2.16.840.1.101.3.4.2.3";

/// The `tls-server-end-point` binding of `certificate`: its hash by the hash function of its own
/// signature, where MD5 and SHA-1 count as SHA-256 (RFC 5929 §4.1). `None` where the signature has
/// no single hash function (Ed25519) or one we do not know.
pub(super) fn end_point(certificate: &CertificateDer<'_>) -> Option<Arc<[u8]>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let hash: Arc<[u8]> = match signature_hash(&parsed)? {
        Hash::Sha256 => Sha256::digest(certificate).as_slice().into(),
        Hash::Sha384 => Sha384::digest(certificate).as_slice().into(),
        Hash::Sha512 => Sha512::digest(certificate).as_slice().into(),
    };
    Some(hash)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

fn signature_hash(certificate: &X509Certificate<'_>) -> Option<Hash> {
    let algorithm = &certificate.signature_algorithm;
    if let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) = SignatureAlgorithm::try_from(algorithm)
    {
        return hash_of(&parameters.hash_algorithm_oid().to_id_string());
    }
    hash_of(&algorithm.algorithm.to_id_string())
}

fn hash_of(oid: &str) -> Option<Hash> {
    match oid {
        // MD5, SHA-1 and SHA-256: alone (in PSS parameters), with RSA, with ECDSA.
        "1.2.840.113549.2.5" | "1.3.14.3.2.26" | SHA256_OID => Some(Hash::Sha256),
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => {
            Some(Hash::Sha256)
        }
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => Some(Hash::Sha256),
        SHA384_OID | "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(Hash::Sha384),
        SHA512_OID | "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(Hash::Sha512),
        _ => None,
    }
}

/// The XMPP addresses a client certificate names (XEP-0178 §2): each `xmppAddr`, in order. What is
/// not UTF-8 is left out; whether an address is a JID of ours is for SASL to decide.
pub(super) fn client_addresses(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    names
        .value
        .general_names
        .iter()
        .filter_map(xmpp_address)
        .collect()
}

/// Does a server's certificate name `domain` by an SRVName or an xmppAddr (RFC 6120 §13.7.1.2)? The third
/// way, dNSName, is rustls' matter.
pub(super) fn names_server(certificate: &CertificateDer<'_>, domain: &str) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return false;
    };
    let ascii = idna::domain_to_ascii(domain).unwrap_or_default();
    let is_it = |name: &str| {
        let name = name
            .strip_prefix("_xmpp-server.")
            .or(name.strip_prefix("_xmpps-server."));
        name.is_some_and(|name| name.eq_ignore_ascii_case(&ascii))
    };
    let mut names = names.value.general_names.iter();
    names.any(|name| {
        srv_name(name).is_some_and(is_it) || xmpp_address(name).is_some_and(|it| it == domain)
    })
}

fn srv_name<'a>(name: &'a GeneralName<'_>) -> Option<&'a str> {
    const IA5_STRING: u8 = 0x16;
    let GeneralName::OtherName(oid, value) = name else {
        return None;
    };
    if oid.to_id_string() != SRV_NAME {
        return None;
    }
    std::str::from_utf8(der_content(utf8_content(value)?, IA5_STRING)?).ok()
}

fn xmpp_address(name: &GeneralName<'_>) -> Option<String> {
    let GeneralName::OtherName(oid, value) = name else {
        return None;
    };
    if oid.to_id_string() != XMPP_ADDR {
        return None;
    }
    utf8_string(utf8_content(value)?)
}

/// The content of the explicit tag [0] around an otherName's value.
fn utf8_content(value: &[u8]) -> Option<&[u8]> {
    const EXPLICIT_0: u8 = 0xa0;
    match value.first()? {
        &EXPLICIT_0 => der_content(value, EXPLICIT_0),
        _ => Some(value),
    }
}

fn utf8_string(der: &[u8]) -> Option<String> {
    const UTF8_STRING: u8 = 0x0c;
    let content = der_content(der, UTF8_STRING)?;
    std::str::from_utf8(content).ok().map(str::to_owned)
}

/// The content of one DER value with `tag`. Addresses have at most 3,071 bytes, so two length
/// octets are enough.
fn der_content(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (
            usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])),
            rest.get(2..)?,
        ),
        _ => return None,
    };
    if found == tag {
        rest.get(..length)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{CertificateParams, KeyPair, OtherNameValue, SanType, SignatureAlgorithm};

    fn self_signed(
        algorithm: &'static SignatureAlgorithm,
        names: Vec<SanType>,
    ) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
        parameters.subject_alt_names.extend(names);
        let key = KeyPair::generate_for(algorithm).unwrap();
        parameters.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_end_point_hash_follows_the_signature_of_the_certificate() {
        let p256 = self_signed(&rcgen::PKCS_ECDSA_P256_SHA256, vec![]);
        assert_eq!(
            end_point(&p256).unwrap().as_ref(),
            Sha256::digest(&p256).as_slice()
        );
        let p384 = self_signed(&rcgen::PKCS_ECDSA_P384_SHA384, vec![]);
        assert_eq!(
            end_point(&p384).unwrap().as_ref(),
            Sha384::digest(&p384).as_slice()
        );
        let ed25519 = self_signed(&rcgen::PKCS_ED25519, vec![]);
        assert_eq!(end_point(&ed25519), None);
    }

    #[test]
    fn old_hashes_count_as_sha_256() {
        assert_eq!(hash_of("1.2.840.113549.1.1.4"), Some(Hash::Sha256));
        assert_eq!(hash_of("1.2.840.113549.1.1.5"), Some(Hash::Sha256));
        assert_eq!(hash_of("1.2.840.113549.1.1.13"), Some(Hash::Sha512));
    }

    #[test]
    fn a_client_is_named_by_its_xmpp_addresses_only() {
        let xmpp = vec![1, 3, 6, 1, 5, 5, 7, 8, 5];
        let certificate = self_signed(
            &rcgen::PKCS_ECDSA_P256_SHA256,
            vec![
                SanType::Rfc822Name("mail@example.org".try_into().unwrap()),
                SanType::OtherName((
                    xmpp.clone(),
                    OtherNameValue::Utf8String("romeo@example.org".into()),
                )),
                SanType::OtherName((xmpp, OtherNameValue::Utf8String("x".repeat(300)))),
                SanType::OtherName((vec![1, 2, 3], OtherNameValue::Utf8String("no".into()))),
            ],
        );
        assert_eq!(
            client_addresses(&certificate),
            ["romeo@example.org".to_owned(), "x".repeat(300)]
        );
    }

    #[test]
    fn broken_certificates_name_nobody() {
        let broken = CertificateDer::from(vec![0x30, 0x82, 0xff]);
        assert!(client_addresses(&broken).is_empty());
        assert_eq!(end_point(&broken), None);
        assert_eq!(der_content(&[0x0c, 0x05, b'a'], 0x0c), None);
        assert_eq!(der_content(&[0x0c, 0x82, 0x01], 0x0c), None);
    }
}
