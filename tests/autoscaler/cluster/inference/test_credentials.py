"""Credentials of service accounts, from the API server to the Deployment."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from autoscaler.cluster.inference import credentials
from autoscaler.cluster.inference.terms import Terms
from autoscaler.inference.shapes import Settings
from tests.autoscaler.cluster.inference.place import GROUP, Place, running, service
from tests.autoscaler.cluster.inference.test_rights import RIGHTS
from tests.eventually import eventually

Object = dict[str, Any]
VALUE = "aGlkZGVuLXZhbHVl"


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(credentials, "KEPT", 0.1)
    async with running(tmp_path, monkeypatch, Terms(Settings())) as made:
        yield made


def fetching(namespace: str = "default") -> Object:
    item = service(namespace=namespace, serviceAccountName="fetcher")
    item["spec"]["predictor"]["containers"][0]["env"] = [{"name": "STORAGE_URI", "value": "s3://b/m"}]
    return item


def core(kind: str, name: str, **rest: Any) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, **rest}


ACCOUNT = core("ServiceAccount", "fetcher", secrets=[{"name": "keys"}])
KEYS = core("Secret", "keys", data={"awsAccessKeyID": VALUE, "awsSecretAccessKey": VALUE})


def told(place: Place) -> str:
    conditions = place.status().get("conditions") or ()
    return " ".join(
        one["message"] for one in conditions if one["type"] == "SpecSupported" and one.get("message")
    )


def variables(place: Place) -> list[str]:
    for name in place.names("deployments", "default"):
        spec = place.get("deployments", name)["spec"]["template"]["spec"]
        return [entry["name"] for entry in spec["initContainers"][0].get("env", ())]
    return []


async def test_a_deployment_gets_them(place: Place) -> None:
    """By reference: no value is in anything that we wrote."""
    await place.api.apply([ACCOUNT, KEYS, fetching()])
    await eventually(lambda: variables(place) == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], within=15)
    await eventually(place.is_ready, within=15)
    kinds = ("deployments", "services", "configmaps", "events", GROUP)
    assert VALUE not in str([record.obj for kind in kinds for record in place.api.store.records(kind)])


async def test_they_are_read_at_any_time_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was never asked for is not there already: at 17000 s, 0.1 s before is less than 0.1 s ago to a float."""

    class Cluster:
        async def get(self, path: str) -> Object:
            return KEYS if "/secrets/" in path else ACCOUNT

    monkeypatch.setattr(credentials, "KEPT", 0.1)
    loop = asyncio.get_running_loop()
    for now in (1000.0, 17000.0):
        monkeypatch.setattr(loop, "time", lambda now=now: now)
        accounts = credentials.ServiceAccounts(Cluster())  # type: ignore[arg-type]
        found = await accounts.of("default", [("fetcher", "")])
        assert [secret.name for secret in found["fetcher", ""].secrets] == ["keys"], now
    monkeypatch.undo()


async def test_what_is_missing_is_told_and_taken_up_once_it_is_there(place: Place) -> None:
    """As when the Secret is applied after the InferenceService."""
    await place.api.apply([ACCOUNT, fetching()])
    await eventually(lambda: "the Secret default/keys is not there" in told(place), within=15)
    [name] = place.names("deployments", "default")
    place.api.store.change("deployments", "default", name, lambda o: o["spec"].update(replicas=0))
    await eventually(lambda: not place.get("deployments", name)["status"].get("readyReplicas"), within=10)
    await place.api.apply(KEYS)
    place.controller.look_again()
    await eventually(lambda: bool(variables(place)), within=40)
    assert place.names("deployments", "default") == [name]


async def test_a_missing_right_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With how to give it, and how to live without; everything else goes on."""
    rights = [_without(obj) for obj in RIGHTS]
    terms = Terms(Settings(), namespaces=("models",))
    async with running(tmp_path, monkeypatch, terms, rights=rights) as place:
        await place.api.apply(fetching("models"))
        await eventually(lambda: bool(place.names("deployments", "models")), within=15)
        await eventually(lambda: "may not get" in str(place.get(GROUP, "iris", "models").get("status")))
        await eventually(lambda: any("credentials: none" in word for word in messages(place)))


def messages(place: Place) -> list[str]:
    return [record.obj["message"] for record in place.api.store.records("events")]


def _without(obj: Object) -> Object:
    rules = [rule for rule in obj.get("rules", ()) if "secrets" not in rule["resources"]]
    return {**obj, "rules": rules} if "rules" in obj else obj
