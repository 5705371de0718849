"""One API server over real sockets: credentials, refusals, and what cannot be reached."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import ConfigException

from gateway.kube import client
from gateway.kube.client import ApiError, Cluster, NoClusterError, Unreachable
from tests.kube.apiserver import ApiServer

PODS = "/api/v1/namespaces/models/pods"


def config_map(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}}


async def test_objects_are_made_read_changed_and_replaced(cluster: Cluster) -> None:
    """As plain JSON, in the namespace that the kubeconfig names."""
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps"
    await cluster.create(path, config_map("one"))
    assert (await cluster.patch(f"{path}/one", {"data": {"b": "2"}}))["data"] == {"a": "1", "b": "2"}
    found = await cluster.get(f"{path}/one")
    assert (await cluster.replace(f"{path}/one", {**found, "data": {}}))["data"] == {}
    assert path == "/api/v1/namespaces/models/configmaps"
    assert repr(cluster) == f"<Cluster {cluster.url} namespace=models>"


async def test_a_refusal_keeps_the_servers_words(cluster: Cluster) -> None:
    """Its code, its reason, its message."""
    with pytest.raises(ApiError) as refused:
        await cluster.get(f"{PODS}/none")
    assert (refused.value.status, refused.value.reason) == (404, "NotFound")
    assert str(refused.value) == 'pods "none" not found'


async def test_a_server_that_is_busy_says_for_how_long(api: ApiServer, cluster: Cluster) -> None:
    """In whole seconds."""
    api.faults.answer(429, times=1, verb="list", resource="pods", retry_after=3)
    with pytest.raises(ApiError) as refused:
        await cluster.get(PODS)
    assert refused.value.retry_after == 3.0


async def test_a_server_that_is_away_is_unreachable(api: ApiServer, cluster: Cluster) -> None:
    """And is reached again once it is back."""
    await api.faults.away()
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        await cluster.get(PODS)
    await api.faults.back()
    assert (await cluster.get(PODS))["items"] == []


async def test_an_answer_that_does_not_come_is_not_waited_for(api: ApiServer, cluster: Cluster) -> None:
    """Whether anything was done is not known."""
    api.faults.delay(60.0, times=1, verb="list", resource="pods")
    with pytest.raises(Unreachable, match=r"did not answer within 0\.1 s"):
        await cluster.get(PODS, timeout=0.1)


async def test_a_write_that_is_held_up_is_given_up_by_the_server_too(
    api: ApiServer, cluster: Cluster
) -> None:
    """Also when the client hangs and cannot close its connection."""
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps"
    api.faults.delay(0.5, times=1, verb="create", resource="configmaps")
    async with cluster._session.post(
        f"{cluster.url}{path}",
        params=client._within(0.1),
        json=config_map("late"),
        headers={"Authorization": f"Bearer {api.admin_token}"},
    ) as answer:
        assert answer.status == 504
    assert api.store.find("configmaps", cluster.namespace, "late") is None


async def test_a_token_that_was_replaced_costs_nobody_anything(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read again when the server refuses what was in it."""
    path = api.kubeconfig(tmp_path / "config")
    document = yaml.safe_load(path.read_text())
    good, token = document["users"][0]["user"]["token"], tmp_path / "token"
    token.write_text("expired")
    document["users"][0]["user"] = {"tokenFile": str(token)}
    path.write_text(yaml.safe_dump(document))
    monkeypatch.setenv("KUBECONFIG", str(path))
    cluster = await Cluster.connect()
    with pytest.raises(ApiError) as refused:
        await cluster.get(PODS)
    assert refused.value.status == 401
    token.write_text(good)
    answers = await asyncio.gather(*(cluster.get(PODS) for _ in range(3)))
    assert [answer["items"] for answer in answers] == [[], [], []]
    await cluster.close()


