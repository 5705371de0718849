"""What service accounts have to fetch models with, as the API server tells it: asked for when needed, and kept for half a minute.

Secrets are not watched, and nothing of their values is kept: `secret_of` drops them. What may not be read, or is not there, is a `problem` of the answer and
holds nothing up; what fails otherwise is a ClusterError, so that no pods are made without what they need. Neighbours: `controller`.
"""

import asyncio
from collections.abc import Iterable

from autoscaler.cluster.inference.kinds import Kind, Object
from autoscaler.inference.credentials import account_annotations, secret_names, secret_of
from autoscaler.inference.shapes import Credentials, Use
from gateway.kube.client import ApiError, Cluster

KEPT = 30.0
"""Seconds."""
_ACCOUNTS = Kind("v1", "ServiceAccount", "serviceaccounts")
_SECRETS = Kind("v1", "Secret", "secrets")
_SETTING = "inference_services.storage_initializer.credentials: none"


class ServiceAccounts:
    """Those of all namespaces, on the running loop."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._kept: dict[tuple[str, Use], tuple[float, Credentials]] = {}

    async def of(self, namespace: str, uses: Iterable[Use]) -> dict[Use, Credentials]:
        return {use: await self._of(namespace, use) for use in sorted(uses)}

    async def _of(self, namespace: str, use: Use) -> Credentials:
        now = asyncio.get_running_loop().time()
        known = self._kept.get((namespace, use))
        if known is not None and now - known[0] < KEPT:
            return known[1]
        found = await self._read(namespace, use)
        self._kept = {key: value for key, value in self._kept.items() if now - value[0] < KEPT}
        self._kept[namespace, use] = now, found
        return found

    async def _read(self, namespace: str, use: Use) -> Credentials:
        name, named = use
        account, problem = await self._get(_ACCOUNTS, namespace, name)
        secrets = []
        for each in secret_names(account or {}, named):
            item, wrong = await self._get(_SECRETS, namespace, each)
            problem = problem or wrong
            if item is not None:
                secrets.append(secret_of(item))
        return Credentials(tuple(secrets), account_annotations(account or {}), problem)

    async def _get(self, kind: Kind, namespace: str, name: str) -> tuple[Object | None, str]:
        """Or why not."""
        what = f"the {kind.kind} {namespace}/{name}"
        try:
            return await self._cluster.get(kind.path(namespace, name)), ""
        except ApiError as error:
            if error.status == 403:
                gives = f"a Role in {namespace} with get on serviceaccounts and secrets (deploy/components/inference-services has it)"
                return None, f"Tidegate may not get {what}: give it {gives}, or set {_SETTING}"
            if error.status == 404:
                return None, f"{what} is not there, and its models are fetched without: create it"
            raise

    def __repr__(self) -> str:
        return f"<ServiceAccounts {len(self._kept)} kept>"
