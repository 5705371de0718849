"""The emulation over HTTP, judged by kubernetes_asyncio, and by plain requests where a client hides what is on the wire."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes_asyncio import client, config
from kubernetes_asyncio.client import ApiException
from kubernetes_asyncio.dynamic import DynamicClient

from tests.eventually import eventually
from tests.kube.apiserver import ApiServer
from tests.kube.objects import config_map, deployment, pod
from tests.kube.plain import MAPS, MERGE, PODS, Plain, read

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
SCALED = "/apis/apps/v1/namespaces/default/deployments/web/scale"


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


async def test_a_uid_holds_a_write_to_one_object(api: ApiServer, plain: Plain) -> None:
    """Of a PUT it is a precondition; of a PATCH a field that never changes. A missing object is missing, whatever the uid."""
    [record] = await api.apply(config_map("a"))
    meta = {"name": "a", "namespace": "default", "uid": "another"}
    put, conflict = await plain.ask("PUT", f"{MAPS}/a", {"metadata": meta})
    patched, invalid = await plain.ask("PATCH", f"{MAPS}/a", {"metadata": {"uid": "another"}}, MERGE)
    assert (put, conflict["reason"], patched) == (409, "Conflict", 422)
    assert invalid["message"] == (
        'ConfigMap "a" is invalid: metadata.uid: Invalid value: "another": field is immutable'
    )
    own = {"metadata": {"uid": record.obj["metadata"]["uid"], "labels": {"a": "b"}}}
    assert (await plain.ask("PATCH", f"{MAPS}/a", own, MERGE))[0] == 200
    assert (await plain.ask("PATCH", f"{MAPS}/b", own, MERGE))[0] == 404


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


async def test_what_nobody_thought_of_is_an_internal_error(
    plain: Plain, caplog: pytest.LogCaptureFixture
) -> None:
    """With a Status as well, and in the log."""
    status, body = await plain.ask(
        "POST", "/apis/apps/v1/namespaces/default/deployments", {"metadata": {"name": "a"}, "spec": 1}
    )
    assert (status, body["reason"]) == (500, "InternalError")
    assert "could not answer POST" in caplog.text


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


async def test_a_status_comes_by_its_subresource_or_by_apply(api: ApiServer, plain: Plain) -> None:
    """As from a real server, a POST leaves it out."""
    await api.apply(WIDGETS)
    path, status = "/apis/example.com/v1/namespaces/default/widgets", {"size": 3}
    _, posted = await plain.ask("POST", path, {**WIDGET, "status": status})
    _, patched = await plain.ask("PATCH", f"{path}/w/status", {"status": status}, MERGE)
    [applied] = await api.apply({**WIDGET, "status": {"size": 4}})
    assert ("status" in posted, patched["status"], applied.obj["status"]) == (False, status, {"size": 4})


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
