"""A ring of 256 points per pod, on which a key finds the pods in an order of its own: consistent hashing.

Core. A pod that comes or goes moves only the keys next to its points. Points are BLAKE2b of the pod's uid, so that every gateway has the same
ring. They stand in buckets by their upper bits, each in order: a pod is put in or taken out with 256 small insertions, without a look at the
rest (1.3 million points of 5,000 pods, sorted as one list, would be moved by each). `picking` walks.
"""

from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b
from struct import unpack

from gateway.endpoint import Endpoint

POINTS = 256
_DIGESTS = 32
"""Each is 64 bytes, eight points."""
_BUCKETS = 1024
_SHIFT = 64 - 10


def hashed(key: bytes) -> int:
    """A key's place on every ring."""
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")


def points(uid: str) -> list[int]:
    """Where a pod stands."""
    name = uid.encode("utf-8", "surrogatepass") + b"\0"
    found: list[int] = []
    for number in range(_DIGESTS):
        found.extend(unpack(">8Q", blake2b(name + b"%d" % number).digest()))
    return found


class Ring:
    """Endpoints by their points."""

    def __init__(self) -> None:
        self._places: list[list[int]] = [[] for _ in range(_BUCKETS)]
        self._owners: list[list[Endpoint]] = [[] for _ in range(_BUCKETS)]
        """Of each place, at the same index. A table of all of them would be all over the memory, and a walk slow."""

    def add(self, endpoint: Endpoint) -> None:
        for point in points(endpoint.uid):
            places = self._places[point >> _SHIFT]
            index = bisect_left(places, point)
            places.insert(index, point)
            self._owners[point >> _SHIFT].insert(index, endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        for point in points(endpoint.uid):
            places, owners = self._places[point >> _SHIFT], self._owners[point >> _SHIFT]
            index = owners.index(endpoint, bisect_left(places, point))
            del places[index], owners[index]

    def walk(self, key: int) -> Iterator[Endpoint]:
        """From the key's place once around: the owner of each point, again and again."""
        first = key >> _SHIFT
        begin = bisect_left(self._places[first], key)
        yield from self._owners[first][begin:]
        for number in range(first + 1, first + _BUCKETS):
            yield from self._owners[number % _BUCKETS]
        yield from self._owners[first][:begin]

    def __repr__(self) -> str:
        return f"<Ring of {sum(map(len, self._owners))} points>"
