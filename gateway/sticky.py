"""Who comes again goes where they were: weighted rendezvous hashing of a key over the Backends of a split, and the cookie that holds a key.

Core. With a key, each Backend of weight w scores -w / ln(h), h being a hash of the Backend's name and the key, spread over (0, 1); the best takes
the request. Of many keys each Backend gets its share, and raising one weight moves keys towards that Backend only: 90:10 to
80:20 moves a ninth of the first one's users and nobody else. The hash is BLAKE2b, so that it is the same in every process: the first eight
bytes of BLAKE2b(name, NUL, key), big endian, of which the upper 53 bits count. Nothing is kept anywhere.
`steering` asks for the choice; `config.table` makes these.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from math import log
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from gateway.asked import Asked, Source

B = TypeVar("B")

TOKEN_BYTES = 16
"""Of chance in a cookie's value."""
_SIGNATURE_BYTES = 16
_HEX = 2 * TOKEN_BYTES


def spread(name: bytes, key: bytes) -> float:
    """A number in (0, 1) for each pair, always the same."""
    number = int.from_bytes(blake2b(name + b"\0" + key, digest_size=8).digest(), "big") >> 11
    return (number + 0.5) / 2**53


class Rendezvous(Generic[B]):
    """Backends by weight; of two that are equal in all but their names, neither is preferred."""

    __slots__ = ("_places",)

    def __init__(self, places: Iterable[tuple[str, int, B]]) -> None:
        """Names, weights and Backends; those of weight 0 are never chosen, and one must have more."""
        self._places = [(name.encode(), -weight, backend) for name, weight, backend in places if weight > 0]

    def choose(self, key: bytes) -> B:
        return max(self._places, key=lambda place: place[1] / log(spread(place[0], key)))[2]

    def __repr__(self) -> str:
        return f"<Rendezvous {' '.join(f'{name.decode()}={-weight}' for name, weight, _ in self._places)}>"


@dataclass(frozen=True, slots=True)
class Cookie:
    """The cookie that is given to whoever comes without one."""

    name: bytes
    attributes: bytes
    """What follows the value, from the first semicolon on; empty: nothing."""
    secret: bytes = b""
    """Signs the value; empty: any value is taken."""

    def key(self, value: bytes | None) -> bytes | None:
        """What a client's cookie stands for; None when it has none, or not one of ours."""
        if not value or not self.secret:
            return value or None
        token, _, signature = value.partition(b".")
        return token if hmac.compare_digest(signature, self._signature(token)) else None

    def line(self, token: bytes) -> bytes:
        """The whole field that gives it to a client; `token` is then its key."""
        value = token + b"." + self._signature(token) if self.secret else token
        return b"set-cookie: %b=%b%b\r\n" % (self.name, value, self.attributes)

    def _signature(self, token: bytes) -> bytes:
        digest = hmac.digest(self.secret, self.name + b"=" + token, "sha256")
        return digest[:_SIGNATURE_BYTES].hex().encode()


@dataclass(frozen=True, slots=True)
class Sticky:
    """By what requests are told to belong together."""

    source: "Source"
    cookie: Cookie | None = None
    """Given to those who come without; None: they get the split's turn."""

    def key(self, asked: "Asked") -> bytes | None:
        """What stands for whoever asks; None when nothing does."""
        value = self.source.of(asked)
        return value or None if self.cookie is None else self.cookie.key(value)

    def __str__(self) -> str:
        return str(self.source)
