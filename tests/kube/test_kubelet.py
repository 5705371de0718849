"""The node agent against the API server emulation: real requests, real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.eventually import eventually
from tests.kube.apiserver import ApiServer
from tests.kube.kubelet import Kubelet
from tests.kube.nodeapi import Access, Api, access_of
from tests.kube.nodecluster import BARE, Cluster, Object
from tests.kube.podrunner import Pod

SERVE = [sys.executable, "-m", "http.server", "8080", "--bind", "0.0.0.0", "--directory", "/srv"]
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]
FILES: Object = {"name": "files", "configMap": {"name": "files"}}
TOKEN: Object = {
    "name": "files",
    "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]},
}
MOUNT: Object = {"name": "files", "mountPath": "/srv"}
BACKOFF = 0.4


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with ApiServer.running() as server:
        admin = Api(Access(server.url, server.admin_token))
        async with Kubelet.running(server.url, server.admin_token, backoff=BACKOFF) as node:
            yield Cluster(server, node, admin)
        await admin.close()


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def file(pod: Pod, name: str) -> Callable[[], str | None]:
    path = pod.folder / "volumes" / "files" / name
    return lambda: path.read_text() if path.exists() else None


# The Node


async def test_the_node_is_ready_and_has_a_lease(cluster: Cluster) -> None:
    """What a scheduler and a node controller look at."""
    node = cluster.server.store.get("nodes", "", cluster.node.name)
    assert {entry["type"]: entry["status"] for entry in node["status"]["conditions"]}["Ready"] == "True"
    assert int(node["status"]["allocatable"]["pods"]) > 1000
    await eventually(lambda: cluster.server.store.find("leases", "kube-node-lease", cluster.node.name))


async def test_the_node_is_removed_at_its_end() -> None:
    """With its processes."""
    async with ApiServer.running() as server:
        admin = Api(Access(server.url, server.admin_token))
        async with Kubelet.running(server.url, server.admin_token) as node:
            pod = await Cluster(server, node, admin).pod(SLEEP)
            await eventually(lambda: pod.pids)
            (pid,) = pod.pids
        assert not runs(pid)
        assert server.store.find("nodes", "", node.name) is None
        assert not node.folder.exists()
        await admin.close()


# Running


async def test_a_pod_serves_at_an_address_of_its_own(cluster: Cluster) -> None:
    """Two pods listen on the same port; `0.0.0.0` is each one's own address, and a mounted path its own folder."""
    await cluster.config(**{"a.txt": "one"})
    for name in ("p", "q"):
        await cluster.pod(SERVE, name, volumes=[FILES], volumeMounts=[MOUNT], ports=[{"containerPort": 8080}])
        await eventually(lambda name=name: cluster.ready(name))  # type: ignore[misc]
    addresses = {cluster.status(name)["podIP"] for name in ("p", "q")}
    assert len(addresses) == 2
    for address in addresses:
        assert address.startswith("127.")
        assert await answer(f"http://{address}:8080/a.txt") == "one"


