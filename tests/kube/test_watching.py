"""Watches over HTTP, and their law: whoever lists, and then applies what a watch from there says, knows what is there."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_asyncio import client, watch

from tests.kube.listing import Lists
from tests.kube.objects import config_map, pod
from tests.kube.plain import MAPS, Plain, read
from tests.kube.store import Store
from tests.kube.verbs import selection
from tests.kube.watching import Watch

if TYPE_CHECKING:
    from tests.kube.apiserver import ApiServer

NAMES = ("a", "b", "c", "d")
change = st.tuples(st.sampled_from(NAMES), st.sampled_from(["on", "off", "data", "delete"]))
trouble = st.sampled_from(["freeze", "thaw"])


def do(store: Store, what: Any) -> None:
    """One change of one object, or a fault."""
    if isinstance(what, str):
        (store.history.freeze if what == "freeze" else store.history.thaw)()
        return
    name, how = what
    if not store.find("configmaps", "default", name):
        store.create("configmaps", config_map(name))
    if how == "delete":
        store.delete("configmaps", "default", name)
    elif how == "data":
        store.change("configmaps", "default", name, lambda obj: obj.update(data={"at": str(store.rv)}))
    else:
        labels = {"on": "1"} if how == "on" else {}
        store.change("configmaps", "default", name, lambda obj: obj["metadata"].update(labels=labels))


@given(
    before=st.lists(change | trouble, max_size=15),
    after=st.lists(change | trouble, max_size=25),
    label=st.sampled_from(["", "on", "!on"]),
)
def test_a_list_and_its_watch_know_what_is_there(before: list[Any], after: list[Any], label: str) -> None:
    """Whatever changes, whatever is selected, and however the cache lags behind. Types tell the truth: what is ADDED was not there."""
    store = Store(lambda: 1e9, random.Random(1))  # noqa: S311 (repeatable)
    for what in before:
        do(store, what)
    resource = store.registry.named("configmaps")
    chosen = selection(resource, "", {"labelSelector": label})
    listed = json.loads(Lists(store, store.history).answer(resource, chosen, {}))
    known = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in listed["items"]}
    watching = Watch(
        store.history,
        resource,
        chosen,
        {"resourceVersion": listed["metadata"]["resourceVersion"]},
        asyncio.Event(),
    )
    for what in (*after, "thaw"):
        do(store, what)
        for line in watching.said().splitlines():
            event = json.loads(line)
            metadata = event["object"]["metadata"]
            assert (event["type"] == "ADDED") == (metadata["name"] not in known)
            if event["type"] == "DELETED":
                del known[metadata["name"]]
            else:
                known[metadata["name"]] = metadata["resourceVersion"]
    there = store.records("configmaps", "", label)
    assert known == {record.key[1]: str(record.rv) for record in there}


@given(st.integers(1, 4), st.lists(change, min_size=1, max_size=20), st.lists(change, max_size=5))
def test_pages_are_the_whole(limit: int, before: list[Any], between: list[Any]) -> None:
    """However many to a page, and whatever changes between two of them."""
    store = Store(lambda: 1e9, random.Random(1))  # noqa: S311 (repeatable)
    for what in before:
        do(store, what)
    lists, resource = Lists(store, store.history), store.registry.named("configmaps")
    chosen = selection(resource, "", {})
    whole = json.loads(lists.answer(resource, chosen, {}))["items"]
    paged, token = [], ""
    while True:
        page = json.loads(lists.answer(resource, chosen, {"limit": str(limit), "continue": token}))
        paged += page["items"]
        token = page["metadata"].get("continue", "")
        for what in between:
            do(store, what)
        if not token:
            break
    assert paged == whole


async def test_a_watch_by_a_real_client(api: ApiServer, kube: client.ApiClient) -> None:
    """kubernetes_asyncio's own watch sees what is there and what comes."""
    api.controllers.pause()
    await api.apply(pod("a"))
    core, seen = client.CoreV1Api(kube), []
    async with watch.Watch() as watching:
        async for event in watching.stream(core.list_namespaced_pod, "default"):
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 1:
                await api.apply(pod("b"))
                api.store.delete("pods", "default", "a")
            if len(seen) == 3:
                break
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]


async def test_a_watch_from_a_version_sees_what_came_after_it(api: ApiServer, plain: Plain) -> None:
    """Once each, in order, and then what comes."""
    await api.apply([config_map("a"), config_map("b")])
    version = api.store.get("configmaps", "default", "a")["metadata"]["resourceVersion"]
    async with plain.watch(f"{MAPS}?resourceVersion={version}") as response:
        assert await read(response, 1) == [("ADDED", "b")]
        api.store.delete("configmaps", "default", "a")
        assert await read(response, 1) == [("DELETED", "a")]


@pytest.mark.parametrize("version", ["", "0"])
async def test_a_watch_from_nowhere_begins_with_what_is_there(
    api: ApiServer, plain: Plain, version: str
) -> None:
    """With no resourceVersion, or 0, all objects come as ADDED."""
    await api.apply([config_map("a"), config_map("b")])
    async with plain.watch(f"{MAPS}?resourceVersion={version}&labelSelector=!x") as response:
        assert {("ADDED", "a"), ("ADDED", "b")} <= set(await read(response, 3))


async def test_an_object_enters_and_leaves_a_selection(api: ApiServer, plain: Plain) -> None:
    """A watch by label sees ADDED and DELETED, with what it saw last, where others see MODIFIED."""
    await api.apply(config_map("a"))
    async with plain.watch(f"{MAPS}?resourceVersion={api.store.rv}&labelSelector=on") as response:
        for labels in ({"on": "1"}, {"on": "2"}, {}):
            api.store.change(
                "configmaps", "default", "a", lambda obj, labels=labels: obj["metadata"].update(labels=labels)
            )
        events = [json.loads(await response.content.readline()) for _ in range(3)]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert events[-1]["object"]["metadata"]["labels"] == {"on": "2"}
    assert events[-1]["object"]["metadata"]["resourceVersion"] == str(api.store.rv)


async def test_bookmarks_tell_the_version(api: ApiServer, plain: Plain) -> None:
    """To those that allow them, when nothing else is said."""
    async with plain.watch(f"{MAPS}?resourceVersion={api.store.rv}&allowWatchBookmarks=true") as response:
        bookmark = json.loads(await response.content.readline())
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["kind"] == "ConfigMap"
    assert bookmark["object"]["metadata"]["resourceVersion"] == str(api.store.rv)


async def test_a_streaming_list_ends_with_a_bookmark(api: ApiServer, plain: Plain) -> None:
    """sendInitialEvents: all there is, then an annotated bookmark."""
    await api.apply(config_map("a"))
    query = "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name=a"
    async with plain.watch(f"{MAPS}?{query}") as response:
        added, end = [json.loads(await response.content.readline()) for _ in range(2)]
    assert added["type"] == "ADDED"
    assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_ends_by_its_timeout(plain: Plain) -> None:
    """The stream ends whole."""
    async with plain.watch(f"{MAPS}?resourceVersion=1&timeoutSeconds=1&labelSelector=none") as response:
        assert await response.read() == b""


async def test_a_watch_from_forgotten_times_is_told_so(api: ApiServer, plain: Plain) -> None:
    """An ERROR event with a 410 in the stream; a real client raises it."""
    api.faults.compact()
    async with plain.watch(f"{MAPS}?resourceVersion=1") as response:
        event = json.loads(await response.read())
    assert response.status == 200
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
