"""What a test can break, and that it is whole again after."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.eventually import eventually
from tests.kube.apiserver import ApiServer
from tests.kube.objects import config_map, pod

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def session(api: ApiServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(api.url, headers={"Authorization": f"Bearer {api.admin_token}"}) as made:
        yield made


def watch(api: ApiServer, session: aiohttp.ClientSession, more: str = "") -> Any:
    return session.get(f"{MAPS}?watch=1&resourceVersion={api.store.rv}{more}")


async def event(response: aiohttp.ClientResponse) -> tuple[str, str]:
    found = json.loads(await response.content.readline())
    return found["type"], found["object"]["metadata"].get("name", "")


async def names(session: aiohttp.ClientSession, query: str = "") -> set[str]:
    """What a list shows, besides what every namespace has."""
    async with session.get(f"{MAPS}{query}") as response:
        found = await response.json()
    return {item["metadata"]["name"] for item in found["items"]} - {"kube-root-ca.crt"}


async def test_away_cuts_and_refuses_and_comes_back(api: ApiServer, session: aiohttp.ClientSession) -> None:
    """Open watches break off, connections are refused, and after it the same port serves the same objects."""
    await api.apply(config_map("a"))
    async with watch(api, session) as response:
        await api.faults.away()
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    with pytest.raises(aiohttp.ClientConnectorError):
        await names(session)
    await eventually(lambda: not api.faults.watches)
    await api.faults.back()
    assert await names(session) == {"a"}


async def test_a_stalled_watch_is_open_and_says_nothing(
    api: ApiServer, session: aiohttp.ClientSession
) -> None:
    """No event and no bookmark; once it ends, what was held back comes."""
    async with watch(api, session, "&allowWatchBookmarks=true") as response:
        api.faults.stall()
        await api.apply(config_map("a"))
        reading = asyncio.ensure_future(response.content.readline())
        assert not (await asyncio.wait([reading], timeout=0.15))[0]
        api.faults.stall(on=False)
        assert json.loads(await reading)["object"]["metadata"]["name"] == "a"


@pytest.mark.parametrize("cleanly", [True, False])
async def test_watches_are_cut(api: ApiServer, session: aiohttp.ClientSession, cleanly: bool) -> None:
    """Ended as by a timeout, or broken off; new ones are answered."""
    async with watch(api, session) as response:
        await eventually(lambda: api.faults.watches)
        assert api.faults.cut_watches(cleanly=cleanly) == 1
        if cleanly:
            assert await response.read() == b""
        else:
            with pytest.raises(aiohttp.ClientError):
                await response.read()
    async with watch(api, session) as response:
        await api.apply(config_map("a"))
        assert await event(response) == ("ADDED", "a")


async def test_chosen_requests_are_refused(api: ApiServer, session: aiohttp.ClientSession) -> None:
    """So many of a verb and a resource, with Retry-After if it is wanted; others pass."""
    api.faults.answer(429, times=2, verb="list", resource="configmaps", retry_after=3)
    seen = []
    for path in (MAPS, "/api/v1/pods", MAPS, MAPS):
        async with session.get(path) as response:
            body = await response.json()
            seen.append((response.status, response.headers.get("Retry-After"), body.get("reason")))
    refused = (429, "3", "TooManyRequests")
    assert seen == [refused, (200, None, None), refused, (200, None, None)]


@pytest.mark.parametrize("code", [409, 500, 503])
async def test_refusals_have_a_status(api: ApiServer, session: aiohttp.ClientSession, code: int) -> None:
    """Whatever the code."""
    api.faults.answer(code)
    async with session.get(MAPS) as response:
        assert (response.status, (await response.json())["code"]) == (code, code)


async def test_chosen_requests_are_delayed(api: ApiServer, session: aiohttp.ClientSession) -> None:
    """Until the switch is turned off; a request that waits does not hold others."""
    api.faults.delay(30, verb="list", resource="configmaps")
    slow = asyncio.ensure_future(names(session))
    async with session.get("/api/v1/pods") as response:
        assert response.status == 200
    api.faults.clear()
    assert await names(session) == set()
    assert not slow.done()
    slow.cancel()


@pytest.mark.parametrize("as_status", [False, True])
async def test_after_a_compaction_old_watches_are_gone(
    api: ApiServer, session: aiohttp.ClientSession, as_status: bool
) -> None:
    """As an ERROR in the stream, or as the answer's status. One from now on is well."""
    api.faults.gone_as_status = as_status
    async with watch(api, session) as going_on:
        await api.apply(config_map("a"))
        api.faults.compact()
        async with session.get(f"{MAPS}?watch=1&resourceVersion=1") as response:
            body = await response.json(content_type="application/json")
        assert response.status == (410 if as_status else 200)
        assert (body if as_status else body["object"])["code"] == 410
        await api.apply(config_map("b"))
        assert [await event(going_on) for _ in range(2)] == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_frozen_cache_shows_an_old_state(api: ApiServer, session: aiohttp.ClientSession) -> None:
    """Lists and watches lag behind, while GETs and writes are current; then they catch up."""
    await api.apply(config_map("a"))
    async with watch(api, session) as response:
        api.faults.freeze()
        await api.apply(config_map("b"))
        async with session.get(f"{MAPS}/b") as got:
            assert got.status == 200
        assert await names(session) == {"a"}
        api.faults.thaw()
        assert await event(response) == ("ADDED", "b")
    assert await names(session) == {"a", "b"}


