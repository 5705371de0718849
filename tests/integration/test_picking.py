"""Which pod takes a request, and which gets none for a while: the examples of `config/examples/`, over real sockets."""

import asyncio
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from tests.eventually import eventually
from tests.integration.dataplane import Connection, content_length
from tests.integration.examples import Example, example

IRIS = "/v1/models/iris"


async def naming(name: str, connection: Connection) -> None:
    """Answer each request with the pod's own port."""
    while True:
        head = await connection.head()
        await connection.exactly(content_length(head))
        body = json.dumps({"backend": name, "pod": connection.writer.get_extra_info("sockname")[1]}).encode()
        connection.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


class Sick:
    """Pods that answer 500 while they are sick, and tell their port otherwise."""

    def __init__(self) -> None:
        self.ports: set[int] = set()
        self.failures = 0

    async def __call__(self, connection: Connection) -> None:
        port = connection.writer.get_extra_info("sockname")[1]
        while True:
            head = await connection.head()
            if port not in self.ports:
                body = b'{"pod": %d}' % port
                connection.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
                continue
            if head.startswith(b"GET /health"):
                connection.say(b"HTTP/1.1 503 Sick\r\ncontent-length: 0\r\n\r\n")
                continue
            self.failures += 1
            connection.say(b"HTTP/1.1 500 Sick\r\ncontent-length: 0\r\n\r\n")


async def pods(
    served: Example, count: int, target: str, method: str = "GET", body: Any = None, **fields: str
) -> list[int]:
    return [(await served.ask(target, method, body, **fields)).pod["pod"] for _ in range(count)]


async def test_each_policy_picks_as_its_example_says(tmp_path: Path) -> None:
    """One request at a time: turns, packing, and what has something in common meets one pod."""
    names = ("iris", "batch", "sessions", "llama")
    handlers = {name: partial(naming, name) for name in names}
    async with example("picking.yaml", tmp_path, replicas=4, handlers=handlers) as served:
        assert set(Counter(await pods(served, 12, IRIS)).values()) == {3}
        assert set(await pods(served, 5, "/batch")) == {served.pods["batch"][0].port}
        seen = [set(await pods(served, 3, "/sessions", x_session=f"{user}")) for user in range(30)]
        assert {len(each) for each in seen} == {1}
        assert set.union(*seen) == {pod.port for pod in served.pods["sessions"]}
        state = await served.running.state()
        picks = {name: backend["pick"] for name, backend in state["backends"].items()}
        assert picks == dict(
            zip(names, ("round_robin", "first_available", *["consistent_hash"] * 2), strict=True)
        )


async def test_a_conversation_meets_one_pod(tmp_path: Path) -> None:
    """By what its user said first; whatever is no JSON goes anywhere."""
    async with example(
        "picking.yaml", tmp_path, replicas=4, handlers={"llama": partial(naming, "llama")}
    ) as served:
        chat = "/v1/chat/completions"
        seen: list[set[int]] = []
        for user in range(20):
            messages: list[dict[str, str]] = [{"role": "user", "content": f"I am user {user}: " + "x" * 200}]
            met: set[int] = set()
            for turn in range(3):
                body = json.dumps({"model": "llama", "messages": messages}).encode()
                met |= set(await pods(served, 1, chat, "POST", body, content_type="application/json"))
                messages += [{"role": "assistant", "content": "y"}, {"role": "user", "content": f"{turn}"}]
            seen.append(met)
        assert {len(met) for met in seen} == {1}
        assert len(set.union(*seen)) > 1
        assert len(await pods(served, 4, chat, "POST", b"\xff\x00", content_type="audio/wav")) == 4


async def test_one_of_five_pods_that_answers_500_is_out_within_five_failures_and_no_get_sees_it(
    tmp_path: Path,
) -> None:
    """What it answers before is asked of another pod; then it gets nothing."""
    sick = Sick()
    async with example("ejection.yaml", tmp_path, replicas=5, handlers={"iris": sick}) as served:
        bad = served.pods["iris"][2].port
        sick.ports.add(bad)
        answers = await asyncio.gather(*(served.ask(IRIS) for _ in range(10)))
        answers += [await served.ask(IRIS) for _ in range(60)]
        assert {answer.status for answer in answers} == {200}
        assert bad not in {answer.pod["pod"] for answer in answers}
        assert sick.failures == 5
        (shown,) = [pod for pod in await served.running.pods("iris") if pod["out"]]
        assert shown["address"].endswith(f":{bad}")
        assert shown["out"]["consecutive_5xx"].startswith("answered 5 requests in a row with 5xx")
        async with served.running.session.get(f"{served.running.admin}/metrics") as page:
            text = await page.text()
        assert 'tidegate_ejections_total{backend="iris",reason="consecutive_5xx"} 1\n' in text
        assert 'tidegate_endpoints{backend="iris",state="ejected"} 1\n' in text
        assert "in a row with 5xx, the last with 500: it gets no requests for 30 s" in served.running.log


async def test_a_pod_comes_back_by_one_request(tmp_path: Path) -> None:
    """While it fails, each try makes it wait for longer; once it does not, it is back."""
    sick = Sick()
    async with example("ejection.yaml", tmp_path, replicas=3, handlers={"iris": sick}) as served:
        config = json.loads(served.running.path.read_text())
        config["backends"]["iris"] |= {
            "ejection": {"consecutive_5xx": 1, "base_time": "500ms", "max_time": "1s"}
        }
        served.running.path.write_text(json.dumps(config))
        bad = served.pods["iris"][0].port
        await _loaded(served)
        sick.ports.add(bad)
        while sick.failures < 3:
            assert (await served.ask(IRIS)).status == 200
        assert "answered 500 when it was tried again: it gets no requests for 1 s" in served.running.log
        sick.ports.clear()
        seen: set[int] = set()
        async with asyncio.timeout(10):
            while bad not in seen:
                seen |= set(await pods(served, 1, IRIS))
        assert not any(pod["out"] for pod in await served.running.pods("iris"))
        assert "is back, it answered a request well: it gets requests again" in served.running.log


async def test_a_pod_that_fails_its_health_checks_gets_nothing_until_it_passes_them(tmp_path: Path) -> None:
    """Its clients never notice."""
    sick = Sick()
    async with example("ejection.yaml", tmp_path, replicas=3, handlers={"roses": sick}) as served:
        config = json.loads(served.running.path.read_text())
        config["backends"]["roses"]["health"] = {
            "path": "/health",
            "interval": "1s",
            "unhealthy": 1,
            "healthy": 1,
        }
        served.running.path.write_text(json.dumps(config))
        await _loaded(served)
        bad = served.pods["roses"][1].port
        sick.ports.add(bad)

        async def out() -> set[int]:
            return {
                int(pod["address"].rpartition(":")[2])
                for pod in await served.running.pods("roses")
                if pod["out"]
            }

        async with asyncio.timeout(10):
            while await out() != {bad}:
                await asyncio.sleep(0.05)
        assert bad not in await pods(served, 12, "/v1/models/roses")
        sick.ports.clear()
        async with asyncio.timeout(10):
            while await out():
                await asyncio.sleep(0.05)
        assert bad in await pods(served, 12, "/v1/models/roses")


async def _loaded(served: Example) -> None:
    await eventually(lambda: "took over" in served.running.log)