async def answer(url: str) -> str:
    """Once somebody listens: without a probe a pod is ready before it does."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        while True:
            try:
                async with session.get(url) as response:
                    return await response.text()
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)


async def test_the_status_is_complete(cluster: Cluster) -> None:
    """All that others read of a running pod."""
    await cluster.pod(SLEEP)
    await eventually(cluster.ready)
    status = cluster.status()
    assert status["phase"] == "Running"
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["startTime"].endswith("Z")
    kinds = {entry["type"] for entry in status["conditions"] if entry["lastTransitionTime"]}
    assert kinds == {"Initialized", "Ready", "ContainersReady", "PodScheduled"}
    main = cluster.main()
    assert main["ready"]
    assert main["started"]
    assert main["restartCount"] == 0
    assert main["containerID"].startswith("process://")
    assert "startedAt" in main["state"]["running"]


async def test_variables_reach_the_process(cluster: Cluster) -> None:
    """From the pod's own fields and a ConfigMap; the agent's own are not handed on but for a few."""
    await cluster.config(word="hello")
    show = "import os; print(os.environ['IP'], os.environ['WORD'], 'PYTEST_CURRENT_TEST' in os.environ)"
    env = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "WORD", "valueFrom": {"configMapKeyRef": {"name": "files", "key": "word"}}},
    ]
    pod = await cluster.pod([sys.executable, "-c", show], env=env, restartPolicy="Never")
    await eventually(lambda: cluster.status()["phase"] == "Succeeded")
    assert pod.log("main").read_text() == f"{pod.address} hello False\n"


async def test_a_changed_config_map_reaches_the_files(cluster: Cluster) -> None:
    """Within a moment, by its watch."""
    await cluster.config(**{"a.txt": "one"})
    pod = await cluster.pod(SLEEP, volumes=[FILES], volumeMounts=[MOUNT])
    await eventually(lambda: file(pod, "a.txt")() == "one")
    await cluster.config(**{"a.txt": "two"})
    await eventually(lambda: file(pod, "a.txt")() == "two")


async def test_a_pod_waits_for_the_config_map_of_its_volume(cluster: Cluster) -> None:
    """ContainerCreating until then."""
    await cluster.pod(SLEEP, volumes=[FILES], volumeMounts=[MOUNT])
    await eventually(lambda: cluster.reason() == "ContainerCreating")
    await cluster.config(**{"a.txt": "one"})
    await eventually(cluster.ready)


async def test_a_projected_token_is_the_service_accounts(cluster: Cluster) -> None:
    """By TokenRequest, as in-cluster clients have it."""
    pod = await cluster.pod(SLEEP, volumes=[TOKEN], volumeMounts=[MOUNT])
    await eventually(cluster.ready)
    token = file(pod, "token")()
    assert cluster.server.tokens.user(f"Bearer {token}").name == "system:serviceaccount:default:default"


# Readiness and liveness


async def test_a_pod_is_ready_once_its_probe_succeeds(cluster: Cluster) -> None:
    """And not again when it fails."""
    await cluster.config(other="")
    port: Object = {"name": "web", "containerPort": 8080}
    probe = {"httpGet": {"path": "/ready", "port": "web"}, "periodSeconds": 0.1, "failureThreshold": 1}
    await cluster.pod(SERVE, volumes=[FILES], volumeMounts=[MOUNT], ports=[port], readinessProbe=probe)
    await eventually(lambda: cluster.main()["state"].get("running"))
    assert not cluster.ready()
    await cluster.config(ready="")
    await eventually(cluster.ready)
    await cluster.admin.patch("/api/v1/namespaces/default/configmaps/files", {"data": {"ready": None}})
    await eventually(lambda: not cluster.ready())


async def test_a_tcp_probe_succeeds_once_somebody_listens(cluster: Cluster) -> None:
    """Whatever is said there."""
    await cluster.config()
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 0.1}
    await cluster.pod(SERVE, volumes=[FILES], volumeMounts=[MOUNT], readinessProbe=probe)
    await eventually(cluster.ready)


async def test_a_failed_liveness_probe_restarts(cluster: Cluster) -> None:
    """As a death of the container's own would."""
    probe = {"tcpSocket": {"port": 9}, "periodSeconds": 0.1, "failureThreshold": 2}
    await cluster.pod(SLEEP, livenessProbe=probe)
    await eventually(lambda: cluster.main().get("restartCount", 0) >= 1)
    assert cluster.main()["lastState"]["terminated"]["exitCode"] == 143


# What goes wrong


async def test_a_killed_container_starts_again(cluster: Cluster) -> None:
    """At once the first time; after that with a back-off that is told."""
    pod = await cluster.pod(SLEEP)
    await eventually(cluster.ready)
    cluster.node.signal(pod.uid, signal.SIGKILL)
    await eventually(lambda: cluster.main()["restartCount"] == 1 and cluster.ready())
    assert cluster.main()["lastState"]["terminated"]["exitCode"] == 137
    cluster.node.signal(pod.uid, signal.SIGKILL)
    await eventually(lambda: cluster.reason() == "CrashLoopBackOff")
    message = cluster.main()["state"]["waiting"]["message"]
    assert message == f"back-off 400ms restarting failed container=main pod=p_default({pod.uid})"
    assert not cluster.ready()
    await eventually(lambda: cluster.main()["restartCount"] == 2 and cluster.ready())


async def test_a_missing_image_is_told(cluster: Cluster) -> None:
    """First the error, then the back-off."""
    await cluster.pod(SLEEP, image="missing/x:1")
    reasons: list[str | None] = []

    def backed_off() -> bool:
        reasons.append(cluster.reason())
        return reasons[-1] == "ImagePullBackOff"

    await eventually(backed_off)
    assert "ErrImagePull" in reasons
    assert cluster.main()["state"]["waiting"]["message"] == 'Back-off pulling image "missing/x:1"'
    assert cluster.status()["phase"] == "Pending"


async def test_a_missing_key_holds_a_container_until_it_is_there(cluster: Cluster) -> None:
    """CreateContainerConfigError with what is missing."""
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "files", "key": "a"}}}]
    await cluster.pod(SLEEP, env=env)
    await eventually(lambda: cluster.reason() == "CreateContainerConfigError")
    assert cluster.main()["state"]["waiting"]["message"] == 'configmap "files" not found'
    await cluster.config(a="1")
    await eventually(cluster.ready)


async def test_a_command_that_does_not_exist_is_a_failed_start(cluster: Cluster) -> None:
    """128, and a crash loop from then on."""
    await cluster.pod(["/nowhere/server"])
    await eventually(lambda: cluster.reason() == "CrashLoopBackOff")
    assert cluster.main()["lastState"]["terminated"]["reason"] == "StartError"


