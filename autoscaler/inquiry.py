"""Asks a running autoscaler what it says of its Backends: for the command line.

An autoscaler has its own admin side, or, inside of `tidegate up`, the gateway's; a gateway on its own has no decisions. So several
addresses may be tried, and the first that knows something answers; of a Backend the first that has it, as two may run on one machine.
What went wrong is told in words. `telling` reads the answer.
"""

import os
from collections.abc import Sequence
from typing import Any

import aiohttp

TIMEOUT = 10.0
"""Seconds for an answer; of thousands of Backends it takes one or two."""


class Unanswered(Exception):  # noqa: N818 (no error of ours)
    """Nobody has said anything of use; in words for whoever asked."""


async def ask(urls: Sequence[str], backend: str | None = None) -> dict[str, Any]:
    """What the first admin side at `urls` that has decisions says, of one Backend or of all."""
    said, unknown = [], None
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT)) as session:
        for url in urls:
            try:
                return await _ask(session, url.rstrip("/"), backend)
            except _Elsewhere as reason:
                said.append(f"{url} {reason}")
            except _NoBackend as reason:
                unknown = unknown or str(reason)
    if unknown:
        raise Unanswered(unknown)
    if len(said) > 1:
        said = [f"{', '.join(said[:-1])}, and {said[-1]}"]
    hint = "name the autoscaler's admin side with --admin, or the configuration that it runs with --config"
    raise Unanswered(f"{said[0]}; {hint}")


class _NoBackend(Exception):  # noqa: N818 (no error: another autoscaler may know it)
    """Whoever is at this address has no such Backend."""


class _Elsewhere(Exception):  # noqa: N818 (no error: another address may know)
    """Nothing is known at this address."""


async def _ask(session: aiohttp.ClientSession, url: str, backend: str | None) -> dict[str, Any]:
    params = {} if backend is None else {"backend": backend}
    try:
        async with session.get(f"{url}/v1/decisions", params=params) as answer:
            known = answer.content_type == "application/json"
            said = await answer.json() if known else {}
            status = answer.status
    except aiohttp.InvalidURL:
        raise Unanswered(f"{url} is no address: write it as http://127.0.0.1:8082") from None
    except TimeoutError:
        raise _Elsewhere(f"has not answered within {TIMEOUT:g} s") from None
    except (OSError, aiohttp.ClientError, ValueError, RecursionError) as error:
        raise _Elsewhere(f"does not answer ({_words(error)})") from None
    body: dict[str, Any] = said if isinstance(said, dict) else {}
    if status == 404 and isinstance(body.get("near"), list):
        near = f"; did you mean {' or '.join(map(str, body['near']))}?" if body["near"] else ""
        raise _NoBackend(f"{body.get('error')} at {url}{near}")
    if status != 200 or not _tells(body.get("backends"), backend):
        raise _Elsewhere(f"has no decisions (it answers {status}), as a gateway on its own")
    return body


def _tells(backends: object, backend: str | None) -> bool:
    """Whether that is what an autoscaler says; anything may listen at an address."""
    if not isinstance(backends, dict) or not all(isinstance(told, dict) for told in backends.values()):
        return False
    return backend is None or backend in backends


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0).lower()  # asyncio's own words have Python's tuples in them
    return str(error) or type(error).__name__
