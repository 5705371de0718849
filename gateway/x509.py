"""What of a certificate matters to operators: when it ends.

Core: bytes in, seconds since the epoch out. Only as much of X.509 is read as leads to that date; whether the certificate is any good
is for OpenSSL to say, which has no public way to tell the date of a certificate that is not a peer's. `tls` asks.
"""

import binascii
import re
from datetime import UTC, datetime

_PEM = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.+?)-----END", re.DOTALL)
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0


def expiry(pem: bytes) -> float:
    """When the first certificate in `pem`, which is the one that is shown, is valid no more. ValueError when there is none."""
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    try:
        return _not_after(binascii.a2b_base64(found[1]))
    except (ValueError, IndexError) as error:
        raise ValueError("its first certificate is damaged") from error


def _not_after(der: bytes) -> float:
    """RFC 5280, 4.1: Certificate {TBSCertificate {[version], serial, algorithm, issuer, validity {notBefore, notAfter}, …"""
    _, certificate, _ = _element(der)
    _, rest, _ = _element(certificate)
    tag, _, after = _element(rest)
    if tag == _VERSION:
        rest = after
    for _ in ("serial", "algorithm", "issuer"):
        _, _, rest = _element(rest)
    tag, validity, _ = _element(rest)
    if tag != _SEQUENCE:
        raise ValueError("no validity")
    _, _, rest = _element(validity)
    tag, text, _ = _element(rest)
    return _seconds(tag, text.decode("ascii"))


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """The first element's tag and content, and what follows it."""
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("cut short")
    return data[0], data[start : start + length], data[start + length :]


def _seconds(tag: int, text: str) -> float:
    if tag == _UTC_TIME:
        # Two digits of the year: 50 to 99 are of the last century (RFC 5280, 4.1.2.5.1).
        text = ("19" if text >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no date")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
