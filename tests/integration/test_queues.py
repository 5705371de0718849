"""Priorities, tenants, and who gives way: the examples of `config/examples/`, asked over real sockets."""

import asyncio
from pathlib import Path
from typing import Any

from tests.eventually import eventually
from tests.fakes import read_request
from tests.integration.dataplane import Connection, content_length
from tests.integration.examples import Example, Told, example


class Turnstile:
    """A pod that answers one request each time it is told to, and knows in which order they came."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.fields: list[set[str]] = []
        self._turns = asyncio.Semaphore(0)

    async def __call__(self, connection: Connection) -> None:
        while True:
            raw = await connection.head()
            raw += await connection.exactly(content_length(raw))
            request, _, _, _ = read_request(raw)
            self.came.append(request.target.decode())
            self.fields.append({key.decode() for key, _ in request.headers})
            await self._turns.acquire()
            connection.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    def turn(self, count: int) -> None:
        for _ in range(count):
            self._turns.release()


class Asked:
    """Requests on their way, in the order in which the gateway has them."""

    def __init__(self, served: Example, backend: str) -> None:
        self._served = served
        self._backend = backend
        self.tasks: dict[str, asyncio.Task[Told]] = {}

    async def ask(self, target: str, **arguments: Any) -> asyncio.Task[Told]:
        """Once this returns it is with the pod, in the queue, or answered."""
        before = await self.known()
        task = self.tasks[target] = asyncio.create_task(self._served.ask(target, **arguments))

        async def arrived() -> bool:
            return task.done() or await self.known() != before

        async with asyncio.timeout(10):
            while not await arrived():
                await asyncio.sleep(0.005)
        return task

    async def queue(self) -> dict[str, Any]:
        backend = (await self._served.running.state())["backends"][self._backend]
        queue: dict[str, Any] = backend["queue"] | {"in_flight": backend["in_flight"]}
        return queue

    async def known(self) -> tuple[int, dict[str, Any]]:
        queue = await self.queue()
        return queue["in_flight"] + queue["bytes"], queue["priorities"]


async def test_people_go_before_batches_and_batches_make_room_for_people(tmp_path: Path) -> None:
    """Higher priorities first; of a full queue the newest batch request has to go, and is told when to come again."""
    pod = Turnstile()
    async with example("priorities.yaml", tmp_path, handlers={"iris": pod}) as served:
        asked = Asked(served, "iris")
        for number in range(11):
            await asked.ask(f"/batch/{number}")
        await asked.ask("/person")
        await asked.ask("/urgent", x_priority="7")
        queue = await asked.queue()
        assert queue["priorities"] == {"7": {"queued": 1, "tenants": 1}, "0": {"queued": 1, "tenants": 1}, "-10": {"queued": 8, "tenants": 1}}  # fmt: skip
        for gone in ("/batch/10", "/batch/9"):
            told = await asked.tasks[gone]
            assert (told.status, b"queue_full" in told.body) == (503, True)
            assert 1 <= int(told.headers["retry-after"]) <= 60
        pod.turn(11)
        assert (await asyncio.gather(asked.tasks["/urgent"], asked.tasks["/batch/8"]))[0].status == 200
        assert pod.came == ["/batch/0", "/urgent", "/person", *(f"/batch/{n}" for n in range(1, 9))]
        page = await (await served.running.session.get(f"{served.running.admin}/metrics")).text()
        assert 'tidegate_sheds_total{backend="iris",reason="pushed_out"} 2' in page


async def test_one_customers_requests_do_not_wait_behind_anothers_many(tmp_path: Path) -> None:
    """The next turn but one is its."""
    pod = Turnstile()
    async with example("tenants.yaml", tmp_path, handlers={"iris": pod}) as served:
        asked = Asked(served, "iris")
        await asked.ask("/many/0", x_tenant="many")
        many = [asyncio.create_task(served.ask(f"/many/{n}", x_tenant="many")) for n in range(1, 90)]

        async def all_wait() -> bool:
            return bool((await asked.queue())["priorities"].get("0") == {"queued": 89, "tenants": 1})

        async with asyncio.timeout(20):
            while not await all_wait():
                await asyncio.sleep(0.02)
        one = await asked.ask("/one", x_tenant="one")
        pod.turn(3)
        assert (await one).status == 200
        assert pod.came.index("/one") <= 2
        pod.turn(100)
        assert [(await task).status for task in many] == [200] * 89


async def test_with_least_use_long_requests_weigh_more(tmp_path: Path) -> None:
    """Who has had the slot for longer comes after who has had it for a moment."""
    pod = Turnstile()
    async with example("tenants.yaml", tmp_path, handlers={"llama": pod}) as served:
        asked = Asked(served, "llama")
        await asked.ask("/v1/chat/short/0", x_tenant="short")
        pod.turn(1)
        await asked.tasks["/v1/chat/short/0"]
        await asked.ask("/v1/chat/long/0", x_tenant="long")
        for number in (1, 2):
            await asked.ask(f"/v1/chat/long/{number}", x_tenant="long")
        for number in (1, 2):
            await asked.ask(f"/v1/chat/short/{number}", x_tenant="short")
        await asyncio.sleep(1.0)  # the long one has its slot for a second
        pod.turn(6)
        await asyncio.gather(*asked.tasks.values())
        assert [target.removeprefix("/v1/chat/") for target in pod.came] == [
            "short/0", "long/0", "short/1", "short/2", "long/1", "long/2",
        ]  # fmt: skip


async def test_who_is_not_trusted_says_nothing(tmp_path: Path) -> None:
    """Without the proxy in the list its word does not count, and the pod does not see it."""
    pod = Turnstile()
    pod.turn(2)
    own = {"priority": {"header": "x-priority"}}
    async with example("priorities.yaml", tmp_path, handlers={"iris": pod}, routes={"people": own}) as served:
        await served.ask("/trusted", x_priority="7", connection="close")
        text = served.running.path.read_text()
        served.running.path.write_text(text.replace("127.0.0.0/8", "10.0.0.0/8"))
        await eventually(lambda: "took over" in served.running.log)
        await served.ask("/anyone", x_priority="7")
        assert ["x-priority" in fields for fields in pod.fields] == [True, False]
