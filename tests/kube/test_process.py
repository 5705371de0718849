"""The emulation as a process of its own, as load tests and people by hand use it."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

from kubernetes_asyncio import client, config

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
