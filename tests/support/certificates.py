"""An authority for the tests, and the certificates that it signs; all of it PEM."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = datetime.timedelta(days=2)


class Authority:
    """Signs certificates; each private key exists only in this process and where a test puts it."""

    def __init__(self, name, *, expired=False):
        self._until = -_LIFETIME / 2 if expired else _LIFETIME
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        identity = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        self._authority_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            identity
        )
        certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identity, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = _pem(certificate)

    def server(self, *hosts):
        """The certificate of a server of these names, and its key."""
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        return self._signed(hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, names)

    def client(self, name, password=None):
        """The certificate of a client, and its key, encrypted where there is a password."""
        return self._signed(name, ExtendedKeyUsageOID.CLIENT_AUTH, password=password)

    def _signed(self, name, purpose, *extensions, password=None):
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(_name(name), key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(self._authority_id, critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        encryption = (
            serialization.NoEncryption()
            if password is None
            else serialization.BestAvailableEncryption(password.encode())
        )
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
        return _pem(builder.sign(self._key, hashes.SHA256())), secret.decode()

    def _builder(self, subject, key):
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            # a container's clock may be a little behind
            .not_valid_before(now - _LIFETIME)
            .not_valid_after(now + self._until)
        )


def _name(text):
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, text),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Kite connector tests"),
        ]
    )


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
