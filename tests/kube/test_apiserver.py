"""The emulation over HTTP, judged by kubernetes_asyncio, and by plain requests where a client hides what is on the wire."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.client import ApiException
from kubernetes_asyncio.dynamic import DynamicClient

from tests.eventually import eventually
from tests.kube.apiserver import ApiServer, Recorded
from tests.kube.objects import config_map, deployment, pod

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  names: {kind: Widget, plural: widgets}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
      subresources:
        status: {}
        scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size, labelSelectorPath: .status.selector}
"""
WIDGET = {
    "apiVersion": "example.com/v1",
    "kind": "Widget",
    "metadata": {"name": "w", "namespace": "default"},
    "spec": {"size": 1, "unknown": {"kept": True}},
}
ROLES = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules:
  - {apiGroups: [""], resources: [configmaps], resourceNames: [mine], verbs: [get, watch]}
  - {apiGroups: [apps], resources: [deployments/scale], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader}]
"""
READER = "system:serviceaccount:default:reader"
SCALED = "/apis/apps/v1/namespaces/default/deployments/web/scale"
MERGE = "application/merge-patch+json"


class Plain:
    """Requests without a client library."""

    def __init__(self, api: ApiServer, session: aiohttp.ClientSession) -> None:
        self._api = api
        self._session = session
        self.user = "admin"

    async def ask(
        self, method: str, path: str, body: Any = None, type_: str = "application/json"
    ) -> tuple[int, Any]:
        async with self._request(method, path, body, type_) as response:
            return response.status, await response.json()

    def watch(self, path: str) -> Any:
        return self._request("GET", f"{path}{'&' if '?' in path else '?'}watch=1", None, "application/json")

    def _request(self, method: str, path: str, body: Any, type_: str) -> Any:
        headers = {"Authorization": f"Bearer {self._api.token(self.user)}", "Content-Type": type_}
        data = None if body is None else json.dumps(body)
        return self._session.request(method, self._api.url + path, data=data, headers=headers)


@pytest.fixture
async def plain(api: ApiServer) -> AsyncIterator[Plain]:
    async with aiohttp.ClientSession() as session:
        yield Plain(api, session)


async def read(response: aiohttp.ClientResponse, count: int) -> list[tuple[str, str]]:
    """The types and names of a watch's next events."""
    events = [json.loads(await response.content.readline()) for _ in range(count)]
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


# Lists


async def test_a_list_by_a_real_client(api: ApiServer, kube: client.ApiClient) -> None:
    """Objects come typed, chosen by label and field."""
    await api.apply([pod("a", {"app": "x"}, nodeName="n"), pod("b", {"app": "x"}), pod("c", {"app": "y"})])
    core = client.CoreV1Api(kube)
    found = await core.list_namespaced_pod(
        "default", label_selector="app in (x)", field_selector="spec.nodeName=n"
    )
    assert [item.metadata.name for item in found.items] == ["a"]
    assert found.metadata.resource_version == str(api.store.rv)


async def test_items_of_a_list_go_without_their_kind(api: ApiServer, plain: Plain) -> None:
    """As from a real server: only the list says it, and only custom resources repeat it."""
    await api.apply(WIDGETS)
    await api.apply([config_map("a"), WIDGET])
    _, maps = await plain.ask("GET", MAPS)
    _, widgets = await plain.ask("GET", "/apis/example.com/v1/namespaces/default/widgets")
    assert (maps["kind"], "kind" in maps["items"][0]) == ("ConfigMapList", False)
    assert (widgets["kind"], widgets["items"][0]["kind"]) == ("WidgetList", "Widget")


async def test_pages_of_a_list_are_of_one_moment(api: ApiServer, kube: client.ApiClient) -> None:
    """What changes between two pages is in neither."""
    await api.apply([pod(f"p{number}") for number in range(5)])
    core = client.CoreV1Api(kube)
    first = await core.list_namespaced_pod("default", limit=2)
    api.store.delete("pods", "default", "p4")
    api.store.create("pods", pod("p2x"))
    rest = await core.list_namespaced_pod("default", limit=5, _continue=first.metadata._continue)
    assert first.metadata.remaining_item_count == 3
    assert [item.metadata.name for item in (*first.items, *rest.items)] == [
        f"p{number}" for number in range(5)
    ]
    assert rest.metadata.resource_version == first.metadata.resource_version


