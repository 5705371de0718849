"""When a certificate ends."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.x509 import expiry
from tests.certificates import Authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.mark.parametrize("year", [2031, 2049, 2050, 2120])
def test_the_end_is_what_the_certificate_says(authority: Authority, tmp_path: Path, year: int) -> None:
    """Certificates write years to 2049 with two digits, those from 2050 on with four."""
    end = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    cert, _ = authority.issue(tmp_path, not_after=end)
    assert expiry(cert.read_bytes()) == end.timestamp()


def test_the_first_certificate_counts(authority: Authority, tmp_path: Path) -> None:
    """The ones behind it are between it and its root; what stands around them does not matter."""
    first, _ = authority.issue(tmp_path, stem="a", not_after=datetime(2031, 1, 1, tzinfo=UTC))
    second, _ = authority.issue(tmp_path, stem="b", not_after=datetime(2032, 1, 1, tzinfo=UTC))
    pem = b"subject=x\n" + first.read_bytes() + b"\n\n" + second.read_bytes()
    assert expiry(pem.replace(b"\n", b"\r\n")) == datetime(2031, 1, 1, tzinfo=UTC).timestamp()


def test_where_there_is_none_that_is_said(authority: Authority, tmp_path: Path) -> None:
    """A key, for one, that stands in the wrong place."""
    _, key = authority.issue(tmp_path)
    for pem in (b"", key.read_bytes()):
        with pytest.raises(ValueError, match="holds no certificate in PEM form"):
            expiry(pem)


def armour(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def element(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


def certificate(*, version: bytes = b"", dates: bytes) -> bytes:
    """As little of one as leads to the dates."""
    before = b"".join(element(tag, b"") for tag in (0x02, 0x30, 0x30))
    return armour(element(0x30, element(0x30, version + before + dates)))


def validity(tag: int, not_after: bytes) -> bytes:
    return element(0x30, element(0x17, b"200101000000Z") + element(tag, not_after))


@pytest.mark.parametrize(
    ("text", "year"), [(b"491231235959Z", 2049), (b"500101000000Z", 1950), (b"991231000000Z", 1999)]
)
def test_two_digits_of_a_year_are_of_the_century_around_2000(text: bytes, year: int) -> None:
    """RFC 5280, 4.1.2.5.1; a certificate of version 1 names no version."""
    assert datetime.fromtimestamp(expiry(certificate(dates=validity(0x17, text))), UTC).year == year


@pytest.mark.parametrize(
    "dates",
    [
        pytest.param(element(0x31, b""), id="no validity"),
        pytest.param(validity(0x16, b"20310101000000Z"), id="another type"),
        pytest.param(validity(0x18, b"soon"), id="no date"),
        pytest.param(validity(0x18, b"\xff"), id="no text"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x30\x7f", id="cut short"),
    ],
)
def test_what_is_no_date_is_damage(dates: bytes) -> None:
    """One word for all that OpenSSL would not take either."""
    with pytest.raises(ValueError, match="its first certificate is damaged"):
        expiry(certificate(dates=dates))


@given(st.binary(max_size=200))
def test_noise_is_damage_and_nothing_worse(der: bytes) -> None:
    """Whatever is in a file."""
    with pytest.raises(ValueError, match="certificate"):
        expiry(armour(der))