async def test_a_frozen_cache_may_be_read_past(api: ApiServer, session: aiohttp.ClientSession) -> None:
    """As in a real server, where only a list that allows it is old."""
    api.faults.freeze(lists_current=True)
    await api.apply(config_map("b"))
    assert await names(session) == {"b"}
    assert await names(session, "?resourceVersion=0") == set()


async def test_a_watch_ahead_of_a_frozen_cache_sees_nothing_twice(
    api: ApiServer, session: aiohttp.ClientSession
) -> None:
    """From a version that a GET told, it goes on after that one."""
    api.faults.freeze()
    await api.apply(config_map("a"))
    async with watch(api, session) as response:
        api.faults.thaw()
        await api.apply(config_map("b"))
        assert await event(response) == ("ADDED", "b")


async def test_a_slow_watcher_holds_nobody(api: ApiServer, session: aiohttp.ClientSession) -> None:
    """One that does not read keeps its lines; another one gets its own at once."""
    async with watch(api, session), watch(api, session) as reader:
        await eventually(lambda: len(api.faults.watches) == 2)
        for number in range(50):
            await api.apply(config_map(f"m{number}", big="x" * 100_000))
            assert await event(reader) == ("ADDED", f"m{number}")


async def test_requests_are_counted(api: ApiServer, session: aiohttp.ClientSession) -> None:
    """By verb and resource, so that a test can tell one watch from five hundred."""
    await api.apply(pod("a"))
    await names(session)
    async with watch(api, session):
        pass
    assert api.counts == {("list", "configmaps"): 1, ("watch", "configmaps"): 1}


async def test_a_muted_watch_never_speaks_again_and_new_ones_do(
    api: ApiServer, session: aiohttp.ClientSession
) -> None:
    """As when the network has forgotten a connection."""
    async with watch(api, session) as muted:
        await eventually(lambda: len(api.faults.watches) == 1)
        assert api.faults.mute_watches() == 1
        async with watch(api, session) as spoken:
            await api.apply(config_map("a"))
            assert await event(spoken) == ("ADDED", "a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await muted.content.readline()


async def test_another_server_of_the_cluster_falls_behind_alone(
    api: ApiServer, session: aiohttp.ClientSession
) -> None:
    """It serves the same objects, writes included, from a view of its own."""
    await api.apply(config_map("a"))
    async with ApiServer.running(beside=api) as other:
        headers = {"Authorization": f"Bearer {api.admin_token}"}
        async with aiohttp.ClientSession(other.url, headers=headers) as there:
            other.faults.freeze()
            async with there.post(MAPS, json=config_map("b")) as answer:
                assert answer.status == 201
            assert await names(session) == {"a", "b"}
            assert await names(there) == {"a"}
            async with there.get(f"{MAPS}/b") as found:
                assert found.status == 200
            other.faults.thaw()
            assert await names(there) == {"a", "b"}


async def test_another_server_knows_no_history_from_before_it(api: ApiServer) -> None:
    """A watch from an older version is 410, and not silently without what happened."""
    old = api.store.rv
    await api.apply(config_map("a"))
    async with ApiServer.running(beside=api) as other:
        headers = {"Authorization": f"Bearer {api.admin_token}"}
        async with (
            aiohttp.ClientSession(other.url, headers=headers) as there,
            there.get(f"{MAPS}?watch=1&resourceVersion={old}") as watched,
        ):
            assert json.loads(await watched.content.readline())["object"]["code"] == 410