async def test_a_continue_token_expires(api: ApiServer, plain: Plain) -> None:
    """410 with a token by which the rest can be had as it is now."""
    await api.apply([pod(name) for name in "abc"])
    _, first = await plain.ask("GET", f"{PODS}?limit=1")
    api.faults.compact()
    status, body = await plain.ask("GET", f"{PODS}?limit=1&continue={first['metadata']['continue']}")
    assert (status, body["reason"]) == (410, "Expired")
    _, rest = await plain.ask("GET", f"{PODS}?continue={body['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["b", "c"]


@pytest.mark.parametrize(
    "query",
    ["fieldSelector=spec.color=red", "labelSelector=a=b=c", "limit=x", "resourceVersion=x", "continue=x"],
)
async def test_a_list_that_makes_no_sense_is_refused(plain: Plain, query: str) -> None:
    """400 with a Status."""
    status, body = await plain.ask("GET", f"{PODS}?{query}")
    assert (status, body["kind"], body["reason"]) == (400, "Status", "BadRequest")


async def test_a_list_from_the_future_is_not_answered(plain: Plain) -> None:
    """504, and the client is to come again."""
    status, body = await plain.ask("GET", f"{PODS}?resourceVersion=999999")
    assert (status, body["details"]["causes"][0]["reason"]) == (504, "ResourceVersionTooLarge")


# Watches


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


# Writes


async def test_objects_are_made_and_changed_by_a_real_client(api: ApiServer, kube: client.ApiClient) -> None:
    """Create, read, replace, patch and delete a Deployment."""
    apps = client.AppsV1Api(kube)
    await apps.create_namespaced_deployment("default", deployment("web", 0))
    read_ = await apps.read_namespaced_deployment("web", "default")
    read_.spec.replicas = 1
    replaced = await apps.replace_namespaced_deployment("web", "default", read_)
    patched = await apps.patch_namespaced_deployment("web", "default", {"metadata": {"labels": {"a": "b"}}})
    assert (replaced.spec.replicas, patched.metadata.labels, patched.metadata.generation) == (
        1,
        {"a": "b"},
        2,
    )
    deleted = await apps.delete_namespaced_deployment("web", "default")
    assert (deleted.status, deleted.details.name, api.store.find("deployments", "default", "web")) == (
        "Success",
        "web",
        None,
    )


async def test_conflicts_reach_a_real_client(kube: client.ApiClient) -> None:
    """409 with the Status in the body, for a stale PUT as for a stale PATCH."""
    core = client.CoreV1Api(kube)
    made = await core.create_namespaced_config_map("default", config_map("a"))
    await core.patch_namespaced_config_map("a", "default", {"data": {"x": "1"}})
    stale = {"metadata": {"resourceVersion": made.metadata.resource_version}, "data": {"x": "2"}}
    for attempt in (
        core.replace_namespaced_config_map("a", "default", made),
        core.patch_namespaced_config_map("a", "default", stale),
    ):
        with pytest.raises(ApiException) as refused:
            await attempt
        assert (refused.value.status, json.loads(refused.value.body)["reason"]) == (409, "Conflict")


@pytest.mark.parametrize(
    ("type_", "patch"),
    [
        (MERGE, {"data": {"a": None, "b": "2"}}),
        ("application/strategic-merge-patch+json", {"data": {"a": None, "b": "2"}}),
        (
            "application/json-patch+json",
            [{"op": "remove", "path": "/data/a"}, {"op": "add", "path": "/data/b", "value": "2"}],
        ),
    ],
)
async def test_patches_by_their_content_type(api: ApiServer, plain: Plain, type_: str, patch: Any) -> None:
    """Three ways to the same change."""
    await api.apply(config_map("m", a="1"))
    status, body = await plain.ask("PATCH", f"{MAPS}/m", patch, type_)
    assert (status, body["data"]) == (200, {"b": "2"})


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", MAPS, {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}, 400),
        ("POST", MAPS, {"metadata": {"name": "a", "namespace": "other"}}, 400),
        ("POST", MAPS, {"metadata": {"name": "Not_A_Name"}}, 422),
        ("POST", MAPS, {"metadata": {}}, 422),
        ("POST", "/api/v1/namespaces/none/configmaps", {"metadata": {"name": "a"}}, 404),
        ("PUT", f"{MAPS}/a", {"metadata": {"name": "b"}}, 400),
        ("PATCH", f"{MAPS}/a", {}, 415),
        ("DELETE", f"{MAPS}/a", None, 404),
        ("PUT", MAPS, {}, 405),
        ("GET", "/apis/none/v1/things", None, 404),
        ("GET", f"{MAPS}/a/scale", None, 404),
        ("GET", "/nowhere", None, 404),
    ],
)
async def test_what_cannot_be_is_refused(plain: Plain, method: str, path: str, body: Any, code: int) -> None:
    """Each with a Status that says why."""
    status, answer = await plain.ask(method, path, body)
    assert (status, answer["kind"], answer["status"], answer["code"]) == (code, "Status", "Failure", code)


