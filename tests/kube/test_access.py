"""Who may do what: tokens, roles, and the record of what was allowed."""

from __future__ import annotations

import aiohttp
from kubernetes_asyncio import client

from tests.kube.apiserver import ApiServer, Recorded
from tests.kube.objects import config_map, deployment, pod
from tests.kube.plain import MAPS, MERGE, PODS, Plain, read

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


async def test_nobody_gets_nothing(api: ApiServer) -> None:
    """No token is 403, a wrong one 401; the version is for all."""
    async with aiohttp.ClientSession() as session:
        codes = []
        for path, headers in ((PODS, {}), (PODS, {"Authorization": "Bearer x.y.z"}), ("/version", {})):
            async with session.get(api.url + path, headers=headers) as response:
                codes.append(response.status)
    assert codes == [403, 401, 200]


async def test_a_service_account_may_what_its_roles_say(api: ApiServer, plain: Plain) -> None:
    """And what it was allowed is recorded, and what not, in the words of a role."""
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
    assert api.refusals == [
        Recorded(READER, "get", "", "configmaps", "default", "other"),
        Recorded(READER, "list", "", "configmaps", "default", ""),
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


async def test_a_token_ends_with_its_time(api: ApiServer) -> None:
    """And all of them once they are revoked."""
    await api.apply(ROLES)
    assert await _status(api, api.token(READER)) == 403
    assert await _status(api, api.token(READER, seconds=-1)) == 401
    token = api.token(READER)
    api.tokens.revoke()
    assert await _status(api, token) == 401


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
