"""Where the behaviours are shown: in the emulation (`make test-cluster`), and in the cluster that KUBECONFIG names, if it names one.

With KUBECONFIG nothing may be skipped: a cluster that cannot be used is a failure.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cluster.installation import Installation
from tests.kube.apiserver import ApiServer
from tests.kube.kubelet import Kubelet
from tests.kube.nodeapi import Api, access_of

KUBECONFIG = os.environ.get("KUBECONFIG", "")
EMULATED = os.environ.get("TIDEGATE_TEST_CLUSTER", "")


@pytest.fixture(params=["emulated", "real"])
async def installation(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Installation]:
    async with AsyncExitStack() as stack:
        if request.param == "real":
            if not KUBECONFIG:
                pytest.skip("KUBECONFIG names no cluster")
            kubeconfig = Path(KUBECONFIG)
        else:
            if not (EMULATED or KUBECONFIG):
                pytest.skip("minutes of real processes: `make test-cluster` runs them")
            server = await stack.enter_async_context(ApiServer.running())
            await stack.enter_async_context(
                Kubelet.running(server.url, server.admin_token, folder=tmp_path / "node")
            )
            kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
        api = Api(access_of(kubeconfig))
        stack.push_async_callback(api.close)
        yield await stack.enter_async_context(Installation.running(api, kubeconfig))


@pytest.fixture
def away(request: pytest.FixtureRequest) -> float:
    """Seconds for which the API server is gone: a minute, but for the emulation's everyday run."""
    real = "real" in request.node.callspec.params.values()
    return 60.0 if real else float(os.environ.get("TIDEGATE_TEST_AWAY", "8"))