async def test_pods_go_on_while_the_api_server_is_away(cluster: Cluster) -> None:
    """They restart without it, and it is told when it is back."""
    pod = await cluster.pod(SLEEP)
    await eventually(cluster.ready)
    await cluster.server.faults.away()
    (before,) = pod.pids
    pod.signal(signal.SIGKILL)
    await eventually(lambda: pod.pids not in ([], [before]))
    await cluster.server.faults.back()
    await eventually(lambda: cluster.main()["restartCount"] == 1 and cluster.ready())


# The end


async def test_a_deleted_pod_ends_and_its_object_goes(cluster: Cluster) -> None:
    """SIGTERM, and the node agrees to the deletion when all is over."""
    pod = await cluster.pod(SLEEP)
    await eventually(cluster.ready)
    (pid,) = pod.pids
    await cluster.admin.delete("/api/v1/namespaces/default/pods/p")
    await eventually(cluster.gone)
    assert not runs(pid)
    await eventually(lambda: not cluster.node.pods)
    assert not pod.folder.exists()


async def test_a_pod_that_ends_is_unready_at_once_and_is_killed_after_its_grace(cluster: Cluster) -> None:
    """A process that ignores SIGTERM has its grace period and no more."""
    pod = await cluster.pod(STUBBORN)
    await eventually(cluster.ready)
    (pid,) = pod.pids
    await asyncio.sleep(0.3)  # until it ignores the signal
    await cluster.admin.delete("/api/v1/namespaces/default/pods/p", gracePeriodSeconds="1")
    await eventually(lambda: not cluster.ready())
    assert runs(pid)
    await eventually(cluster.gone)
    assert not runs(pid)


async def test_a_pod_whose_object_is_taken_away_ends_too(cluster: Cluster) -> None:
    """A forced deletion asks no node."""
    pod = await cluster.pod(SLEEP)
    await eventually(cluster.ready)
    (pid,) = pod.pids
    await cluster.admin.delete("/api/v1/namespaces/default/pods/p", gracePeriodSeconds="0")
    await eventually(lambda: not runs(pid))


@pytest.mark.parametrize("turns", range(5))
async def test_a_pod_ends_although_its_files_change_meanwhile(cluster: Cluster, turns: int) -> None:
    """As when a namespace is deleted: both changes come within a few turns of the loop."""
    pod = await cluster.pod(SLEEP, volumes=[TOKEN], volumeMounts=[MOUNT])
    await eventually(cluster.ready)
    metadata = {**pod.object["metadata"], "deletionTimestamp": "now", "deletionGracePeriodSeconds": 30}
    pod.update({**pod.object, "metadata": metadata})
    for _ in range(turns):
        await asyncio.sleep(0)
    pod._stale.set()
    await eventually(cluster.gone)


async def test_a_pod_of_the_same_name_is_another_pod(cluster: Cluster) -> None:
    """As a StatefulSet makes them."""
    first = await cluster.pod(SLEEP)
    await cluster.admin.delete("/api/v1/namespaces/default/pods/p")
    await eventually(cluster.gone)
    second = await cluster.pod(SLEEP)
    await eventually(cluster.ready)
    assert second.uid != first.uid
    assert cluster.status()["podIP"] == second.address != first.address


async def test_processes_die_with_an_agent_that_is_killed(tmp_path: Path) -> None:
    """Run as a program of its own, from a kubeconfig."""
    async with ApiServer.running() as server:
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
        argv = ["-m", "tests.kube.kubelet", "--kubeconfig", str(kubeconfig), "--name", "n", "--folder"]
        agent = await asyncio.create_subprocess_exec(sys.executable, *argv, str(tmp_path / "node"))
        try:
            await eventually(lambda: server.store.find("nodes", "", "n"))
            await create_sleeper(Api(access_of(kubeconfig)))
            await eventually(lambda: sleepers(agent.pid))
            (child,) = sleepers(agent.pid)
        finally:
            os.kill(agent.pid, signal.SIGKILL)
            await agent.wait()
        await eventually(lambda: not runs(child))


async def create_sleeper(admin: Api) -> None:
    main = {"name": "main", "image": "python:3", "command": SLEEP}
    meta = {"name": "p", "namespace": "default"}
    spec = {**BARE, "nodeName": "n", "containers": [main]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
    await admin.post("/api/v1/namespaces/default/pods", body)
    await admin.close()


def sleepers(agent: int) -> list[int]:
    """The pods' processes of an agent, once they are what they are to be."""
    return [child.pid for child in psutil.Process(agent).children() if command(child) == SLEEP]


def command(process: psutil.Process) -> list[str]:
    """None of one that has ended, since it was seen or before that."""
    try:
        found: list[str] = process.cmdline()
    except psutil.NoSuchProcess:
        return []
    return found
