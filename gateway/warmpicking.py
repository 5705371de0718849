"""Least requests where some Endpoints are new and get less.

Core. Apart from `picking`, whose LeastRequests is every request's way and knows nothing of this. `slowstart` says how warm an Endpoint is.
"""

from collections import OrderedDict
from collections.abc import Collection
from math import ceil

from gateway.endpoint import Endpoint
from gateway.picking import Picker


class WarmLeastRequests(Picker):
    """As LeastRequests, in rows by what Endpoints would have in flight if they were warm; a new one stands no higher than the last row with
    a free slot as long as it has one.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._rows: list[OrderedDict[Endpoint, None]] = [OrderedDict()]
        self._row_of: dict[Endpoint, int] = {}
        self._lowest = 0

    def add(self, endpoint: Endpoint) -> None:
        row = self._weigh(endpoint)
        while len(self._rows) <= row:
            self._rows.append(OrderedDict())
        self._rows[row][endpoint] = None
        self._row_of[endpoint] = row
        self._lowest = min(self._lowest, row)

    def remove(self, endpoint: Endpoint) -> None:
        del self._rows[self._row_of.pop(endpoint)][endpoint]

    def take(self, avoid: Collection[Endpoint] = (), key: int | None = None) -> Endpoint | None:  # noqa: ARG002  # others ask for it
        rows = self._rows
        while not rows[self._lowest]:
            self._lowest += 1
        if 0 < self.limit <= self._lowest:
            return None
        endpoint = next(iter(rows[self._lowest]))
        if endpoint in avoid:
            endpoint = self._other(avoid) or endpoint
        self._count(endpoint, 1)
        return endpoint

    def give_back(self, endpoint: Endpoint) -> None:
        self._count(endpoint, -1)

    def spare(self, avoid: Collection[Endpoint]) -> bool:
        return self._other(avoid) is not None

    def relimit(self, limit: int) -> None:
        self.limit = limit
        for endpoint in self._row_of:
            self._rows[self._row_of[endpoint]].pop(endpoint)
            self.add(endpoint)

    def rewarm(self, endpoint: Endpoint, warmth: float) -> None:
        endpoint.warmth = warmth
        if endpoint in self._row_of and self._row_of[endpoint] != self._weigh(endpoint):
            self.remove(endpoint)
            self.add(endpoint)

    def _count(self, endpoint: Endpoint, more: int) -> None:
        self.remove(endpoint)
        endpoint.in_flight += more
        self.add(endpoint)

    def _weigh(self, endpoint: Endpoint) -> int:
        in_flight = endpoint.in_flight
        if endpoint.warmth == 1.0:
            return in_flight
        weighed = ceil(in_flight / endpoint.warmth)
        if not self.limit:
            return weighed
        return min(weighed, self.limit - 1) if in_flight < self.limit else in_flight

    def _other(self, avoid: Collection[Endpoint]) -> Endpoint | None:
        for row in self._rows[: self.limit or None]:
            for endpoint in row:
                if endpoint not in avoid:
                    return endpoint
        return None

    def __repr__(self) -> str:
        return f"<WarmLeastRequests of {len(self._row_of)}>"
