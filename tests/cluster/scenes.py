"""What most scenes begin with, a model behind one route, and what they wait for."""

from typing import Any

from tests.cluster.installation import MODEL, Installation

Object = dict[str, Any]
QUICK: Object = {"max": 5, "stable_window": "6s", "scale_to_zero_grace_period": "2s"}


def backend(name: str = "iris-v1", *, key: str = "deployment", **more: Any) -> Object:
    return {"target": {key: name, "port": MODEL}, "concurrency": 2, "scale": QUICK, **more}


def route(**split: int) -> list[Object]:
    names = {name.replace("_", "-"): weight for name, weight in split.items()}
    return [{"name": "iris", "paths": ["/v1/models/iris"], "split": names}]


async def true(value: object) -> object:
    return value


async def ready_pods(installation: Installation, count: int) -> bool:
    return await installation.ready("iris-v1", count)


async def replicas_are(installation: Installation, count: int, plural: str = "deployments") -> bool:
    return await installation.replicas("iris-v1", plural) == count
