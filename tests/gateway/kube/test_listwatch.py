"""The copy of a resource is what the server has, whatever happens on the way."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

from gateway.kube import listwatch
from gateway.kube.client import Cluster, Unreachable
from gateway.kube.listwatch import ListWatch
from gateway.kube.objects import Json
from tests.eventually import eventually
from tests.kube.apiserver import ApiServer

PATH = "/api/v1/namespaces/models/secrets"


class Told:
    """A Listener that writes down what it hears."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str | None, str | None]] = []
        self.settlings = 0

    def changed(self, name: str, before: str | None, now: str | None) -> None:
        self.changes.append((name, before, now))

    def settled(self) -> None:
        self.settlings += 1


def value(item: Json) -> str:
    text: str = item.get("data", {}).get("value", "")
    return text


def secret(name: str, value: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "models"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"value": value}}


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries in hundredths of a second."""
    monkeypatch.setattr(listwatch, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(listwatch, "LAST_RETRY", 0.05)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def watch(api: ApiServer, cluster: Cluster, told: Told) -> AsyncIterator[ListWatch[str]]:
    """Of two secrets, listed and watched."""
    await api.apply([secret("a", "1"), secret("b", "1")])
    found = ListWatch(cluster, PATH, value, told)
    task = asyncio.create_task(found.run())
    await eventually(lambda: found.synced and api.faults.watches)
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_there_is_listed_and_what_changes_is_told(
    api: ApiServer, watch: ListWatch[str], told: Told
) -> None:
    """With what it was before."""
    assert watch.items == {"a": "1", "b": "1"}
    await api.apply([secret("a", "2"), secret("c", "3")])
    api.store.delete("secrets", "models", "b")
    await eventually(lambda: watch.items == {"a": "2", "c": "3"})
    assert told.changes == [
        ("a", None, "1"),
        ("b", None, "1"),
        ("a", "1", "2"),
        ("c", None, "3"),
        ("b", "1", None),
    ]
    assert told.settlings == 1
    assert repr(watch) == f"<ListWatch {PATH} 2 objects>"


async def test_a_change_that_the_view_does_not_show_is_not_told(
    api: ApiServer, watch: ListWatch[str], told: Told
) -> None:
    """As a status that nobody asked about."""
    await api.apply(
        {**secret("a", "1"), "metadata": {"name": "a", "namespace": "models", "labels": {"x": "y"}}}
    )
    await api.apply(secret("b", "2"))
    await eventually(lambda: watch.items["b"] == "2")
    assert told.changes[2:] == [("b", "1", "2")]


async def test_a_list_comes_in_pages(
    api: ApiServer, cluster: Cluster, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that none of them holds the loop."""
    monkeypatch.setattr(listwatch, "PAGE", 2)
    await api.apply([secret(f"m{number}", "1") for number in range(5)])
    before = api.counts["list", "secrets"]
    found = ListWatch(cluster, PATH, value, told)
    task = asyncio.create_task(found.run())
    await eventually(lambda: found.synced)
    assert len(found.items) == 5
    assert api.counts["list", "secrets"] - before == 3
    task.cancel()


