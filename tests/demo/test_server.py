"""The demo's model server, as a real process on a real socket."""

import asyncio
import contextlib
import io
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

SERVER = Path(__file__).parents[2] / "deploy" / "demo" / "server.py"
FLOWER = [6.8, 2.8, 4.8, 1.4]
PREDICT = "/v1/models/iris:predict"
INFER = "/v2/models/iris/infer"


class Pod:
    """One server process. Its base URL is what it said on standard output."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, str(SERVER), "--port", "0", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().strip()
        self.url = self.said.rpartition(" ")[2]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def end(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.gone()

    def gone(self) -> int:
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def start() -> Iterator[Callable[..., Pod]]:
    pods: list[Pod] = []

    def run(*flags: str) -> Pod:
        pods.append(Pod(*flags))
        return pods[-1]

    yield run
    for pod in pods:
        if pod.process.returncode is None:
            pod.process.kill()
            pod.gone()


@pytest.fixture(scope="module")
def shared() -> Iterator[Pod]:
    """A pod for tests that leave nothing behind in it."""
    pod = Pod("--version", "v2")
    yield pod
    pod.end()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def get(http: aiohttp.ClientSession, pod: Pod, path: str) -> tuple[int, Any]:
    async with http.get(pod.url + path) as response:
        return response.status, await response.json()


async def post(http: aiohttp.ClientSession, pod: Pod, path: str, body: object) -> tuple[int, Any]:
    async with http.post(pod.url + path, json=body) as response:
        return response.status, await response.json()


async def stats_where(http: aiohttp.ClientSession, pod: Pod, **wanted: object) -> dict[str, Any]:
    """The pod's stats once they hold what is wanted; the test's own timeout ends a wait in vain."""
    while True:
        _, stats = await get(http, pod, "/stats")
        if wanted.items() <= stats.items():
            return dict(stats)
        await asyncio.sleep(0.005)


async def ready(http: aiohttp.ClientSession, pod: Pod) -> Pod:
    """The pod, once it says so."""
    while True:
        if (await get(http, pod, "/v2/health/ready"))[0] == 200:
            return pod
        await asyncio.sleep(0.005)


class Client:
    """A connection of its own: sends a request, or the start of one, and never reads."""

    def __init__(self, pod: Pod) -> None:
        self.socket = socket.create_connection(("127.0.0.1", pod.port))

    def send(self, body: bytes = b'{"instances": [[6.8, 2.8, 4.8, 1.4]]}') -> None:
        self.socket.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nHost: pod\r\nContent-Length: 37\r\n\r\n".encode() + body
        )

    def leave(self) -> None:
        """The FIN is out when this returns; a transport's abort() would only plan it."""
        self.socket.close()