async def test_a_collection_is_deleted_by_selector(api: ApiServer, kube: client.ApiClient) -> None:
    """Only what is selected goes."""
    await api.apply([pod("a", {"app": "x"}), pod("b", {"app": "y"})])
    await client.CoreV1Api(kube).delete_collection_namespaced_pod("default", label_selector="app=x")
    assert [record.key[1] for record in api.store.records("pods")] == ["b"]


async def test_a_pod_is_deleted_with_the_grace_that_is_asked_for(api: ApiServer, plain: Plain) -> None:
    """By query and by body; the pod is answered as it is left."""
    await api.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
    await api.apply(pod("a", nodeName="n"))
    status, body = await plain.ask("DELETE", f"{PODS}/a?gracePeriodSeconds=7")
    assert (status, body["metadata"]["deletionGracePeriodSeconds"]) == (200, 7)
    await plain.ask(
        "DELETE", f"{PODS}/a", {"gracePeriodSeconds": 0, "preconditions": {"uid": body["metadata"]["uid"]}}
    )
    assert api.store.find("pods", "default", "a") is None


async def test_applying_twice_merges(api: ApiServer) -> None:
    """Several documents, in an order in which they can be made."""
    text = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a, namespace: team}\ndata: {since: 2020-01-01}\n---\nkind: Namespace\napiVersion: v1\nmetadata: {name: team}"
    await api.apply(text)
    await api.apply(config_map("a", "team", more="1"))
    assert api.store.get("configmaps", "team", "a")["data"] == {"since": "2020-01-01", "more": "1"}


# Scale


async def test_the_scale_of_a_deployment_by_a_real_client(api: ApiServer, kube: client.ApiClient) -> None:
    """Read, patch under a resourceVersion, and the conflict when it is stale."""
    await api.apply(deployment("web", 0))
    apps = client.AppsV1Api(kube)
    scale = await apps.read_namespaced_deployment_scale("web", "default")
    assert (scale.spec.replicas, scale.status.selector) == (None, "app=web")
    body = {"metadata": {"resourceVersion": scale.metadata.resource_version}, "spec": {"replicas": 2}}
    patched = await apps.patch_namespaced_deployment_scale("web", "default", body)
    assert (patched.spec.replicas, api.store.get("deployments", "default", "web")["spec"]["replicas"]) == (
        2,
        2,
    )
    with pytest.raises(ApiException) as refused:
        await apps.patch_namespaced_deployment_scale("web", "default", body)
    assert refused.value.status == 409


async def test_a_negative_scale_is_invalid(api: ApiServer, plain: Plain) -> None:
    """422."""
    await api.apply(deployment("web", 1))
    status, body = await plain.ask("PATCH", SCALED, {"spec": {"replicas": -1}}, MERGE)
    assert (status, body["reason"]) == (422, "Invalid")


