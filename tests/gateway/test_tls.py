"""Files to contexts, and why they cannot be used; what a failed handshake is called. (Over real sockets: `tests/integration/test_tls.py`.)"""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.tls import (
    Doorkeeper,
    Trust,
    UnusableError,
    hurry,
    load_pair,
    load_trust,
    said_goodbye,
    why,
)
from tests.certificates import Authority, lock, weak

END = datetime(2031, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> tuple[Path, Path]:
    return authority.issue(tmp_path, not_after=END)


def refused(cert: Path, key: Path) -> tuple[str, str]:
    """The key of the configuration that is at fault, and the words without folders."""
    with pytest.raises(UnusableError) as caught:
        load_pair(cert, key)
    return caught.value.key, str(caught.value).replace(f"{cert.parent}/", "")


# -- a certificate and its key


def test_a_pair_is_loaded_with_its_end(pair: tuple[Path, Path]) -> None:
    """TLS 1.2 is the oldest that its context takes, and nothing is compressed."""
    loaded = load_pair(*pair)
    assert loaded.not_after == END.timestamp()
    assert loaded.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert loaded.context.options & ssl.OP_NO_COMPRESSION


def test_the_key_of_another_certificate_is_told(
    authority: Authority, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """As after a renewal of which only one file was written."""
    _, other = authority.issue(tmp_path, stem="other")
    assert refused(pair[0], other) == ("key", "other.key: the key does not fit the certificate in tls.crt")


def test_an_encrypted_key_is_told_and_nobody_is_asked(pair: tuple[Path, Path]) -> None:
    """OpenSSL would wait at the terminal."""
    cert, key = pair
    locked = key.with_name("locked.key")
    lock(key, locked)
    assert refused(cert, locked) == (
        "key",
        "locked.key: the key is encrypted: give it without a passphrase",
    )


def test_files_in_each_others_place_are_told(pair: tuple[Path, Path]) -> None:
    """Each holds something, but not what it is named for."""
    cert, key = pair
    assert refused(key, cert)[0] == "cert"
    words = "tls.crt: it holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)"
    assert refused(cert, cert) == ("key", words)


def test_a_damaged_file_is_told(pair: tuple[Path, Path]) -> None:
    """Where it cannot be said which of the two it is, both are named."""
    cert, key = pair
    first, *_, last = key.read_bytes().splitlines()
    key.write_bytes(b"\n".join((first, b"AAAA", last)))
    assert refused(cert, key) == ("cert", "tls.crt with tls.key: cannot be used: one of them is damaged")


def test_a_key_that_openssl_takes_for_too_weak_is_told_in_its_words(tmp_path: Path) -> None:
    """Its reason says what to do."""
    cert, key = weak(tmp_path)
    assert refused(cert, key) == ("cert", "tls.crt with tls.key: cannot be used: ee key too small")


def test_files_that_vanish_after_they_were_read_are_told(pair: tuple[Path, Path]) -> None:
    """Between two steps of whoever replaces them."""
    cert, key = pair
    assert "No such file" in refused(cert.with_name("gone.crt"), key)[1]
    assert "No such file" in refused(cert, key.with_name("gone.key"))[1]


def test_a_key_that_vanishes_while_it_is_judged_is_damaged(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was wrong with it can be said no more."""
    cert, key = pair
    key.write_bytes(b"")
    read = Path.read_bytes

    def vanish(path: Path) -> bytes:
        if path == key:
            raise FileNotFoundError
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", vanish)
    assert "cannot be used" in refused(cert, key)[1]


# -- the listener's side


@pytest.mark.parametrize(("seconds", "limit"), [(3.0, 3.0), (0.0, 60.0)])
def test_a_handshake_always_has_a_limit(pair: tuple[Path, Path], seconds: float, limit: float) -> None:
    """Even where heads have none."""
    assert Doorkeeper(load_pair(*pair), "1.2").options(seconds)["ssl_handshake_timeout"] == limit


def test_a_doorkeeper_shows_the_oldest_version_and_the_end(pair: tuple[Path, Path]) -> None:
    """For whoever debugs."""
    door = Doorkeeper(load_pair(*pair), "1.3")
    assert repr(door) == f"<Doorkeeper TLSv1_3 until {END.timestamp():.0f}>"


class Transport:
    """Only what is asked of it."""

    def __init__(self, ssl_object: Any, unsent: int = 0) -> None:
        self.ssl_object = ssl_object
        self.unsent = unsent
        self.aborted = False

    def get_extra_info(self, name: str) -> Any:
        return {"ssl_object": self.ssl_object, "socket": None}[name]

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize(
    "transport",
    [
        pytest.param(Transport(None), id="a plain one"),
        pytest.param(Transport(object(), unsent=1), id="one with bytes to send"),
        pytest.param(Transport(object()), id="one that is gone"),
    ],
)
def test_only_a_tls_connection_that_is_done_is_hurried(transport: Transport) -> None:
    """A plain one's close waits for nobody."""
    hurry(transport)
    assert not transport.aborted


# -- the pods' side


def test_a_named_file_is_trusted_instead_of_the_systems(authority: Authority, tmp_path: Path) -> None:
    """Be it a root, one in between or a pod's own certificate."""
    context = load_trust(authority.write(tmp_path), verify=True)
    assert context.cert_store_stats()["x509"] == 1
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_system_is_trusted_where_nothing_is_named() -> None:
    """Verified all the same."""
    context = load_trust(None, verify=True)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_nothing_is_verified_where_that_is_asked_for() -> None:
    """`verify: false`."""
    assert load_trust(None, verify=False).verify_mode == ssl.CERT_NONE


def test_a_file_without_certificates_is_nothing_to_trust(tmp_path: Path) -> None:
    """Neither is one that is gone."""
    path = tmp_path / "ca.crt"
    with pytest.raises(UnusableError, match="No such file"):
        load_trust(path, verify=True)
    path.write_bytes(b"x")
    with pytest.raises(UnusableError, match="holds no certificate in PEM form"):
        load_trust(path, verify=True)


def test_a_trust_is_what_its_settings_are() -> None:
    """Two contexts that verify by the same are the same; another name is another trust."""
    one, other = load_trust(None, verify=False), load_trust(None, verify=False)
    assert Trust("nobody", None, one) == Trust("nobody", None, other)
    assert Trust("nobody", None, one) != Trust("nobody", "iris", one)
    assert Trust("nobody", None, one).options("pod")["server_hostname"] == "pod"
    assert Trust("nobody", "iris", one).options("pod")["server_hostname"] == "iris"


def failure(kind: type[ssl.SSLError], **told: str) -> ssl.SSLError:
    error = kind(1, "said by OpenSSL")
    for name, value in told.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            failure(ssl.SSLCertVerificationError, verify_message="certificate has expired."),
            "its certificate is not trusted: certificate has expired",
        ),
        (failure(ssl.SSLError, reason="WRONG_VERSION_NUMBER"), "it does not speak TLS"),
        (
            failure(ssl.SSLError, reason="NO_SHARED_CIPHER"),
            "the TLS handshake failed: no shared cipher",
        ),
        (ConnectionResetError(), "it closed the connection during the TLS handshake"),
        (ConnectionRefusedError(111, "Connection refused"), "[Errno 111] Connection refused"),
    ],
)
def test_a_failed_connection_says_why(error: OSError, words: str) -> None:
    """In words for the client and for the log."""
    assert why(error) == words


class Ended:
    """A TLS connection after its end."""

    def __init__(self, end: Exception | None) -> None:
        self.end = end

    def read(self, _size: int) -> bytes:
        if self.end is not None:
            raise self.end
        return b""


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (None, True),
        (ssl.SSLZeroReturnError(), True),
        (ssl.SSLWantReadError(), False),
        (ssl.SSLEOFError(), False),
    ],
)
def test_only_a_close_notify_is_the_other_sides_word(end: Exception | None, said: bool) -> None:
    """A FIN can come from anybody on the way."""
    assert said_goodbye(Transport(Ended(end))) is said
