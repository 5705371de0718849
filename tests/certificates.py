"""Certificates for tests: an authority, and pairs that it issues into files, as an operator has them."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


class Authority:
    """A CA that nobody trusts but those who are told to."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def write(self, folder: Path, name: str = "ca.crt") -> Path:
        """Its own certificate."""
        path = folder / name
        self._ca.cert_pem.write_to_path(path)
        return path

    def issue(
        self, folder: Path, *names: str, stem: str = "tls", not_after: datetime | None = None
    ) -> tuple[Path, Path]:
        """A certificate with its chain, and its key; for this machine unless names are given."""
        leaf = self._ca.issue_cert(*(names or ("localhost", "127.0.0.1")), not_after=not_after)
        cert, key = folder / f"{stem}.crt", folder / f"{stem}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(key)
        return cert, key

    def server(self, *names: str) -> ssl.SSLContext:
        """A server's context with a certificate of its own."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        """A context that trusts this authority alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._ca.configure_trust(context)
        return context


def lock(key: Path, locked: Path) -> None:
    """Write a key once more, with a passphrase."""
    private = load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    )


def weak(folder: Path) -> tuple[Path, Path]:
    """A certificate and a key as nobody should have them any more."""
    cert, key = folder / "tls.crt", folder / "tls.key"
    private = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak it must be
    name, now = x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, now, now + timedelta(days=1))
    cert.write_bytes(builder.sign(private, SHA256()).public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert, key
