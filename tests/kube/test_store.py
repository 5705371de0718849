"""Objects as an API server keeps them: versions, conflicts, deletion and history."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kube import patches
from tests.kube.errors import ApiError
from tests.kube.objects import config_map, deployment, pod
from tests.kube.selectors import LabelSelector
from tests.kube.store import Store


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Store:
    """A store with one namespace and one node, without admission."""
    made = Store(Clock(), random.Random(7), capacity=20)  # noqa: S311 (repeatable)
    made.create("namespaces", {"metadata": {"name": "default"}})
    made.create("nodes", {"metadata": {"name": "node-1"}})
    return made


def test_a_created_object_has_what_the_server_gives_it(store: Store) -> None:
    """uid, creationTimestamp and resourceVersion, and a generation where the kind has one."""
    metadata = store.create("deployments", deployment("web")).obj["metadata"]
    assert metadata["creationTimestamp"] == "2023-11-14T22:13:20Z"
    assert (metadata["resourceVersion"], metadata["generation"], len(metadata["uid"])) == ("3", 1, 36)


def test_a_second_object_of_the_same_name_is_refused(store: Store) -> None:
    """409 AlreadyExists, in the real server's words."""
    store.create("deployments", deployment("web"))
    with pytest.raises(ApiError, match=r'deployments\.apps "web" already exists') as refused:
        store.create("deployments", deployment("web"))
    assert (refused.value.code, refused.value.reason) == (409, "AlreadyExists")


def test_a_stale_resource_version_is_a_conflict(store: Store) -> None:
    """A write on top of another one that its writer has not seen is refused."""
    old = store.create("configmaps", config_map("a")).copy()
    store.change("configmaps", "default", "a", lambda obj: obj.update(data={"x": "1"}))
    with pytest.raises(ApiError, match="the object has been modified") as refused:
        store.replace("configmaps", old)
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")


def test_a_write_that_changes_nothing_is_none(store: Store) -> None:
    """No new version and no event."""
    record = store.create("configmaps", config_map("a"))
    assert store.replace("configmaps", record.copy()) is record
    assert store.rv == record.rv


def test_the_generation_counts_changes_of_the_spec_alone(store: Store) -> None:
    """Labels and status leave it."""
    store.create("deployments", deployment("web"))
    store.change("deployments", "default", "web", lambda obj: obj["metadata"].update(labels={"a": "b"}))
    store.change("deployments", "default", "web", lambda obj: obj.update(status={"replicas": 1}), "status")
    assert store.get("deployments", "default", "web")["metadata"]["generation"] == 1
    record = store.change("deployments", "default", "web", lambda obj: obj["spec"].update(replicas=2))
    assert record.obj["metadata"]["generation"] == 2


def test_a_plain_write_leaves_the_status_and_a_status_write_all_else(store: Store) -> None:
    """Each subresource changes its own part."""
    store.create("deployments", deployment("web"))

    def both(obj: dict[str, Any]) -> None:
        obj["spec"]["replicas"] = 9
        obj["status"] = {"replicas": 9}

    assert store.change("deployments", "default", "web", both).obj["status"] == {}
    store.change("deployments", "default", "web", lambda obj: obj["spec"].update(replicas=1))
    changed = store.change("deployments", "default", "web", both, "status").obj
    assert (changed["spec"]["replicas"], changed["status"]) == (1, {"replicas": 9})


def test_a_pod_that_nobody_runs_goes_at_once(store: Store) -> None:
    """There is no agent that would confirm its end."""
    store.create("pods", pod("a"))
    store.delete("pods", "default", "a")
    assert store.find("pods", "default", "a") is None


def test_a_pod_on_a_node_goes_when_its_agent_says_so(store: Store) -> None:
    """Until then it has a deletionTimestamp at the end of its grace."""
    store.create("pods", pod("a", nodeName="node-1", terminationGracePeriodSeconds=10))
    metadata = store.delete("pods", "default", "a").obj["metadata"]
    assert (metadata["deletionGracePeriodSeconds"], metadata["deletionTimestamp"]) == (
        10,
        "2023-11-14T22:13:30Z",
    )
    store.delete("pods", "default", "a", {"gracePeriodSeconds": 0})
    assert store.find("pods", "default", "a") is None


def test_a_finalizer_holds_an_object_until_it_is_taken_off(store: Store) -> None:
    """The object is marked at once and gone with the last finalizer."""
    held = config_map("a")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    store.create("configmaps", held)
    assert "deletionTimestamp" in store.delete("configmaps", "default", "a").obj["metadata"]
    store.change("configmaps", "default", "a", lambda obj: obj["metadata"].update(finalizers=[]))
    assert store.find("configmaps", "default", "a") is None


def test_what_an_object_owns_goes_after_it(store: Store) -> None:
    """Unless another owner is there, or the dependents are to stay."""
    owners = [store.create("configmaps", config_map(name)).obj["metadata"] for name in ("a", "b")]

    def owned(name: str, *by: dict[str, Any]) -> None:
        dependent = config_map(name)
        references = [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": each["name"], "uid": each["uid"]} for each in by
        ]
        dependent["metadata"]["ownerReferences"] = references
        store.create("configmaps", dependent)

    owned("of-a", owners[0])
    owned("of-both", *owners)
    owned("of-b", owners[1])
    store.delete("configmaps", "default", "a")
    assert sorted(record.key[1] for record in store.records("configmaps")) == ["b", "of-b", "of-both"]
    store.delete("configmaps", "default", "b", {"propagationPolicy": "Orphan"})
    assert sorted(record.key[1] for record in store.records("configmaps")) == ["of-b", "of-both"]


