"""A Cluster without a network: objects by path, optimistic concurrency, merge patches, scales, and faults by switch."""

import asyncio
from copy import deepcopy
from typing import Any

from gateway.kube.client import ApiError, Unreachable
from tests.kube.patches import merged

Json = dict[str, Any]


class FakeCluster:
    """Keeps JSON objects by path. `log` tells each request that was begun, as in "PATCH /api/…"."""

    namespace = "tidegate"

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.log: list[str] = []
        self.bodies: list[Json] = []
        """Those of writes, in order."""
        self.away = False
        self.delay = 0.0
        """Seconds from a request to its being done."""
        self.answers: list[Exception | None] = []
        """What the next requests fail with before they are done; None: not at all."""
        self.lost_answers = 0
        """How many of the next requests are done without their sender hearing of it."""
        self.at_once = 0
        self.most_at_once = 0
        self._versions = 100

    def put(self, path: str, item: Json) -> Json:
        """Somebody else's hand: no version is asked for."""
        self._versions += 1
        item.setdefault("metadata", {})["resourceVersion"] = str(self._versions)
        self.objects[path] = item
        return item

    async def get(self, path: str, params: Json | None = None, *, timeout: float = 10.0) -> Json:  # noqa: ARG002
        await self._request("GET", path, timeout)
        return await self._answer(self._there(path), timeout)

    async def create(self, path: str, body: Json, *, timeout: float = 10.0) -> Json:
        await self._request("POST", path, timeout, body)
        path = f"{path}/{body['metadata']['name']}"
        if path in self.objects:
            raise ApiError(409, "AlreadyExists", "already exists")
        return await self._answer(self.put(path, deepcopy(body)), timeout)

    async def replace(self, path: str, body: Json, *, timeout: float = 10.0) -> Json:
        await self._request("PUT", path, timeout, body)
        self._check(self._there(path), body)
        return await self._answer(self.put(path, deepcopy(body)), timeout)

    async def patch(self, path: str, body: Json, *, timeout: float = 10.0) -> Json:
        await self._request("PATCH", path, timeout, body)
        scaled = path.endswith("/scale")
        item = self._there(path.removesuffix("/scale"))
        self._check(item, body)
        own = body.get("metadata", {}).get("uid")
        if own is not None and own != item["metadata"].get("uid"):
            raise ApiError(422, "Invalid", "metadata.uid: Invalid value: field is immutable")
        self.put(path.removesuffix("/scale"), merged(item, body))
        return await self._answer(self._scale(path) if scaled else self._there(path), timeout)

    async def _request(self, method: str, path: str, timeout: float, body: Json | None = None) -> None:
        self.log.append(f"{method} {path}")
        if body is not None:
            self.bodies.append(deepcopy(body))
        if self.away:
            raise Unreachable("connection refused")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.sleep(self.delay)
        except TimeoutError:
            raise Unreachable(f"no answer within {timeout:g} s") from None
        finally:
            self.at_once -= 1
        failure = self.answers.pop(0) if self.answers else None
        if failure is not None:
            raise failure

    async def _answer(self, item: Json, timeout: float) -> Json:
        if self.lost_answers:
            self.lost_answers -= 1
            await asyncio.sleep(timeout)
            raise Unreachable(f"no answer within {timeout:g} s")
        return deepcopy(item)

    def _there(self, path: str) -> Json:
        if path not in self.objects:
            raise ApiError(404, "NotFound", f"{path} not found")
        return self.objects[path]

    def _scale(self, path: str) -> Json:
        item = self._there(path.removesuffix("/scale"))
        return {"kind": "Scale", "metadata": item["metadata"], "spec": {"replicas": item["spec"]["replicas"]}}

    def _check(self, item: Json, body: Json) -> None:
        version = body.get("metadata", {}).get("resourceVersion")
        if version is not None and version != item["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified")