async def test_a_custom_resource_is_served_and_scaled(api: ApiServer, kube: client.ApiClient) -> None:
    """By the paths that its definition names; what nobody knows is kept."""
    await api.apply(WIDGETS)
    custom = client.CustomObjectsApi(kube)
    where = ("example.com", "v1", "default", "widgets")
    made = await custom.create_namespaced_custom_object(*where, WIDGET)
    await custom.patch_namespaced_custom_object_status(
        *where, "w", {"status": {"size": 1, "selector": "app=w"}}, _content_type=MERGE
    )
    scale = await custom.get_namespaced_custom_object_scale(*where, "w")
    assert (made["spec"]["unknown"], scale["spec"], scale["status"]) == (
        {"kept": True},
        {"replicas": 1},
        {"replicas": 1, "selector": "app=w"},
    )
    await custom.patch_namespaced_custom_object_scale(
        *where, "w", {"spec": {"replicas": 4}}, _content_type=MERGE
    )
    assert api.store.get("widgets", "default", "w")["spec"]["size"] == 4


async def test_a_dynamic_client_discovers_what_is_served(api: ApiServer, kube: client.ApiClient) -> None:
    """Also the scale subresource of a custom resource."""
    await api.apply(WIDGETS)
    await api.apply(WIDGET)
    dynamic = await DynamicClient(kube)
    widgets = await dynamic.resources.get(api_version="example.com/v1", kind="Widget")
    assert "scale" in widgets.subresources
    assert (await dynamic.get(widgets, name="w", namespace="default")).spec.size == 1
    assert (await client.VersionApi(kube).get_code()).major == "1"


# Leases


async def test_a_lease_is_held_under_its_version(kube: client.ApiClient) -> None:
    """Of two that renew the same state, one loses; without a version nobody may."""
    leases = client.CoordinationV1Api(kube)
    spec = client.V1LeaseSpec(holder_identity="a", lease_duration_seconds=10, renew_time=datetime.now(UTC))
    body = client.V1Lease(metadata=client.V1ObjectMeta(name="l"), spec=spec)
    mine = await leases.create_namespaced_lease("default", body)
    theirs = await leases.read_namespaced_lease("l", "default")
    mine.spec.lease_transitions = 1
    await leases.replace_namespaced_lease("l", "default", mine)
    theirs.spec.holder_identity = "b"
    codes = []
    for body in (theirs, client.V1Lease(metadata=client.V1ObjectMeta(name="l"), spec=spec)):
        with pytest.raises(ApiException) as refused:
            await leases.replace_namespaced_lease("l", "default", body)
        codes.append(refused.value.status)
    assert codes == [409, 422]


# Who may


async def test_nobody_gets_nothing(api: ApiServer) -> None:
    """No token is 403, a wrong one 401; the version is for all."""
    async with aiohttp.ClientSession() as session:
        codes = []
        for path, headers in ((PODS, {}), (PODS, {"Authorization": "Bearer x.y.z"}), ("/version", {})):
            async with session.get(api.url + path, headers=headers) as response:
                codes.append(response.status)
    assert codes == [403, 401, 200]


async def test_a_service_account_may_what_its_roles_say(api: ApiServer, plain: Plain) -> None:
    """And what it was allowed is recorded, in the words of a role."""
    await api.apply(ROLES)
    await api.apply([config_map("mine"), config_map("other"), deployment("web", 0)])
    plain.user = READER
    asked = [
        await plain.ask("GET", f"{MAPS}/mine"),
        await plain.ask("GET", f"{MAPS}/other"),
        await plain.ask("GET", MAPS),
        await plain.ask("PATCH", SCALED, {"spec": {"replicas": 0}}, MERGE),
        await plain.ask("GET", "/apis/apps/v1"),
    ]
    assert [status for status, _ in asked] == [200, 403, 403, 200, 200]
    words = f'configmaps is forbidden: User "{READER}" cannot list resource "configmaps" in API group "" in the namespace "default"'
    assert (asked[2][1]["message"], asked[2][1]["reason"]) == (words, "Forbidden")
    assert api.requests == [
        Recorded(READER, "get", "", "configmaps", "default", "mine"),
        Recorded(READER, "patch", "apps", "deployments/scale", "default", "web"),
    ]


