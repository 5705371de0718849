"""One API server: where it is, who we are to it, and JSON to and from it.

Credentials, CA and proxy are found as kubectl finds them: the files that KUBECONFIG names, or ~/.kube/config, or what a pod is given.
Reading them is kubernetes_asyncio's (tokens of files, plugins and OIDC included); they are read again when the API server refuses them, so
that a rotated token costs one request. Objects stay plain JSON: the library's model classes take milliseconds for a page of pods.
Imported only when the configuration names a cluster: kubernetes_asyncio is an extra (`pip install tidegate[kubernetes]`).
"""

import asyncio
import json
import logging
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from yaml import YAMLError

from gateway.kube.proxies import proxy_for

try:
    from kubernetes_asyncio import config as kube_config
    from kubernetes_asyncio.client import Configuration
    from kubernetes_asyncio.config import ConfigException
except ImportError as missing:
    raise ImportError("a cluster needs kubernetes_asyncio: pip install 'tidegate[kubernetes]'") from missing

logger = logging.getLogger(__name__)

TIMEOUT = 10.0
CONNECT_TIMEOUT = 5.0
"""Seconds."""
MERGE_PATCH = "application/merge-patch+json"
_MISREAD = (YAMLError, TypeError, AttributeError)
"""What the library says of a file that is something else, or half of what it will be."""
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ClusterError(Exception):
    """Something that was asked of the API server was not done; its text is for people."""


class NoClusterError(ClusterError):
    """There are no usable credentials."""


class Unreachable(ClusterError):  # noqa: N818 (a state of things, as the log says it)
    """No connection, or no answer in time: whether anything was done is not known."""


