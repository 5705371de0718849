"""A straightforward reverse proxy on aiohttp, for comparison: what one writes in an afternoon, written with care.

Bodies stream both ways, connections are kept both ways, hop-by-hop headers are left out, backends are picked by weight, a
request id and deadlines are set, nothing is decompressed. aiohttp's C parser, on uvloop unless told otherwise.
"""

import argparse
import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from itertools import cycle

import uvloop
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
SESSION = web.AppKey("session", ClientSession)
ORIGINS = web.AppKey("origins", Iterator[str])
"""Whose turn it is next."""


def forwarded(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers that go on: all but those of one hop, and those that Connection names."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if (lower := name.lower()) not in HOP_BY_HOP and lower not in named
    )


async def handle(request: web.Request) -> web.StreamResponse:
    headers = forwarded(request.headers)
    headers.setdefault("X-Request-Id", uuid.uuid4().hex)
    headers["X-Forwarded-For"] = request.remote or ""
    turns = request.app[ORIGINS]
    url = URL(next(turns) + request.raw_path, encoded=True)
    body = request.content if request.body_exists else None
    try:
        async with request.app[SESSION].request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.extend(forwarded(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
    except (ClientError, TimeoutError) as error:
        raise web.HTTPBadGateway(text=f"{error!r}") from error


async def sessions(app: web.Application) -> AsyncIterator[None]:
    app[SESSION] = ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=3600),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=None, sock_connect=5, sock_read=300),
        auto_decompress=False,
        skip_auto_headers={"User-Agent", "Accept", "Accept-Encoding", "Content-Type"},
    )
    yield
    await app[SESSION].close()


def make_app(origins: list[str]) -> web.Application:
    app = web.Application()
    app[ORIGINS] = cycle(origins)
    app.cleanup_ctx.append(sessions)
    app.router.add_route("*", "/{path:.*}", handle)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--stable", required=True, metavar="URL", help="gets nine of ten requests")
    parser.add_argument("--candidate", required=True, metavar="URL", help="gets the tenth")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    options = parser.parse_args()
    app = make_app([*[options.stable] * 9, options.candidate])
    loop = uvloop.new_event_loop() if options.loop == "uvloop" else asyncio.new_event_loop()
    web.run_app(
        app,
        host="127.0.0.1",
        port=options.port,
        access_log=None,
        print=None,
        loop=loop,
        keepalive_timeout=3600,
        handler_cancellation=True,
        backlog=4096,
    )


if __name__ == "__main__":
    main()
