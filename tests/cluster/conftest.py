"""Where the behaviours are shown: in the emulation (`make test-cluster`), and in the cluster that KUBECONFIG names, if it names one.

With KUBECONFIG nothing may be skipped: a cluster that cannot be used is a failure.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest

from tests.cluster.emulation import Emulation
from tests.cluster.installation import Installation
from tests.kube.nodeapi import Api, access_of

KUBECONFIG = os.environ.get("KUBECONFIG", "")
EMULATED = os.environ.get("TIDEGATE_TEST_CLUSTER", "")


@pytest.fixture
async def emulation(tmp_path: Path) -> AsyncIterator[Emulation]:
    """Tidegate in the emulation, with what a test may break there."""
    async with _emulated(tmp_path) as made:
        yield made


@pytest.fixture(params=["emulated", "real"])
async def installation(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Installation]:
    async with AsyncExitStack() as stack:
        if request.param == "emulated":
            yield (await stack.enter_async_context(_emulated(tmp_path))).installation
            return
        if not KUBECONFIG:
            pytest.skip("KUBECONFIG names no cluster")
        api = Api(access_of(Path(KUBECONFIG)))
        stack.push_async_callback(api.close)
        yield await stack.enter_async_context(Installation.running(api, Path(KUBECONFIG)))


def _emulated(folder: Path) -> AbstractAsyncContextManager[Emulation]:
    if not (EMULATED or KUBECONFIG):
        pytest.skip("minutes of real processes: `make test-cluster` runs them")
    return Emulation.running(folder)


@pytest.fixture
def away(request: pytest.FixtureRequest) -> float:
    """Seconds for which the API server is gone: a minute, but for the emulation's everyday run."""
    return 60.0 if "[real]" in request.node.name else float(os.environ.get("TIDEGATE_TEST_AWAY", "8"))