async def test_a_watch_of_one_name_is_a_watch_of_that_name(api: ApiServer, plain: Plain) -> None:
    """So that resourceNames can allow it."""
    await api.apply(ROLES)
    await api.apply(config_map("mine"))
    plain.user = READER
    async with plain.watch(f"{MAPS}?fieldSelector=metadata.name=mine") as response:
        assert await read(response, 1) == [("ADDED", "mine")]


async def test_tokens_are_given_and_end(api: ApiServer, kube: client.ApiClient, plain: Plain) -> None:
    """By TokenRequest; bound to a pod, one ends with it."""
    await api.apply(ROLES)
    [bound] = await api.apply(pod("a"))
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "a", "uid": bound.obj["metadata"]["uid"]}
    request = {"spec": {"audiences": [], "expirationSeconds": 600, "boundObjectRef": reference}}
    given = await client.CoreV1Api(kube).create_namespaced_service_account_token("reader", "default", request)
    assert api.tokens.user(f"Bearer {given.status.token}").name == READER
    await plain.ask("DELETE", f"{PODS}/a")
    assert (await _status(api, given.status.token)) == 401


async def _status(api: ApiServer, token: str) -> int:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.get(api.url + MAPS) as got,
    ):
        return got.status


async def test_a_review_tells_what_is_allowed(api: ApiServer, kube: client.ApiClient) -> None:
    """SubjectAccessReview, for the admin to ask about others."""
    await api.apply(ROLES)
    attributes = {
        "verb": "patch",
        "group": "apps",
        "resource": "deployments",
        "subresource": "scale",
        "namespace": "default",
    }
    body = {"spec": {"user": READER, "resourceAttributes": attributes}}
    review = client.AuthorizationV1Api(kube).create_subject_access_review
    assert (await review(body)).status.allowed
    assert not (await review({"spec": {**body["spec"], "user": "else"}})).status.allowed


# Life


async def test_tls_by_an_authority_of_its_own(tmp_path: Any) -> None:
    """The kubeconfig names it."""
    async with ApiServer.running(tls=True) as api:
        configuration = client.Configuration()
        await config.load_kube_config(
            str(api.kubeconfig(tmp_path / "config")), client_configuration=configuration
        )
        async with client.ApiClient(configuration) as kube:
            found = await client.CoreV1Api(kube).read_namespaced_config_map("kube-root-ca.crt", "default")
        assert found.data["ca.crt"] == api.ca


async def test_a_pod_gets_a_token_mounted(api: ApiServer) -> None:
    """As the ServiceAccount admission does, unless it is told not to."""
    with_, without = await api.apply([pod("a"), pod("b", automountServiceAccountToken=False)])
    [volume] = with_.obj["spec"]["volumes"]
    [mount] = with_.obj["spec"]["containers"][0]["volumeMounts"]
    assert mount == {
        "name": volume["name"],
        "readOnly": True,
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    }
    assert "volumes" not in without.obj["spec"]


async def test_two_thousand_pods_are_listed_and_watched(api: ApiServer, plain: Plain) -> None:
    """All of them, and one change among them reaches each of twenty watchers."""
    api.controllers.pause()
    await api.apply([pod(f"p{number}", {"app": f"a{number % 500}"}) for number in range(2000)])
    async with asyncio.timeout(10):
        _, found = await plain.ask("GET", PODS)
    assert len(found["items"]) == 2000
    responses = [await plain.watch(f"{PODS}?resourceVersion={api.store.rv}") for _ in range(20)]
    await eventually(lambda: len(api.faults.watches) == 20)
    api.store.change("pods", "default", "p7", lambda obj: obj["metadata"].update(annotations={"x": "y"}))
    assert [await read(response, 1) for response in responses] == [[("MODIFIED", "p7")]] * 20
    for response in responses:
        response.close()
