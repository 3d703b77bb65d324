"""Certificates for the tests: one for the server, any number for users who log in with EXTERNAL."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

# RFC 6120 §13.7.1.4: an XMPP address inside a certificate's subjectAltName.
ID_ON_XMPP_ADDR = ObjectIdentifier("1.3.6.1.5.5.7.8.5")


def _utf8_string(text):
    """DER of a UTF8String shorter than 128 bytes."""
    raw = text.encode()
    assert len(raw) < 128
    return b"\x0c" + bytes([len(raw)]) + raw


def _write(folder, name, key, certificate):
    folder.mkdir(parents=True, exist_ok=True)
    certificate_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


def _builder(name, issuer, key):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=30))
    )


def self_signed(folder, domains):
    """A server certificate for `domains`; (certificate file, key file)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domains[0])])
    certificate = (
        _builder(domains[0], subject, key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(d) for d in domains]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    return _write(folder, domains[0], key, certificate)


class Authority:
    """Signs certificates for users and servers; the server is told to trust `certificate_file`."""

    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Interop Users")])
        self.certificate = (
            _builder("Interop Users", self.name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
            .sign(self.key, hashes.SHA256())
        )
        self.certificate_file, _ = _write(folder, "users-authority", self.key, self.certificate)

    def issue(self, jid):
        """A certificate that says its holder is `jid`; (certificate file, key file)."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.OtherName(ID_ON_XMPP_ADDR, _utf8_string(jid))
        certificate = (
            _builder(jid, self.name, key)
            .add_extension(x509.SubjectAlternativeName([address]), False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
            .sign(self.key, hashes.SHA256())
        )
        return _write(self.folder, jid.replace("@", "_at_"), key, certificate)

    def issue_server(self, domain):
        """A certificate that says its holder is the server of `domain` and of what is below it."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(domain), x509.DNSName(f"*.{domain}")]
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(domain, self.name, key)
            .add_extension(x509.SubjectAlternativeName(names), False)
            .add_extension(x509.ExtendedKeyUsage(uses), False)
            .sign(self.key, hashes.SHA256())
        )
        return _write(self.folder, domain, key, certificate)
