"""Requests to the emulation without a client library, to see what is on the wire."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiohttp

    from tests.kube.apiserver import ApiServer

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


class Plain:
    """Requests without a client library."""

    def __init__(self, api: ApiServer, session: aiohttp.ClientSession) -> None:
        self._api = api
        self._session = session
        self.user = "admin"

    async def ask(
        self, method: str, path: str, body: Any = None, type_: str = "application/json"
    ) -> tuple[int, Any]:
        async with self._request(method, path, body, type_) as response:
            return response.status, await response.json()

    def watch(self, path: str) -> Any:
        return self._request("GET", f"{path}{'&' if '?' in path else '?'}watch=1", None, "application/json")

    def _request(self, method: str, path: str, body: Any, type_: str) -> Any:
        headers = {"Authorization": f"Bearer {self._api.token(self.user)}", "Content-Type": type_}
        data = None if body is None else json.dumps(body)
        return self._session.request(method, self._api.url + path, data=data, headers=headers)


async def read(response: aiohttp.ClientResponse, count: int) -> list[tuple[str, str]]:
    """The types and names of a watch's next events."""
    events = [json.loads(await response.content.readline()) for _ in range(count)]
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]