Connect = Callable[[Pod], Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[Client] = []

    def run(pod: Pod) -> Client:
        clients.append(Client(pod))
        return clients[-1]

    yield run
    for client in clients:
        client.leave()


# Protocols


async def test_v1_predicts_the_class_of_each_instance(http: aiohttp.ClientSession, shared: Pod) -> None:
    """One label per row, in order: a setosa, a versicolor and a virginica of the table."""
    rows = [[5.1, 3.5, 1.4, 0.2], [7.0, 3.2, 4.7, 1.4], [6.3, 3.3, 6.0, 2.5]]
    assert await post(http, shared, PREDICT, {"instances": rows}) == (200, {"predictions": [0, 1, 2]})


async def test_v1_lists_the_model_and_says_that_it_is_ready(http: aiohttp.ClientSession, shared: Pod) -> None:
    """The two read-only paths of V1."""
    assert await get(http, shared, "/v1/models") == (200, {"models": ["iris"]})
    assert await get(http, shared, "/v1/models/iris") == (200, {"name": "iris", "ready": True})


def tensor(data: list[Any], rows: int, **changed: object) -> dict[str, Any]:
    return {"name": "input-0", "shape": [rows, 4], "datatype": "FP32", "data": data, **changed}


async def test_v2_answers_labels_and_probabilities(http: aiohttp.ClientSession, shared: Pod) -> None:
    """Both outputs with name, shape, datatype and flat data, and the request's id."""
    body = {"id": "42", "inputs": [tensor([*FLOWER, *FLOWER], 2)]}
    status, answer = await post(http, shared, INFER, body)
    label, probabilities = answer.pop("outputs")
    assert (status, answer) == (200, {"model_name": "iris", "model_version": "v2", "id": "42"})
    assert label == {"name": "label", "shape": [2], "datatype": "INT64", "data": [1, 1]}
    assert probabilities["shape"] == [2, 3]
    assert probabilities["datatype"] == "FP64"
    assert sum(probabilities["data"]) == pytest.approx(2)


async def test_v2_takes_nested_data_as_it_takes_flat(http: aiohttp.ClientSession, shared: Pod) -> None:
    """The protocol leaves both open."""
    flat = await post(http, shared, INFER, {"inputs": [tensor([*FLOWER, *FLOWER], 2)]})
    nested = await post(http, shared, INFER, {"inputs": [tensor([FLOWER, FLOWER], 2)]})
    assert flat == nested
    assert "id" not in flat[1]


async def test_v2_gives_only_the_outputs_asked_for(http: aiohttp.ClientSession, shared: Pod) -> None:
    """`outputs` in a request is a choice."""
    body = {"inputs": [tensor(FLOWER, 1)], "outputs": [{"name": "label"}]}
    _, answer = await post(http, shared, INFER, body)
    assert [output["name"] for output in answer["outputs"]] == ["label"]


async def test_v2_describes_server_and_model(http: aiohttp.ClientSession, shared: Pod) -> None:
    """The protocol's fields, and the held-out accuracy under the model's parameters."""
    assert await get(http, shared, "/v2") == (
        200,
        {"name": "tidegate-demo", "version": "v2", "extensions": []},
    )
    _, model = await get(http, shared, "/v2/models/iris")
    assert model.keys() == {"name", "versions", "platform", "inputs", "outputs", "parameters"}
    assert model["inputs"] == [{"name": "features", "datatype": "FP64", "shape": [-1, 4]}]
    assert model["parameters"]["classes"] == ["setosa", "versicolor", "virginica"]
    assert 0.9 < model["parameters"]["held_out_accuracy"] <= 1


async def test_v2_takes_the_version_in_the_path(http: aiohttp.ClientSession, shared: Pod) -> None:
    """The served version is as good as none; another is not here."""
    versions = "/v2/models/iris/versions"
    assert await get(http, shared, f"{versions}/v2/ready") == (200, {"name": "iris", "ready": True})
    assert (await post(http, shared, f"{versions}/v2/infer", {"inputs": [tensor(FLOWER, 1)]}))[0] == 200
    status, answer = await get(http, shared, f"{versions}/v1")
    assert (status, answer["error"]) == (404, "no version v1 of iris here: this server has v2")


BAD: dict[str, tuple[str, object, str]] = {
    "no-object": (PREDICT, [FLOWER], "the body must be"),
    "no-instances": (PREDICT, {"rows": [FLOWER]}, "the body must be"),
    "no-row": (PREDICT, {"instances": []}, "there is no row"),
    "short-row": (PREDICT, {"instances": [FLOWER, [1, 2]]}, "row 1 must be a list of 4 numbers"),
    "text-in-row": (PREDICT, {"instances": [["a", 2, 3, 4]]}, 'row 0 has "a"'),
    "truth-in-row": (PREDICT, {"instances": [[True, 2, 3, 4]]}, "row 0 has true"),
    "nan-in-row": (PREDICT, {"instances": [[float("nan"), 2, 3, 4]]}, "row 0 has NaN"),
    "huge-number": (PREDICT, {"instances": [[10**400, 2, 3, 4]]}, "row 0 has 1000"),
    "v2-no-object": (INFER, 3, "the body must be"),
    "v2-no-inputs": (INFER, {"inputs": []}, "inputs must be one tensor"),
    "v2-two-inputs": (INFER, {"inputs": [tensor(FLOWER, 1)] * 2}, "inputs must be one tensor"),
    "v2-input-lacks": (INFER, {"inputs": [{"name": "x", "data": FLOWER}]}, "the input lacks shape, datatype"),
    "v2-shape": (INFER, {"inputs": [tensor(FLOWER, 2)]}, "shape must be [rows, 4], and data has 1 rows"),
    "v2-odd-shape": (INFER, {"inputs": [tensor(FLOWER, 1, shape="x")]}, "shape must be [rows, 4]"),
    "v2-ragged": (INFER, {"inputs": [tensor([FLOWER, [1]], 2)]}, "row 1 must be a list of 4 numbers"),
    "v2-datatype": (
        INFER,
        {"inputs": [tensor(FLOWER, 1, datatype="BYTES")]},
        "datatype must be one of FP32, FP64",
    ),
    "v2-unhashable": (
        INFER,
        {"inputs": [tensor(FLOWER, 1, datatype=[])]},
        "datatype must be one of FP32, FP64",
    ),
    "v2-data": (INFER, {"inputs": [tensor(FLOWER, 1) | {"data": "x"}]}, "data must be a list"),
    "v2-id": (INFER, {"id": 42, "inputs": [tensor(FLOWER, 1)]}, "id must be a string"),
    "v2-output": (
        INFER,
        {"inputs": [tensor(FLOWER, 1)], "outputs": [{"name": "x"}]},
        "outputs may name label",
    ),
    "v2-outputs": (INFER, {"inputs": [tensor(FLOWER, 1)], "outputs": {}}, "outputs must be"),
}


@pytest.mark.parametrize(("path", "body", "why"), BAD.values(), ids=BAD.keys())
async def test_a_body_that_cannot_be_answered_is_a_400_that_says_why(
    http: aiohttp.ClientSession, shared: Pod, path: str, body: object, why: str
) -> None:
    """Each fault has its own words under `error`."""
    status, answer = await post(http, shared, path, body)
    assert status == 400
    assert answer["error"].startswith(why)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe\xff", b"[" * 100_000], ids=["none", "cut", "bytes", "deep"]
)
async def test_a_body_that_is_not_json_is_a_400(
    http: aiohttp.ClientSession, shared: Pod, body: bytes
) -> None:
    """Also one that nests deeper than the parser goes."""
    async with http.post(shared.url + PREDICT, data=body) as response:
        assert response.status == 400
        assert (await response.json())["error"].startswith("the body is not JSON: ")


async def test_faults_outside_the_body_are_json_too(http: aiohttp.ClientSession, shared: Pod) -> None:
    """Unknown models and paths, wrong methods, bodies past aiohttp's limit."""
    status, answer = await post(http, shared, "/v1/models/roses:predict", {"instances": [FLOWER]})
    assert (status, answer) == (404, {"error": "no model named roses here: this server has iris"})
    assert await get(http, shared, "/nowhere") == (404, {"error": "404: Not Found"})
    assert (await get(http, shared, PREDICT))[0] == 405
    async with http.post(shared.url + PREDICT, data=io.BytesIO(b"x" * 2_000_000)) as response:
        assert response.status == 413
        assert (await response.json())["error"].startswith("Maximum request body size")


# Loading


async def test_it_lives_but_is_not_ready_while_the_model_loads(
    http: aiohttp.ClientSession, start: Callable[..., Pod]
) -> None:
    """The socket is there at once; readiness in all its places, and inference, say 503."""
    pod = start("--load-time", "1000")
    assert await get(http, pod, "/v2/health/live") == (200, {"live": True})
    assert await get(http, pod, "/v2/health/ready") == (503, {"ready": False})
    assert await get(http, pod, "/v1/models/iris") == (503, {"name": "iris", "ready": False})
    assert await get(http, pod, "/v2/models/iris/ready") == (503, {"name": "iris", "ready": False})
    answer = {"error": "model iris is still loading"}
    assert await post(http, pod, PREDICT, {"instances": [FLOWER]}) == (503, answer)
    assert pod.end() == 0


async def test_the_first_ready_answer_and_the_first_request_keep_their_times(
    http: aiohttp.ClientSession, start: Callable[..., Pod]
) -> None:
    """Null before, by one monotonic clock, and never overwritten."""
    pod = start("--load-time", "50ms", "--name", "flowers", "--version", "v1")
    _, stats = await get(http, pod, "/stats")
    assert (stats["first_ready"], stats["first_request"], stats["version"]) == (None, None, "v1")
    await ready(http, pod)
    for _ in range(2):
        assert (await post(http, pod, "/v1/models/flowers:predict", {"instances": [FLOWER]}))[0] == 200
        await ready(http, pod)
        _, after = await get(http, pod, "/stats")
        stats = stats if stats["first_ready"] else after
    assert stats["first_ready"] < stats["first_request"]
    assert (after["first_ready"], after["first_request"]) == (stats["first_ready"], stats["first_request"])
    assert (after["served"], after["pid"]) == (2, pod.process.pid)


# Counting


async def test_requests_worked_on_at_once_are_counted(
    http: aiohttp.ClientSession, start: Callable[..., Pod]
) -> None:
    """Three at once are three in flight; afterwards none, and the maximum stays, also in the answers' headers."""
    pod = await ready(http, start("--request-time", "300ms"))
    requests = [asyncio.create_task(post(http, pod, PREDICT, {"instances": [FLOWER]})) for _ in range(3)]
    await stats_where(http, pod, in_flight=3)
    await asyncio.gather(*requests)
    stats = await stats_where(http, pod, in_flight=0)
    assert (stats["max_in_flight"], stats["served"], stats["cancelled"]) == (3, 3, 0)
    async with http.post(pod.url + PREDICT, json={"instances": [FLOWER]}) as response:
        assert response.headers["x-max-in-flight"] == "3"
        assert response.headers["x-model-version"] == "v1"
        assert response.headers["x-model-pid"] == str(pod.process.pid)


async def test_an_answered_request_is_no_longer_counted_when_its_answer_arrives(
    http: aiohttp.ClientSession, start: Callable[..., Pod]
) -> None:
    """One request after another, each on the other of two connections, is never two at once."""
    pod = await ready(http, start())
    async with aiohttp.ClientSession() as other:
        for k in range(100):
            assert (await post(http if k % 2 else other, pod, PREDICT, {"instances": [FLOWER]}))[0] == 200
    stats = await stats_where(http, pod, in_flight=0)
    assert (stats["max_in_flight"], stats["served"]) == (1, 100)


@pytest.mark.parametrize("body", [b'{"instances": [[6.8, 2.8, 4.8, 1.4]]}', b'{"inst'], ids=["whole", "cut"])
async def test_work_stops_when_the_client_leaves(
    http: aiohttp.ClientSession, start: Callable[..., Pod], connect: Connect, body: bytes
) -> None:
    """The handler is cancelled at once, in its work or while the body comes, and the request counts as cancelled."""
    pod = await ready(http, start("--request-time", "1000"))
    client = connect(pod)
    client.send(body)
    await stats_where(http, pod, in_flight=1)
    client.leave()
    stats = await stats_where(http, pod, cancelled=1)
    assert (stats["in_flight"], stats["served"]) == (0, 0)


async def test_a_request_in_the_place_of_one_whose_client_left_is_not_counted_beside_it(
    http: aiohttp.ClientSession, start: Callable[..., Pod], connect: Connect
) -> None:
    """A gateway may abort one request and at once send the next on another connection; that is one at a time."""
    pod = await ready(http, start("--request-time", "1000"))
    client = connect(pod)
    client.send()
    for left in range(30):
        following = connect(pod)
        await stats_where(http, pod, in_flight=1, cancelled=left)
        client.leave()
        following.send()
        client = following
    stats = await stats_where(http, pod, in_flight=1, cancelled=30)
    assert stats["max_in_flight"] == 1


# Ending


async def test_sigterm_lets_a_request_in_flight_finish(
    http: aiohttp.ClientSession, start: Callable[..., Pod]
) -> None:
    """The answer is whole, new connections are refused, and the exit code is 0."""
    pod = await ready(http, start("--request-time", "500ms"))
    request = asyncio.create_task(post(http, pod, PREDICT, {"instances": [FLOWER]}))
    await stats_where(http, pod, in_flight=1)
    pod.process.send_signal(signal.SIGTERM)
    assert await request == (200, {"predictions": [1]})
    assert await asyncio.to_thread(pod.gone) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", pod.port)).close()


async def test_sigterm_does_not_wait_for_idle_connections(
    http: aiohttp.ClientSession, start: Callable[..., Pod], connect: Connect
) -> None:
    """A gateway's pooled connection, open and silent, is closed with exit code 0."""
    pod = await ready(http, start())
    connect(pod)
    await get(http, pod, "/stats")
    assert await asyncio.to_thread(pod.end) == 0


def test_a_port_in_use_is_one_line_and_exit_code_1(start: Callable[..., Pod]) -> None:
    """No traceback for what the caller can put right."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        pod = start("--port", str(port))
        assert pod.process.stdout is not None
        assert pod.process.stdout.read() == ""
        assert pod.gone() == 1
    assert pod.said.startswith(f"cannot listen on 127.0.0.1:{port}: ")


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "soon"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    """The message names the flag; the exit code is 2."""
    command = [sys.executable, str(SERVER), "--port", "0", f"--load-time={text}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "argument --load-time: invalid seconds value" in ended.stderr