async def test_a_page_is_gone_through_in_turns_of_the_loop(
    api: ApiServer, cluster: Cluster, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a request waits for a few of its objects at most."""
    monkeypatch.setattr(listwatch, "AT_ONCE", 2)
    await api.apply([secret(f"m{number}", "1") for number in range(6)])
    found = ListWatch(cluster, PATH, value, told)
    task = asyncio.create_task(found.run())
    seen = set()
    while not found.synced:
        seen.add(len(found.items))
        await asyncio.sleep(0)
    assert {2, 4} <= seen <= {0, 2, 4, 6}
    task.cancel()


async def test_an_answer_that_is_no_list_is_a_failure(
    cluster: Cluster, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a proxy that answers 200 whatever happens; it is tried again."""
    monkeypatch.setattr(cluster, "read", AsyncMock(return_value="<html>"))
    found = ListWatch(cluster, PATH, value, told)
    task = asyncio.create_task(found.run())
    await eventually(lambda: "not a list" in found.problem)
    assert not found.synced
    task.cancel()


@pytest.mark.parametrize("cleanly", [True, False])
async def test_a_watch_that_ends_goes_on_from_where_it_was(
    api: ApiServer, watch: ListWatch[str], cleanly: bool
) -> None:
    """Without another list."""
    lists = api.counts["list", "secrets"]
    api.faults.cut_watches(cleanly=cleanly)
    await api.apply(secret("a", "2"))
    await eventually(lambda: watch.items["a"] == "2" and not watch.problem)
    assert api.counts["list", "secrets"] == lists


@pytest.mark.parametrize("as_status", [True, False])
async def test_a_version_that_is_too_old_is_listed_anew(
    api: ApiServer, watch: ListWatch[str], told: Told, as_status: bool
) -> None:
    """What is gone by then is told as gone; what stayed is not told again."""
    api.faults.gone_as_status = as_status
    await api.faults.away()
    api.store.delete("secrets", "models", "b")
    await api.apply(secret("c", "3"))
    api.faults.compact()
    await api.faults.back()
    await eventually(lambda: watch.items == {"a": "1", "c": "3"})
    assert sorted(told.changes[2:]) == [("b", "1", None), ("c", None, "3")]


async def test_bookmarks_carry_a_quiet_watch_past_a_compaction(api: ApiServer, watch: ListWatch[str]) -> None:
    """Nothing of this resource has changed, and much of others: its version still is new enough."""
    lists = api.counts["list", "secrets"]
    api.faults.bookmark_interval = 0.01
    api.faults.cut_watches()
    await eventually(lambda: api.faults.watches)
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s", "namespace": "models"}}
    [record] = await api.apply(other)
    version = record.rv
    await eventually(lambda: int(watch._version) >= version)
    api.faults.compact()
    api.faults.cut_watches()
    await api.apply(secret("a", "2"))
    await eventually(lambda: watch.items["a"] == "2")
    assert api.counts["list", "secrets"] == lists


async def test_while_the_server_is_away_what_is_known_stays(
    api: ApiServer, watch: ListWatch[str], caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and once more when it is over."""
    caplog.set_level(logging.INFO)
    await api.faults.away()
    await eventually(lambda: watch.problem)
    await eventually(lambda: watch._failures > 3)
    assert watch.items == {"a": "1", "b": "1"}
    await api.faults.back()
    await eventually(lambda: not watch.problem)
    await api.apply(secret("a", "2"))
    await eventually(lambda: watch.items["a"] == "2")
    said = [record.message for record in caplog.records if record.name == "gateway.kube.listwatch"]
    assert said[-1] == f"{PATH}: watched again"
    # At first the connection is cut, and then refused.
    assert len(said) <= 3


async def test_a_watch_that_says_nothing_is_found_out(
    api: ApiServer, cluster: Cluster, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not end when it should; the next one tells what was missed."""
    monkeypatch.setattr(listwatch, "WATCH", 1.0)
    monkeypatch.setattr(listwatch, "_LATE", 0.1)
    monkeypatch.setattr(listwatch, "SHORTEST_WATCH", 0.0)
    found = ListWatch(cluster, PATH, value, told)
    task = asyncio.create_task(found.run())
    await eventually(lambda: found.synced and api.faults.watches)
    api.faults.stall()
    await api.apply(secret("a", "1"))
    await eventually(lambda: "did not answer" in found.problem)
    assert found.items == {}
    api.faults.stall(False)
    await eventually(lambda: found.items == {"a": "1"})
    task.cancel()


async def test_watches_that_say_nothing_are_not_believed_for_ever(
    api: ApiServer, watch: ListWatch[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a server that was restored from a backup, and is behind the version that it is asked to go on from."""
    monkeypatch.setattr(listwatch, "WATCH", 1.0)
    monkeypatch.setattr(listwatch, "SHORTEST_WATCH", 0.0)
    monkeypatch.setattr(listwatch, "SILENT", 2)
    api.faults.freeze(lists_current=True)
    await api.apply(secret("a", "2"))
    api.faults.cut_watches(cleanly=True)
    await eventually(lambda: watch.items["a"] == "2", 10)


@pytest.mark.parametrize("known", [0, 1], ids=["in a list", "in a watch"])
async def test_a_fault_of_our_own_ends_nothing(
    api: ApiServer, cluster: Cluster, told: Told, caplog: pytest.LogCaptureFixture, known: int
) -> None:
    """What nobody foresaw is told with its traceback, once, and tried again for as long as it is there."""

    def strict(item: Json) -> str:
        data = item["data"]
        if "value" not in data:
            raise RuntimeError("no value")
        return str(data["value"])

    found = ListWatch(cluster, PATH, strict, told)
    await api.apply([secret("a", "1")] * known)
    task = asyncio.create_task(found.run())
    await eventually(lambda: found.synced and api.faults.watches)
    await api.apply({**secret("b", "1"), "data": {}})
    if not known:
        api.faults.cut_watches()
        api.faults.compact()
    await eventually(lambda: found._failures > 2)
    assert found.problem == "RuntimeError: no value"
    said = [record for record in caplog.records if "RuntimeError" in record.message]
    assert len(said) == 1
    assert said[0].exc_info
    await api.apply(secret("b", "2"))
    await eventually(lambda: found.items.get("b") == "2" and not found.problem)
    task.cancel()


async def test_a_server_that_is_busy_is_left_alone_for_as_long_as_it_asks(
    api: ApiServer, cluster: Cluster, told: Told
) -> None:
    """Not for the hundredth of a second that a retry would take here."""
    api.faults.answer(429, times=1, verb="list", resource="secrets", retry_after=1)
    found = ListWatch(cluster, PATH, value, told)
    loop = asyncio.get_running_loop()
    began, task = loop.time(), asyncio.create_task(found.run())
    await eventually(lambda: found.synced)
    assert loop.time() - began >= 1.0
    task.cancel()


async def test_watches_that_end_at_once_are_not_asked_for_without_pause(
    api: ApiServer, watch: ListWatch[str]
) -> None:
    """As behind a proxy that cuts them."""
    for _ in range(3):
        await eventually(lambda: api.faults.watches)
        api.faults.cut_watches(cleanly=True)
        await eventually(lambda: watch._failures)
    assert watch.problem == "watches end as soon as they have begun"


async def test_what_may_not_be_listed_is_told_in_the_servers_words(
    api: ApiServer, cluster: Cluster, told: Told
) -> None:
    """It may be allowed later."""
    api.faults.answer(403, times=2, verb="list", resource="secrets")
    found = ListWatch(cluster, PATH, value, told)
    task = asyncio.create_task(found.run())
    await eventually(lambda: found.problem)
    assert repr(found).startswith(f"<ListWatch {PATH} not listed yet, failing: ")
    await eventually(lambda: found.synced)
    task.cancel()


async def test_a_server_whose_watches_are_always_too_old_is_not_asked_without_pause(
    api: ApiServer, watch: ListWatch[str]
) -> None:
    """A list that succeeds does not make the next watch a new trouble."""
    api.faults.answer(410, times=100_000, verb="watch", resource="secrets")
    api.faults.cut_watches()
    await eventually(lambda: watch._failures > 3)
    api.faults.clear()
    await api.apply(secret("a", "2"))
    await eventually(lambda: watch.items["a"] == "2")


async def test_a_version_that_no_watch_takes_any_more_is_listed_anew(
    api: ApiServer, watch: ListWatch[str], caplog: pytest.LogCaptureFixture
) -> None:
    """As when another server took the place of the one that gave it, and says so with some other refusal than 410."""
    api.faults.answer(504, times=100_000, verb="watch", resource="secrets")
    api.faults.cut_watches()
    await api.apply(secret("a", "2"))
    await eventually(lambda: watch.items["a"] == "2")
    await api.apply(secret("a", "3"))
    await eventually(lambda: watch.items["a"] == "3")
    assert watch.problem
    warned = [record.message for record in caplog.records if "did not complete" in record.message]
    assert len(warned) == 1
    api.faults.clear()
    await eventually(lambda: api.faults.watches)
    await api.apply(secret("a", "4"))
    await eventually(lambda: watch.items["a"] == "4" and not watch.problem)


async def test_an_object_that_cannot_be_read_stays_as_it_was_and_keeps_no_other_back(
    api: ApiServer, watch: ListWatch[str], caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and taken up again once it can be read."""

    def reading(item: Json) -> str:
        return str(int(value(item)))

    watch._view = reading
    await api.apply([secret("a", "x"), secret("b", "2")])
    await eventually(lambda: watch.items == {"a": "1", "b": "2"})
    api.faults.compact()
    api.faults.cut_watches()
    await api.apply([secret("a", "y"), secret("b", "3")])
    await eventually(lambda: watch.items == {"a": "1", "b": "3"})
    await api.apply(secret("a", "4"))
    await eventually(lambda: watch.items == {"a": "4", "b": "3"})
    said = [record.message for record in caplog.records if "cannot be read" in record.message]
    assert len(said) == 1
    assert said[0].startswith(f"{PATH}/a cannot be read, and is taken to be what it was: ValueError")


@pytest.mark.parametrize("answer", ["{}", '{"kind": "Status", "status": "Success"}'])
async def test_an_answer_that_is_no_list_loses_nothing(
    cluster: Cluster, told: Told, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """It does not say that nothing is there."""
    monkeypatch.setattr(cluster, "read", AsyncMock(return_value=answer))
    found = ListWatch(cluster, PATH, value, told)
    found.items = {"a": "1"}
    with pytest.raises(Unreachable, match="not a list"):
        await found._list()
    assert found.items == {"a": "1"}


async def test_labels_narrow_what_is_copied_of_all_namespaces(
    api: ApiServer, cluster: Cluster, told: Told
) -> None:
    """By list and by watch; names are then those that the key makes."""
    labelled = secret("a", "1")
    labelled["metadata"]["labels"] = {"team": "blue"}
    await api.apply([labelled, secret("b", "1")])

    def key(item: Json) -> str:
        return "{namespace}/{name}".format(**item["metadata"])

    found = ListWatch(cluster, "/api/v1/secrets", value, told, selector="team=blue", key=key)
    task = asyncio.create_task(found.run())
    await eventually(lambda: found.synced)
    assert found.items == {"models/a": "1"}
    other = secret("c", "2")
    other["metadata"]["labels"] = {"team": "blue"}
    await api.apply([secret("d", "2"), other])
    await eventually(lambda: "models/c" in found.items)
    assert set(found.items) == {"models/a", "models/c"}
    task.cancel()
