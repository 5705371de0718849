"""The emulation as a process of its own, as load tests and people by hand use it."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import TYPE_CHECKING

import yaml
from kubernetes_asyncio import client, config

from tests.eventually import eventually
from tests.kube.objects import deployment

if TYPE_CHECKING:
    from pathlib import Path


async def test_it_serves_by_its_kubeconfig(tmp_path: Path) -> None:
    """A Deployment gets its pods there, and SIGTERM ends it."""
    kubeconfig = tmp_path / "config"
    arguments = ("-m", "tests.kube.apiserver", "--kubeconfig", str(kubeconfig), "--simulate", "0.01", "--tls")
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert (await process.stdout.readline()).startswith(b"serving at https://127.0.0.1:")
        configuration = client.Configuration()
        await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        async with client.ApiClient(configuration) as kube:
            apps = client.AppsV1Api(kube)
            await apps.create_namespaced_deployment("default", deployment("web", 2))
            async with asyncio.timeout(15):
                while (
                    await apps.read_namespaced_deployment_status("web", "default")
                ).status.ready_replicas != 2:
                    await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_its_faults_are_signals(tmp_path: Path) -> None:
    """SIGUSR1 has it away, the next one back; SIGUSR2 leaves it as it is for those who do not watch."""
    kubeconfig = tmp_path / "config"
    arguments = ("-m", "tests.kube.apiserver", "--kubeconfig", str(kubeconfig))
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        address = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        port = int(address.rpartition(":")[2])
        for expected in (False, True):
            process.send_signal(signal.SIGUSR1)
            await eventually(lambda expected=expected: accepts(port) is expected)  # type: ignore[misc]
        process.send_signal(signal.SIGUSR2)
        await asyncio.sleep(0)
        assert accepts(port)
    finally:
        process.kill()
        await process.wait()


def accepts(port: int) -> bool:
    with socket.socket() as tried:
        tried.settimeout(5)
        return tried.connect_ex(("127.0.0.1", port)) == 0
