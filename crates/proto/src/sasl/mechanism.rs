//! The mechanisms' names and which of them bind to the channel.

use std::fmt;

use super::channel_binding::BindingType;
use super::hash::Hash;

/// A SASL mechanism of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// SCRAM with that hash; `plus` with channel binding.
    Scram {
        /// The hash function.
        hash: Hash,
        /// Whether this is the -PLUS form.
        plus: bool,
    },
    /// PLAIN: the password itself.
    Plain,
    /// EXTERNAL: the client's certificate.
    External,
    /// HT-SHA-256 with that binding, for FAST tokens only.
    Ht(HtBinding),
}

/// What an HT mechanism binds a token's use to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HtBinding {
    /// HT-SHA-256-NONE: nothing; for web clients, which cannot see their TLS.
    None,
    /// HT-SHA-256-EXPR: `tls-exporter`.
    Exporter,
    /// HT-SHA-256-ENDP: `tls-server-end-point`.
    EndPoint,
}

impl HtBinding {
    /// Every binding, strongest first.
    pub const ALL: [HtBinding; 3] = [HtBinding::Exporter, HtBinding::EndPoint, HtBinding::None];

    /// The channel binding it needs.
    pub fn binding_type(self) -> Option<BindingType> {
        match self {
            HtBinding::None => None,
            HtBinding::Exporter => Some(BindingType::TlsExporter),
            HtBinding::EndPoint => Some(BindingType::TlsServerEndPoint),
        }
    }
}

impl Mechanism {
    /// Every mechanism, in the order in which a server prefers and lists them.
    pub const ALL: [Mechanism; 11] = [
        Mechanism::External,
        Mechanism::Scram {
            hash: Hash::Sha512,
            plus: true,
        },
        Mechanism::Scram {
            hash: Hash::Sha256,
            plus: true,
        },
        Mechanism::Scram {
            hash: Hash::Sha1,
            plus: true,
        },
        Mechanism::Scram {
            hash: Hash::Sha512,
            plus: false,
        },
        Mechanism::Scram {
            hash: Hash::Sha256,
            plus: false,
        },
        Mechanism::Scram {
            hash: Hash::Sha1,
            plus: false,
        },
        Mechanism::Plain,
        Mechanism::Ht(HtBinding::Exporter),
        Mechanism::Ht(HtBinding::EndPoint),
        Mechanism::Ht(HtBinding::None),
    ];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Scram {
                hash: Hash::Sha1,
                plus: false,
            } => "SCRAM-SHA-1",
            Mechanism::Scram {
                hash: Hash::Sha1,
                plus: true,
            } => "SCRAM-SHA-1-PLUS",
            Mechanism::Scram {
                hash: Hash::Sha256,
                plus: false,
            } => "SCRAM-SHA-256",
            Mechanism::Scram {
                hash: Hash::Sha256,
                plus: true,
            } => "SCRAM-SHA-256-PLUS",
            Mechanism::Scram {
                hash: Hash::Sha512,
                plus: false,
            } => "SCRAM-SHA-512",
            Mechanism::Scram {
                hash: Hash::Sha512,
                plus: true,
            } => "SCRAM-SHA-512-PLUS",
            Mechanism::Plain => "PLAIN",
            Mechanism::External => "EXTERNAL",
            Mechanism::Ht(HtBinding::None) => "HT-SHA-256-NONE",
            Mechanism::Ht(HtBinding::Exporter) => "HT-SHA-256-EXPR",
            Mechanism::Ht(HtBinding::EndPoint) => "HT-SHA-256-ENDP",
        }
    }

    /// The mechanism of that name. Names are upper case (RFC 4422 §3.1) and compared exactly.
    pub fn from_name(name: &str) -> Option<Mechanism> {
        Mechanism::ALL
            .into_iter()
            .find(|mechanism| mechanism.name() == name)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_mechanism_and_fits_the_sasl_grammar() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
            assert!(mechanism.name().len() <= 20, "RFC 4422 §3.1");
        }
        assert_eq!(Mechanism::from_name("scram-sha-1"), None);
        assert_eq!(Mechanism::from_name("HT-SHA-256-UNIQ"), None);
    }
}
