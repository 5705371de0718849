import asyncio
from pathlib import Path

import pytest

from tests.kube.apiserver import ApiServer
from tests.kube.nodeapi import Access, Api, ApiError, access_of

SECRETS = "/api/v1/namespaces/default/secrets"


def secret(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}


async def test_following_lists_once_more_when_history_is_gone() -> None:
    """Away, changed and compacted meanwhile: the next list has it all."""
    async with ApiServer.running() as server, asyncio.timeout(10):
        api = Api(Access(server.url, server.admin_token))
        following = api.follow(SECRETS)
        assert await anext(following) == ("SYNC", [])
        await server.apply(secret("a"))
        kind, item = await anext(following)
        assert (kind, item["metadata"]["name"]) == ("ADDED", "a")
        await server.faults.away()
        await server.apply(secret("b"))
        server.faults.compact()
        await server.faults.back()
        kind, items = await anext(following)
        assert kind == "SYNC"
        assert {item["metadata"]["name"] for item in items} == {"a", "b"}
        await following.aclose()
        await api.close()


async def test_a_kubeconfig_names_server_token_and_authority(tmp_path: Path) -> None:
    """Over TLS with an authority of the cluster's own."""
    async with ApiServer.running(tls=True) as server:
        api = Api(access_of(server.kubeconfig(tmp_path / "kubeconfig")))
        assert (await api.get(SECRETS))["items"] == []
        await api.close()


async def test_a_refusal_says_what_the_server_said() -> None:
    """With its status."""
    async with ApiServer.running() as server:
        api = Api(Access(server.url, server.admin_token))
        with pytest.raises(ApiError, match='404: secrets "a" not found'):
            await api.get(f"{SECRETS}/a")
        await api.close()
