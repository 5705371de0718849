"""A container's probes, as a kubelet makes them: httpGet and tcpSocket; thresholds before a verdict changes.

Probes that would need to run something in the container (exec, grpc) never succeed here.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

Object = dict[str, Any]


@dataclass(frozen=True)
class Probe:
    """One probe of a container whose pod has the address."""

    spec: Object
    container: Object
    address: str

    @property
    def runs(self) -> bool:
        """Whether this node can make it."""
        return "httpGet" in self.spec or "tcpSocket" in self.spec

    def seconds(self, key: str, default: float) -> float:
        return float(self.spec.get(key) or default)

    def port(self, action: Object) -> int:
        """By number, or by the name that the container gives it."""
        port = action["port"]
        if isinstance(port, int) or port.isdigit():
            return int(port)
        named = {entry.get("name"): entry["containerPort"] for entry in self.container.get("ports", [])}
        return int(named[port])

    async def succeeds(self) -> bool:
        """Try once."""
        try:
            async with asyncio.timeout(self.seconds("timeoutSeconds", 1)):
                if "httpGet" in self.spec:
                    return await self._http(self.spec["httpGet"])
                if "tcpSocket" in self.spec:
                    return await self._tcp(self.spec["tcpSocket"])
        except (OSError, TimeoutError, aiohttp.ClientError, KeyError):
            pass
        return False

    async def _http(self, action: Object) -> bool:
        scheme = action.get("scheme", "HTTP").lower()
        host = action.get("host") or self.address
        url = f"{scheme}://{host}:{self.port(action)}/{action.get('path', '/').lstrip('/')}"
        headers = {entry["name"]: entry["value"] for entry in action.get("httpHeaders") or []}
        headers = {"User-Agent": "kube-probe/1.33", "Connection": "close", **headers}
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers=headers, ssl=False, allow_redirects=False) as response,
        ):
            return 200 <= response.status < 400

    async def _tcp(self, action: Object) -> bool:
        _, writer = await asyncio.open_connection(action.get("host") or self.address, self.port(action))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True


async def follow(probe: Probe, tell: Callable[[bool], None]) -> None:
    """Probe each period until cancelled, and tell each verdict that the thresholds allow."""
    await asyncio.sleep(probe.seconds("initialDelaySeconds", 0))
    loop = asyncio.get_running_loop()
    period = probe.seconds("periodSeconds", 10)
    needed = {
        True: probe.seconds("successThreshold", 1),
        False: probe.seconds("failureThreshold", 3),
    }
    last, in_a_row = None, 0
    while True:
        began = loop.time()
        verdict = await probe.succeeds()
        in_a_row = in_a_row + 1 if verdict == last else 1
        last = verdict
        if in_a_row >= needed[verdict]:
            tell(verdict)
        await asyncio.sleep(max(0.0, began + period - loop.time()))
