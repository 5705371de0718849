"""`tidegate up` in front of real model processes: what the README promises, seen from outside."""

import asyncio
import json
import os
import re
import signal
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.eventually import eventually
from tests.integration.running import COMMAND, DEMO, Running, alive, children, tidegate

BODY = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
PREDICT = "/v1/models/iris:predict"


def backend(*flags: str, **more: Any) -> dict[str, Any]:
    return {
        "target": {"command": [*DEMO, *flags], "ready": "/v2/health/ready"},
        "concurrency": 2,
        "queue": {"depth": 500},
        "scale": {"max": 3, "stable_window": "6s", "scale_to_zero_grace_period": "1s"},
        **more,
    }


def config(split: dict[str, int] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "backends": {"iris-v1": backend("--version", "v1"), "iris-v2": backend("--version", "v2")},
        "routes": [{"name": "iris", "paths": ["/v1/models/iris"], "split": split or {"iris-v1": 1}}],
        **more,
    }


async def predict(running: Running) -> tuple[int, dict[str, str]]:
    async with running.session.post(running.url + PREDICT, json=BODY) as answer:
        await answer.read()
        return answer.status, dict(answer.headers)


async def test_the_first_request_wakes_a_model_and_the_last_one_lets_it_go(tmp_path: Path) -> None:
    """From nothing running to an answer, with the wait in a header, and back to nothing running."""
    async with tidegate(tmp_path, config(), "--plain") as running:
        assert children(running.process.pid) == []
        status, headers = await predict(running)
        assert status == 200
        assert float(headers["x-tidegate-cold-start"]) > 0
        assert "x-tidegate-cold-start" not in (await predict(running))[1]
        assert len(children(running.process.pid)) == 1
        await eventually(lambda: not children(running.process.pid), within=30)


async def test_a_new_split_takes_effect_on_save_and_fails_no_request(tmp_path: Path) -> None:
    """Under load the file is saved with other weights; every answer is 200 and the other version answers soon."""
    both = config({"iris-v1": 1, "iris-v2": 1})
    async with tidegate(tmp_path, both, "--plain") as running:
        await asyncio.gather(*(predict(running) for _ in range(4)))
        raw = json.loads(running.path.read_text())
        raw["routes"][0]["split"] = {"iris-v1": 0, "iris-v2": 1}
        running.path.write_text(json.dumps(raw))
        answers = []
        async with asyncio.timeout(10):
            while len(answers) < 5 or {version for _, version in answers[-5:]} != {"v2"}:
                status, headers = await predict(running)
                answers.append((status, headers["x-model-version"]))
        assert {status for status, _ in answers} == {200}


async def test_a_broken_file_changes_nothing_and_is_reported_with_its_line(tmp_path: Path) -> None:
    """Saving nonsense leaves the last good configuration in force, and says where the mistake is."""
    async with tidegate(tmp_path, config(), "--plain") as running:
        good = running.path.read_text()
        running.path.write_text(good.replace('"concurrency": 2', '"concurrency": -2', 1))
        await eventually(lambda: "config.yaml:1 backends.iris-v1.concurrency" in running.log, within=10)
        last = (await running.state())["config"]["last_reload"]
        assert not last["ok"]
        assert "concurrency" in last["problems"][0]
        assert (await predict(running))[0] == 200
        running.path.write_text(good + "\n")
        async with asyncio.timeout(10):
            while not (await running.state())["config"]["last_reload"]["ok"]:
                await asyncio.sleep(0.05)


async def test_a_paused_backend_stays_at_zero_until_its_pause_ends(tmp_path: Path) -> None:
    """One request waits in vain and is told of the pause; another is still waiting when the file is saved without it."""
    paused = backend("--version", "v1", activation={"timeout": "1s"})
    paused["scale"]["pause"] = True
    alone = {**config(), "backends": {"iris-v1": paused}}
    async with tidegate(tmp_path, alone, "--plain") as running:
        async with running.session.post(running.url + PREDICT, json=BODY) as answer:
            problem = await answer.json(content_type=None)
        assert (answer.status, problem["reason"]) == (504, "activation_timeout")
        assert problem["detail"].endswith("its scaling is paused")
        assert children(running.process.pid) == []
        running.path.write_text(running.path.read_text().replace('"1s"', '"60s"', 1))
        await eventually(lambda: "took over" in running.log)
        waiting = asyncio.create_task(predict(running))
        running.path.write_text(running.path.read_text().replace('"pause": true', '"pause": false'))
        assert (await waiting)[0] == 200


async def test_a_killed_pod_is_replaced_and_no_get_fails(tmp_path: Path) -> None:
    """The only model process is killed under a load of GETs: each of them is answered 200 all the same."""
    async with tidegate(tmp_path, config(), "--plain") as running:
        await predict(running)
        (pod,) = await running.pods("iris-v1")
        statuses: Counter[int] = Counter()
        stopped = asyncio.Event()

        async def load() -> None:
            while not stopped.is_set():
                async with running.session.get(f"{running.url}/v1/models/iris") as answer:
                    await answer.read()
                    statuses[answer.status] += 1

        clients = [asyncio.create_task(load()) for _ in range(4)]
        await eventually(lambda: statuses[200] > 50, within=10)
        (pid,) = children(running.process.pid)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while [p["uid"] for p in await running.pods("iris-v1") if p["ready"]] in ([], [pod["uid"]]):
                await asyncio.sleep(0.05)
        before = statuses[200]
        await eventually(lambda: statuses[200] > before + 20, within=10)
        stopped.set()
        await asyncio.gather(*clients)
        assert set(statuses) == {200}