async def test_credentials_that_went_bad_leave_the_old_ones(
    api: ApiServer, cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is being written may be half of one."""
    api.faults.answer(401, times=1, verb="list", resource="pods")
    (tmp_path / "config").write_text("apiVersion: v1\n")
    assert (await cluster.get(PODS))["items"] == []
    assert "the cluster's credentials cannot be read again, the old ones are used" in caplog.text


async def test_tls_is_verified_by_the_kubeconfigs_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the server is not trusted."""
    async with ApiServer.running(tls=True) as api:
        path = api.kubeconfig(tmp_path / "config")
        monkeypatch.setenv("KUBECONFIG", str(path))
        cluster = await Cluster.connect()
        assert (await cluster.get(PODS))["items"] == []
        await cluster.close()
        document = yaml.safe_load(path.read_text())
        del document["clusters"][0]["cluster"]["certificate-authority-data"]
        path.write_text(yaml.safe_dump(document))
        cluster = await Cluster.connect()
        with pytest.raises(Unreachable, match="certificate"):
            await cluster.get(PODS)
        document["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
        path.write_text(yaml.safe_dump(document))
        cluster2 = await Cluster.connect()
        assert (await cluster2.get(PODS))["items"] == []
        await cluster.close()
        await cluster2.close()


async def test_without_credentials_the_person_is_told_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside of a cluster, and without a kubeconfig."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        NoClusterError, match=r"[a-z]\. Outside of a cluster, name a kubeconfig in KUBECONFIG"
    ):
        await Cluster.connect()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(NoClusterError, match="from KUBECONFIG"):
        await Cluster.connect()


KUBECONFIG = """
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: 'https://127.0.0.1:9', %s}}]
users: [{name: u, user: %s}]
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "it is no kubeconfig: while parsing"),
        ("", "it is no kubeconfig"),
        ("\x00", "it is no kubeconfig"),
        (KUBECONFIG % ("insecure-skip-tls-verify: true", "secret"), "it is no kubeconfig"),
        (KUBECONFIG % ("certificate-authority-data: bm9wZQ==", "{}"), "its certificates cannot be used"),
        (
            KUBECONFIG
            % (
                "insecure-skip-tls-verify: true",
                "{client-certificate-data: bm9wZQ==, client-key-data: bm9wZQ==}",
            ),
            "its certificates cannot be used",
        ),
    ],
)
async def test_credentials_that_cannot_be_used_are_told_and_leave_those_in_use(
    api: ApiServer, cluster: Cluster, caplog: pytest.LogCaptureFixture, text: str, words: str
) -> None:
    """At the start, and when they are read again."""
    Path(os.environ["KUBECONFIG"]).write_text(text)
    with pytest.raises(NoClusterError, match=words):
        await Cluster.connect()
    api.faults.answer(401, times=1, verb="list", resource="pods")
    assert (await cluster.get(PODS))["items"] == []
    assert words in caplog.text


async def test_a_home_has_a_kubeconfig(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where kubectl looks for it."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    api.kubeconfig(tmp_path / ".kube" / "config")
    cluster = await Cluster.connect()
    assert (cluster.url, cluster.namespace) == (api.url, "default")
    await cluster.close()


async def test_a_pod_has_a_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its namespace comes with it; nothing is asked of the server yet."""
    async with ApiServer.running(tls=True) as api:
        folder = tmp_path / "serviceaccount"
        folder.mkdir()
        for name, text in (("token", api.admin_token), ("ca.crt", api.ca), ("namespace", "tidegate\n")):
            (folder / name).write_text(text)
        monkeypatch.delenv("KUBECONFIG", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", api.url.rpartition(":")[2])
        incluster = "kubernetes_asyncio.config.incluster_config"
        monkeypatch.setattr(f"{incluster}.SERVICE_TOKEN_FILENAME", str(folder / "token"))
        monkeypatch.setattr(f"{incluster}.SERVICE_CERT_FILENAME", str(folder / "ca.crt"))
        monkeypatch.setattr(client, "_OWN_NAMESPACE", folder / "namespace")
        cluster = await Cluster.connect()
        assert (await cluster.get(PODS))["items"] == []
        assert cluster.namespace == "tidegate"
        await cluster.close()


async def test_a_token_that_cannot_be_renewed_is_a_failure_as_any(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file that is empty for a moment: whoever asked tries again."""

    def renew(_configuration: object) -> None:
        raise ConfigException("Token file exists but empty.")

    monkeypatch.setattr(cluster._configuration, "refresh_api_key_hook", renew)
    with pytest.raises(Unreachable, match=r"credentials cannot be renewed: Token file exists but empty\."):
        await cluster.get(PODS)


async def test_a_proxy_is_used_where_it_is_named(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the kubeconfig; its failure is told as one of the way."""
    path = api.kubeconfig(tmp_path / "config")
    document = yaml.safe_load(path.read_text())
    document["clusters"][0]["cluster"]["proxy-url"] = "http://127.0.0.1:9"
    path.write_text(yaml.safe_dump(document))
    monkeypatch.setenv("KUBECONFIG", str(path))
    cluster = await Cluster.connect()
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        await cluster.get(PODS)
    await cluster.close()


JSON = "Content-Type: application/json\r\n"


@asynccontextmanager
async def answering(answer: str) -> AsyncIterator[Cluster]:
    """Whatever listens where an API server should: it answers everything with the same."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head, _, body = answer.partition("\r\n\r\n")
        writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        cluster = Cluster(configuration, "models")
        yield cluster
        await cluster.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            "200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
            "answered 200 with text/html: that is no API server",
        ),
        (
            "302 Found\r\nLocation: https://login\r\n\r\n",
            "answered 302, a redirect to https://login: that is no API",
        ),
        (f"200 OK\r\n{JSON}\r\n[]", "an object was expected, not a list"),
        (f"200 OK\r\n{JSON}\r\n" + "[" * 100_000, "nested too deeply"),
    ],
)
async def test_what_is_no_api_server_is_told_from_one(answer: str, words: str) -> None:
    """As a proxy that wants a login."""
    async with answering(answer) as cluster:
        with pytest.raises(Unreachable, match=words):
            await cluster.get(PODS)


@pytest.mark.parametrize("line", ["null", "{}", '{"type": "ADDED"}', '{"type": "ERROR", "object": null}'])
async def test_what_is_no_event_ends_a_watch(line: str) -> None:
    """As any other interruption."""
    async with answering(f"200 OK\r\n{JSON}\r\n{line}\n") as cluster:
        with pytest.raises(Unreachable, match="not an event"):
            await anext(cluster.watch(PODS, {}, timeout=5.0))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("403 Forbidden\r\nContent-Type: text/html\r\n\r\n<html>no</html>", "403 Forbidden: <html>no</html>"),
        ("502 Bad Gateway\r\n\r\n", "502 Bad Gateway"),
        (f"500 X\r\n{JSON}\r\n[]", r"500 X: \[\]"),
    ],
)
async def test_a_refusal_that_is_no_status_is_told_with_its_code(answer: str, words: str) -> None:
    """A proxy's words alone would not say that it refused anything."""
    async with answering(answer) as cluster:
        with pytest.raises(ApiError, match=f"^{words}$"):
            await cluster.get(PODS)
