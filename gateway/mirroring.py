"""The part of an Exchange that has its request copied, once it goes to a pod. `copies` is what becomes of the copy; `exchange` tells it of the answer."""

from typing import TYPE_CHECKING

from gateway.answering import Answering
from gateway.copies import Copy

if TYPE_CHECKING:
    from gateway.search import Search


class Mirroring(Answering):
    """Between answering by oneself and going to a pod."""

    __slots__ = ()

    switches_to = b""

    def _copy(self, search: "Search", forwarded: bytes, data: bytes, now: float) -> None:
        """So much of the request went to a pod."""
        mirror, search.mirror = search.mirror, None
        if (
            mirror is not None
            and not self.switches_to
            and mirror.ref.backend is not self._backend
            and mirror.turns.take()
        ):
            traffic = self._gateway.mirrors.of(mirror)
            if traffic.in_flight < mirror.in_flight:
                search.copy = Copy(self._gateway, mirror, self._head, forwarded, search.key_at(mirror.ref))
            else:
                traffic.count("too_many")
        if search.copy is not None:
            search.copy.sent(data, self._trailers, now, ended=self._request_done)
