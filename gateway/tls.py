"""TLS on both sides: contexts made of files in PEM form, and what a TLS connection needs that a plain one does not.

`load_pair` and `load_trust` read files: off the event loop. A Doorkeeper is the listener's side for as long as that listens,
whatever certificate it shows; a Trust is what connections to a Backend's pods are held to. `credentials` makes both of a configuration;
`upstream`, `downstream` and `probe` use them.
"""

import fcntl
import ssl
import termios
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gateway import x509

HANDSHAKE_SECONDS = 60.0
"""A client's handshake may take so long where `timeouts.head` sets no limit."""
LAST_BYTES_SECONDS = 300.0
"""How long a client of a closing connection may take to read what it was sent. A plain socket's kernel would wait as well."""
GOODBYE_SECONDS = 5.0
"""How long a pod may take to answer the end of a connection that has no request open."""
PROTOCOLS = ["http/1.1"]

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_NOT_TLS = {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}


class UnusableError(Exception):
    """A file that cannot be used, and why."""

    def __init__(self, key: Literal["cert", "key", "ca"], text: str) -> None:
        super().__init__(text)
        self.key = key


# -- for clients


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and a private key that fit."""

    context: ssl.SSLContext
    not_after: float
    """When the certificate ends, in seconds since the epoch."""


def load_pair(cert: Path, key: Path) -> Pair:
    """Both files. UnusableError names the one that is at fault."""
    context = _server_context()
    try:
        not_after = x509.expiry(cert.read_bytes())
        context.load_cert_chain(cert, key, password=_no_passphrase)
    except ssl.SSLError as error:
        raise _misfit(cert, key, error) from error
    except (OSError, ValueError) as error:
        raise UnusableError("cert", f"{cert}: {error}") from error
    return Pair(context, not_after)


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(PROTOCOLS)
    return context


class _EncryptedError(ssl.SSLError):
    """OpenSSL would ask the terminal."""


def _no_passphrase() -> str:
    raise _EncryptedError


def _misfit(cert: Path, key: Path, error: ssl.SSLError) -> UnusableError:
    if isinstance(error, _EncryptedError):
        return UnusableError("key", f"{key}: the key is encrypted: give it without a passphrase")
    if _reason(error) == "KEY_VALUES_MISMATCH":
        return UnusableError("key", f"{key}: the key does not fit the certificate in {cert}")
    # What is left is a damaged file, or a key too weak for this OpenSSL, which has words for that.
    words = f"cannot be used: {_words(error) if _reason(error) else 'one of them is damaged'}"
    with suppress(OSError):
        if b"PRIVATE KEY-----" not in key.read_bytes():
            words = "it holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)"
            return UnusableError("key", f"{key}: {words}")
    return UnusableError("cert", f"{cert} with {key}: {words}")


class Doorkeeper:
    """The context that a listener keeps, showing the latest certificate to each client that comes.

    Each handshake is handed on to the Pair of its moment, so that a new one is there whole or not at all. Connections that are
    open stay as they are; sessions may be resumed over a change.
    """

    def __init__(self, pair: Pair, min_version: str) -> None:
        self.context = _server_context()
        self.context.sni_callback = self._hand_on  # called for each client, whether or not it names a server
        self.show(pair, min_version)

    def show(self, pair: Pair, min_version: str) -> None:
        """To all who come from now on."""
        self._pair = pair
        self.context.minimum_version = _VERSIONS[min_version]

    def _hand_on(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._pair.context

    def options(self, handshake_seconds: float) -> dict[str, Any]:
        """What `create_server` needs; 0 is no limit of one's own."""
        return {
            "ssl": self.context,
            "ssl_handshake_timeout": handshake_seconds or HANDSHAKE_SECONDS,
            "ssl_shutdown_timeout": LAST_BYTES_SECONDS,
        }

    def __repr__(self) -> str:
        return f"<Doorkeeper {self.context.minimum_version.name} until {self._pair.not_after:.0f}>"


def hurry(transport: Any) -> None:  # noqa: ANN401  # uvloop's is no asyncio.Transport
    """Do not wait for the goodbye of a client that has got everything, on a connection that has been closing for a turn of the loop.

    Clients that keep idle connections without looking at them would each hold up a drain until its end.
    """
    # OSError: not this system's way to ask; then it is waited for. AttributeError: asyncio has let go of the connection already.
    with suppress(OSError, AttributeError):
        if transport.get_extra_info("ssl_object") is None or transport.get_write_buffer_size():
            return
        descriptor = transport.get_extra_info("socket").fileno()
        if fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)) == bytes(4):
            transport.abort()


# -- for pods


@dataclass(frozen=True, slots=True)
class Trust:
    """What connections to a Backend's pods are held to. Equal where the settings are, so that a reload renews what changed only."""

    verified_by: str
    """The digest of the CAs' file; `system` for those of the system, `nobody` for none."""
    server_name: str | None
    """The name that certificates must be for; None for the host that is dialled."""
    context: ssl.SSLContext = field(compare=False, repr=False)

    def options(self, host: str) -> dict[str, Any]:
        """What `create_connection` needs."""
        return {
            "ssl": self.context,
            "server_hostname": self.server_name or host,
            "ssl_shutdown_timeout": GOODBYE_SECONDS,
        }


def load_trust(ca: Path | None, *, verify: bool) -> ssl.SSLContext:
    """The context of a Trust. UnusableError when there is nothing to trust in `ca`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(PROTOCOLS)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs()
    else:
        # What is named is trusted, be it a root, one in between or a pod's own.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(ca)
        except ssl.SSLError as error:
            words = "it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
            raise UnusableError("ca", f"{ca}: {words}") from error
        except OSError as error:
            raise UnusableError("ca", f"{ca}: {error}") from error
    return context


def why(error: OSError) -> str:
    """Why a TLS connection to a pod failed, in words for the person who called."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message.removesuffix('.')}"
    if isinstance(error, ssl.SSLError):
        if _reason(error) in _NOT_TLS:
            return "it does not speak TLS"
        return f"the TLS handshake failed: {_words(error)}"
    return str(error) or "it closed the connection during the TLS handshake"


def _words(error: ssl.SSLError) -> str:
    return (_reason(error) or str(error)).replace("_", " ").lower()


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's name for it; none where Python raised it, or where only the system knows."""
    return getattr(error, "reason", None) or ""


def said_goodbye(transport: Any) -> bool:  # noqa: ANN401  # as above
    """Whether a TLS connection whose end was just received was ended by the other side, not by whoever can cut it (RFC 8446, 6.1)."""
    try:
        # Nothing is read: all that came was delivered. b"" is OpenSSL's word for the other side's close_notify.
        return not transport.get_extra_info("ssl_object").read(1)
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False


def hold_back(transport: Any) -> None:  # noqa: ANN401  # as above
    """While its protocol pauses, let a TLS connection's bytes wait in the kernel, as a plain one's do.

    By default a quarter of a megabyte is read ahead, which uvloop throws away when the other side's end comes with it.
    """
    transport.set_read_buffer_limits(1)