async def test_sigterm_finishes_what_is_in_flight_and_leaves_no_process(tmp_path: Path) -> None:
    """A request that runs when SIGTERM comes is answered whole; then Tidegate ends with 0 and its pods are gone."""
    slow = config(backends={"iris-v1": backend("--request-time", "1500ms"), "iris-v2": backend()})
    async with tidegate(tmp_path, slow, "--plain") as running:
        await predict(running)
        pids = children(running.process.pid)
        request = asyncio.create_task(predict(running))
        async with asyncio.timeout(10):
            while not (await running.state())["backends"]["iris-v1"]["in_flight"]:
                await asyncio.sleep(0.01)
        running.process.send_signal(signal.SIGTERM)
        status, headers = await request
        assert status == 200
        assert headers["Connection"] == "close"
        assert await asyncio.to_thread(running.process.wait, 20) == 0
        assert not [pid for pid in pids if alive(pid)]


async def test_a_second_signal_ends_at_once_and_takes_the_pods_along(tmp_path: Path) -> None:
    """A request of ten seconds is in flight; nobody waits for it, and the exit code says so."""
    slow = config(backends={"iris-v1": backend("--request-time", "10s"), "iris-v2": backend()})
    async with tidegate(tmp_path, slow, "--plain") as running:
        request = asyncio.create_task(predict(running))
        async with asyncio.timeout(10):
            while not (await running.state())["backends"]["iris-v1"]["in_flight"]:
                await asyncio.sleep(0.01)
        pids = children(running.process.pid)
        running.process.send_signal(signal.SIGTERM)
        await eventually(lambda: "draining" in running.log)
        assert await running.end() == 130
        await eventually(lambda: not [pid for pid in pids if alive(pid)])
        with pytest.raises(aiohttp.ClientConnectionError):
            await request


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
async def test_no_model_process_outlives_tidegate(tmp_path: Path, number: signal.Signals) -> None:
    """However Tidegate ends, its pods end with it."""
    async with tidegate(tmp_path, config(), "--plain") as running:
        await predict(running)
        (pid,) = children(running.process.pid)
        os.killpg(running.process.pid, number)
        await running.end(number)
        await eventually(lambda: not alive(pid), within=10)


async def test_a_command_that_cannot_start_is_told_to_the_client(tmp_path: Path) -> None:
    """A model that dies at once gives 503 cannot_start, with the last lines of its output, not a wait without end."""
    broken = config(backends={"iris-v1": backend("--no-such-flag"), "iris-v2": backend()})
    async with tidegate(tmp_path, broken, "--plain") as running:
        async with running.session.post(running.url + PREDICT, json=BODY) as answer:
            problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["reason"]) == (503, "cannot_start")
        assert "--no-such-flag" in problem["detail"]


async def explained(*arguments: str) -> str:
    command = [*COMMAND, "explain", *arguments]
    asking = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    out, err = await asking.communicate()
    assert (asking.returncode, err) == (0, b"")
    return out.decode()


async def test_why_there_are_as_many_pods_is_told(tmp_path: Path) -> None:
    """Of all backends a line each; of one the last start by phase, and how it came to its count."""
    async with tidegate(tmp_path, config(), "--plain") as running:
        assert (await predict(running))[0] == 200
        lines = (await explained("--config", str(running.path))).splitlines()
        assert [line.partition(" ")[0] for line in lines] == ["iris-v1", "iris-v2"]
        text = await explained("iris-v1", "--admin", running.admin)
        assert re.search(r"  why:  +1 pod: ", text)
        assert re.search(r"0 → 1  wake  +1 queued and no pod ready: waking with 1", text)
        async with asyncio.timeout(15):  # the autoscaler looks every two seconds
            while "started" not in text:
                text = await explained("iris-v1", "--admin", running.admin.removeprefix("http://"))
        phases = r"decided [\d.]+, created [\d.]+, started [\d.]+, ready [\d.]+, first byte [\d.]+"
        assert re.search(phases, text)


async def test_up_serves_both_admin_sides_on_one_port(tmp_path: Path) -> None:
    """Metrics of gateway and autoscaler, the decisions and the stream of beats are all on the gateway's admin port."""
    async with tidegate(tmp_path, config(), "--plain") as running:
        await predict(running)
        async with running.session.get(f"{running.admin}/metrics") as answer:
            text = await answer.text()
        assert 'tidegate_requests_total{route="iris",backend="iris-v1",code="200"} 1' in text
        assert "tidegate_autoscaler_desired_replicas" in text
        async with running.session.get(f"{running.admin}/v1/decisions") as answer:
            assert "reason" in (await answer.json())["backends"]["iris-v1"]
        timeout = aiohttp.ClientTimeout(total=10)
        async with running.session.get(f"{running.admin}/v1/stats", timeout=timeout) as answer:
            beat = json.loads(await answer.content.readline())
        assert beat["seq"] > 0
