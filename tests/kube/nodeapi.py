"""The node agent's client of an API server: requests, and list-watches that go on whatever happens.

Knows nothing of pods. Neighbours: `kubelet.py` and `podrunner.py` talk through it.
"""

import asyncio
import base64
import json
import logging
import random
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

MERGE_PATCH = "application/merge-patch+json"
WATCH_SECONDS = 30
AGAIN_AFTER = 0.3
"""Seconds between attempts at an API server that is away; jittered."""

Object = dict[str, Any]
log = logging.getLogger(__name__)


class ApiError(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError)
FAILURES = (ApiError, *UNREACHABLE)


@dataclass(frozen=True)
class Access:
    """Where an API server is, and who asks."""

    url: str
    token: str | None = None
    tls: ssl.SSLContext | None = None


class Api:
    """Requests to one API server; close it when done."""

    def __init__(self, access: Access) -> None:
        self._url = access.url.rstrip("/")
        headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
        connector = aiohttp.TCPConnector(limit=0, ssl=access.tls or True)
        self._session = aiohttp.ClientSession(
            connector=connector, headers=headers | {"User-Agent": "tidegate-test-kubelet"}
        )

    def __repr__(self) -> str:
        return f"<Api {self._url}>"

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str, **params: str) -> Object:
        return await self._request("GET", path, params=params)

    async def post(self, path: str, body: Object) -> Object:
        return await self._request("POST", path, body)

    async def patch(self, path: str, body: Object) -> Object:
        return await self._request("PATCH", path, body, content_type=MERGE_PATCH)

    async def delete(self, path: str, body: Object | None = None, **params: str) -> Object:
        return await self._request("DELETE", path, body, params=params)

    async def follow(self, path: str, **selection: str) -> AsyncGenerator[tuple[str, Any], None]:
        """`("SYNC", all of them)` after each list, then `("ADDED" | "MODIFIED" | "DELETED", one)`; without end."""
        while True:
            try:
                listed = await self.get(path, **selection)
                yield "SYNC", listed["items"]
                async for kind, item in self._watch(path, listed["metadata"]["resourceVersion"], selection):
                    yield kind, item
            except (*FAILURES, ValueError, KeyError) as error:
                log.info("%s: %s; listing again", path, error)
            await asyncio.sleep(AGAIN_AFTER * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    async def _watch(
        self, path: str, version: str, selection: Mapping[str, str]
    ) -> AsyncGenerator[tuple[str, Any], None]:
        while True:
            params = {
                **selection,
                "watch": "true",
                "resourceVersion": version,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(WATCH_SECONDS),
            }
            timeout = aiohttp.ClientTimeout(total=WATCH_SECONDS + 5)
            async with self._session.get(self._url + path, params=params, timeout=timeout) as response:
                await _check(response)
                async for line in _lines(response.content):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 500), event["object"].get("message", ""))
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield event["type"], event["object"]

    async def _request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": content_type}
        timeout = aiohttp.ClientTimeout(total=10)
        async with self._session.request(
            method, self._url + path, data=data, params=params, headers=headers, timeout=timeout
        ) as response:
            await _check(response)
            answer: Object = await response.json()
            return answer


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    text = await response.text()
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text[:200]
    raise ApiError(response.status, message)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    # readline() has a limit that a large object's event is over.
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line


def access_of(kubeconfig: Path) -> Access:
    """What the current context of a kubeconfig names; no exec plug-ins, no proxies."""
    config = yaml.safe_load(kubeconfig.read_text())

    def named(kind: str, name: str) -> Object:
        found: Object = next(item for item in config[f"{kind}s"] if item["name"] == name)[kind]
        return found

    context = named("context", config["current-context"])
    cluster, user = named("cluster", context["cluster"]), named("user", context["user"])
    token = user.get("token")
    if "tokenFile" in user:
        token = (kubeconfig.parent / user["tokenFile"]).read_text().strip()
    tls = _tls(kubeconfig.parent, cluster, user) if cluster["server"].startswith("https") else None
    return Access(cluster["server"], token, tls)


def _tls(folder: Path, cluster: Object, user: Object) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=_pem(folder, cluster, "certificate-authority"))
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate := _pem(folder, user, "client-certificate"):
        with tempfile.NamedTemporaryFile("w") as pair:  # ssl loads it from files alone
            pair.write(certificate + "\n" + (_pem(folder, user, "client-key") or ""))
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


def _pem(folder: Path, entry: Object, key: str) -> str | None:
    if data := entry.get(f"{key}-data"):
        return base64.b64decode(data).decode()
    return (folder / entry[key]).read_text() if key in entry else None