def test_foreground_deletion_waits_for_what_is_owned(store: Store) -> None:
    """The owner goes after its last dependent."""
    owner = store.create("configmaps", config_map("a")).obj["metadata"]
    dependent = pod("p", nodeName="node-1")
    dependent["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": owner["uid"]}
    ]
    store.create("pods", dependent)
    store.delete("configmaps", "default", "a", {"propagationPolicy": "Foreground"})
    assert store.get("configmaps", "default", "a")["metadata"]["finalizers"] == ["foregroundDeletion"]
    store.delete("pods", "default", "p", {"gracePeriodSeconds": 0})
    assert store.find("configmaps", "default", "a") is None


def test_preconditions_are_held(store: Store) -> None:
    """A deletion meant for an object of the same name that is gone is refused."""
    store.create("pods", pod("a"))
    with pytest.raises(ApiError, match="Precondition failed: UID in precondition: other"):
        store.delete("pods", "default", "a", {"preconditions": {"uid": "other"}})


def test_history_is_bounded(store: Store) -> None:
    """A watch from before what is kept has expired; one from after it sees each change once."""
    first = store.create("configmaps", config_map("a")).rv
    for number in range(30):
        store.change(
            "configmaps", "default", "a", lambda obj, number=number: obj.update(data={"n": str(number)})
        )
    table = store.history.table(store.registry.named("configmaps"))
    with pytest.raises(ApiError, match="too old resource version") as refused:
        table.since(first)
    assert (refused.value.code, refused.value.reason) == (410, "Expired")
    assert [event.rv for event in table.since(store.rv - 5)] == list(range(store.rv - 4, store.rv + 1))


def test_a_frozen_history_catches_up(store: Store) -> None:
    """What it held back comes in order."""
    resource = store.registry.named("configmaps")
    seen: list[int] = []
    store.history.subscribe(resource, lambda event: seen.append(event.rv))
    store.history.freeze()
    versions = [store.create("configmaps", config_map(name)).rv for name in "abc"]
    assert (seen, store.history.table(resource).records) == ([], {})
    store.history.thaw()
    assert seen == versions


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("app=web", {"app": "web"}, True),
        ("app == web", {"app": "api"}, False),
        ("app!=web", {}, True),
        ("app in (web, api),tier", {"app": "api", "tier": "1"}, True),
        ("app notin (web,api)", {"app": "web"}, False),
        ("!old", {"old": ""}, False),
    ],
)
def test_label_selectors(text: str, labels: dict[str, str], matches: bool) -> None:
    """Equality and sets, as a query string writes them."""
    assert LabelSelector.parse(text).matches(labels) is matches


@given(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz")),
    st.sampled_from(["a=x", "a in (x,y),b", "!c,a!=x"]),
)
def test_a_selector_means_the_same_once_written_out(labels: dict[str, str], text: str) -> None:
    """`str` of a selector is a selector that chooses alike."""
    selector = LabelSelector.parse(text)
    assert LabelSelector.parse(str(selector)).matches(labels) == selector.matches(labels)


def test_selection_by_index_and_by_looking_at_each_agree(store: Store) -> None:
    """With a namespace the label index is asked; without one, each object."""
    for number in range(12):
        store.create("pods", pod(f"p{number}", {"app": "ab"[number % 2], "n": str(number % 3)}))
    for text in ("app=a", "app=a,n=1", "n in (0,2),app!=b", "app=none"):
        everywhere = {record.key for record in store.records("pods", "", text)}
        assert {record.key for record in store.records("pods", "default", text)} == everywhere


def test_a_strategic_patch_merges_named_lists() -> None:
    """Containers by name and conditions by type; a plain list is replaced."""
    old = {"containers": [{"name": "a", "image": "1"}, {"name": "b"}], "args": ["x"]}
    patch = {"containers": [{"name": "a", "image": "2"}, {"name": "b", "$patch": "delete"}], "args": ["y"]}
    assert patches.strategically_merged(old, patch) == {
        "containers": [{"name": "a", "image": "2"}],
        "args": ["y"],
    }


def test_a_json_patch_applies_whole_or_not_at_all() -> None:
    """A failed test leaves the object as it was."""
    old = {"spec": {"list": [1, 2]}}
    operations = [
        {"op": "add", "path": "/spec/list/-", "value": 3},
        {"op": "replace", "path": "/spec/list/0", "value": 9},
    ]
    assert patches.json_patched(old, operations) == {"spec": {"list": [9, 2, 3]}}
    with pytest.raises(ApiError, match="testing value /spec/list/0 failed"):
        patches.json_patched(old, [*operations, {"op": "test", "path": "/spec/list/0", "value": 1}])
    assert old == {"spec": {"list": [1, 2]}}