class ApiError(ClusterError):
    """The API server's refusal."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message or f"{status} {reason}".rstrip())
        self.status = status
        self.reason = reason
        """Such as `Conflict`, `NotFound`, `Expired`; empty when the answer was no Status."""
        self.retry_after = retry_after
        """Seconds that it asks to be left alone for."""


class Cluster:
    """A client of one API server. `close` it in the end."""

    def __init__(self, configuration: Configuration, namespace: str) -> None:
        self.namespace = namespace
        """Where objects are looked for whose namespace is not given: the pod's own, or that of the kubeconfig's context."""
        self.url: str = (configuration.host or "").rstrip("/")
        self._configuration = configuration
        self._proxy: str | None = configuration.proxy or proxy_for(self.url, os.environ)
        self._session = _session(configuration)
        self._retired: aiohttp.ClientSession | None = None
        self._renewing: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls) -> "Cluster":
        """Find the credentials; no request is made. Raises NoClusterError in words for the person who started this."""
        found = await _credentials()
        await asyncio.sleep(0)  # a reload may have asked: files and TLS contexts take some ms each
        return cls(*found)

    async def close(self) -> None:
        await self._session.close()
        if self._retired is not None:
            await self._retired.close()

    # -- requests

    async def get(
        self, path: str, params: Mapping[str, str] | None = None, *, timeout: float = TIMEOUT
    ) -> dict[str, Any]:
        return await self._request("GET", path, params=params, timeout=timeout)

    async def read(self, path: str, params: Mapping[str, str]) -> str:
        """As `get`, but the text itself, for who decodes it in pieces."""
        async with self._answer("GET", path, params=params, timeout=TIMEOUT) as answer:
            return (await answer.read()).decode()

    async def create(self, path: str, body: Mapping[str, Any], *, timeout: float = TIMEOUT) -> dict[str, Any]:
        return await self._request("POST", path, params=_within(timeout), body=body, timeout=timeout)

    async def replace(
        self, path: str, body: Mapping[str, Any], *, timeout: float = TIMEOUT
    ) -> dict[str, Any]:
        return await self._request("PUT", path, params=_within(timeout), body=body, timeout=timeout)

    async def patch(self, path: str, body: Mapping[str, Any], *, timeout: float = TIMEOUT) -> dict[str, Any]:
        """A merge patch (RFC 7386)."""
        return await self._request("PATCH", path, params=_within(timeout), body=body, timeout=timeout)

    async def delete(self, path: str, *, uid: str, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Delete the object of that uid, and no other that has its name by now (409); what it owns goes after it."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        return await self._request("DELETE", path, params=_within(timeout), body=body, timeout=timeout)

    async def watch(
        self, path: str, params: Mapping[str, str], *, timeout: float
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a watch as they come, until the API server ends it; Unreachable after `timeout` seconds in all."""
        async with self._answer("GET", path, params=params, timeout=timeout) as answer:
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        yield _event(line)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        timeout: float,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        async with self._answer(method, path, timeout=timeout, params=params, body=body) as answer:
            found = json.loads(await answer.read())
            if not isinstance(found, dict):
                raise ValueError(f"an object was expected, not a {type(found).__name__}")  # noqa: TRY004 (of what was answered)
            return found

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        *,
        timeout: float,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer below 400. Raises ApiError, or Unreachable, also for what goes wrong while it is read."""
        try:
            async with asyncio.timeout(timeout):
                answer = await self._send(method, path, params, body)
                if answer.status == 401:
                    answer.release()
                    await self._renew()
                    answer = await self._send(method, path, params, body)
                async with answer:
                    if answer.status >= 400:
                        raise _refusal(answer, await answer.read())
                    _expect_json(answer)
                    yield answer
        except aiohttp.ClientSSLError as error:
            # The CA may have been replaced: the next try goes by what is there then.
            self._begin_renewal()
            raise Unreachable(f"{self.url}: {error}") from error
        except RecursionError as error:
            raise Unreachable(f"{self.url}: an answer is nested too deeply to be read") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise Unreachable(f"{self.url}: {str(error) or type(error).__name__}") from error
        except TimeoutError as error:
            raise Unreachable(f"{self.url} did not answer within {timeout:g} s") from error
        except ConfigException as error:
            raise Unreachable(f"{self.url}: credentials cannot be renewed: {error}") from error
        except OSError as error:
            raise Unreachable(f"{self.url}: {error.strerror or error}") from error

    async def _send(
        self, method: str, path: str, params: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "User-Agent": "tidegate"}
        token = (await self._configuration.auth_settings()).get("BearerToken")
        if token is not None:
            headers["Authorization"] = token["value"]
        if body is not None:
            headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else "application/json"
        return await self._session.request(
            method,
            self.url + path,
            params=params,
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
            proxy=self._proxy,
            server_hostname=self._configuration.tls_server_name,
            allow_redirects=False,
        )

    # -- credentials

    async def _renew(self) -> None:
        """Read the credentials again, once for all who find them refused at the same time."""
        await asyncio.shield(self._begin_renewal())

    def _begin_renewal(self) -> asyncio.Task[None]:
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._read_again())
        return self._renewing

    async def _read_again(self) -> None:
        try:
            configuration, _ = await _credentials()
            session = _session(configuration)
        except NoClusterError as error:
            logger.warning("the cluster's credentials cannot be read again, the old ones are used: %s", error)
            return
        self._configuration = configuration
        if self._retired is not None:
            await self._retired.close()
        # Watches that still run on it may end in peace.
        self._retired, self._session = self._session, session

    def __repr__(self) -> str:
        return f"<Cluster {self.url} namespace={self.namespace}>"


def _within(seconds: float) -> dict[str, str]:
    """Have the API server give a write up in time as well: one that it holds up must not be done when nobody waits for it any more."""
    return {"timeout": f"{seconds:.3f}s"}


def _expect_json(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 300:
        place = answer.headers.get("Location", "nowhere")
        raise ValueError(f"answered {answer.status}, a redirect to {place}: that is no API server")
    if answer.content_type == "text/html":
        raise ValueError(f"answered {answer.status} with text/html: that is no API server")


def _event(line: bytes) -> dict[str, Any]:
    event = json.loads(line)
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict) or "type" not in event:
        raise ValueError(f"not an event of a watch: {line[:100].decode(errors='replace')}")
    return event


def _refusal(answer: aiohttp.ClientResponse, body: bytes) -> ApiError:
    try:
        status = json.loads(body)
        reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    except (ValueError, AttributeError):
        said = body[:200].decode("utf-8", "replace").strip()
        reason, message = "", ": ".join(filter(None, (f"{answer.status} {answer.reason}", said)))
    after = answer.headers.get("Retry-After", "")
    return ApiError(answer.status, reason, message, float(after) if after.isdecimal() else None)


def _session(configuration: Configuration) -> aiohttp.ClientSession:
    """Raises NoClusterError."""
    try:
        context = _context(configuration)
    except (OSError, ValueError) as error:
        why = f"its certificates cannot be used: {error}"
        raise NoClusterError(f"no credentials for a cluster, from {_source()}: {why}") from error
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=0), timeout=timeout, read_bufsize=2**18
    )


def _context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    # Python 3.13 asks of CAs what many clusters' own do not have, and what kubectl does not ask.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _credentials() -> tuple[Configuration, str]:
    """As kubectl finds them, and the default namespace that comes with them."""
    configuration = Configuration()
    files = _files()
    try:
        if files:
            loader = await kube_config.load_kube_config(
                files, client_configuration=configuration, persist_config=False
            )
            context: Any = loader.current_context
            return configuration, context["context"].get("namespace") or "default"
        kube_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, ValueError, KeyError, *_MISREAD, AssertionError) as error:
        why = (str(error) or type(error).__name__).rstrip(".")
        if isinstance(error, _MISREAD):
            why = f"it is no kubeconfig: {why}"
        hint = "" if files else ". Outside of a cluster, name a kubeconfig in KUBECONFIG"
        raise NoClusterError(f"no credentials for a cluster, from {_source()}: {why}{hint}") from error
    return configuration, _own_namespace()


def _files() -> str | None:
    return os.environ.get("KUBECONFIG") or _home_file()


def _source() -> str:
    """For people."""
    files = _files()
    return f"KUBECONFIG {files}" if files else "the pod's service account"


def _own_namespace() -> str:
    return _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.is_file() else "default"


def _home_file() -> str | None:
    path = Path.home() / ".kube" / "config"
    return str(path) if path.is_file() else None
