"""Matching, splitting, sticky users and model names: the examples of `config/examples/`, asked over real sockets."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.examples import Example, example


async def test_who_asks_decides_where_a_request_goes(tmp_path: Path) -> None:
    """The route that asks for most goes first; whose conditions miss gives way."""
    async with example("matching.yaml", tmp_path) as served:
        path = "/v1/models/iris:predict"
        beta = {"x_cohort": "beta", "x_client_version": "2.7", "cookie": "a=b; terms=yes"}
        asked = [
            served.ask(path, "POST", b"{}"),
            served.ask(path, "POST", b"{}", **beta),
            served.ask(path, "POST", b"{}", **beta | {"x_client_version": "1.9"}),
            served.ask(path + "?a=1&preview", "POST", b"{}"),
            served.ask(path, "DELETE"),
        ]
        told = [(await each).backend for each in asked]
        assert told == ["iris-v1", "iris-v2", "iris-v1", "iris-v2", "trainer"]
        assert (await served.ask("/v1/models/rose")).status == 404
        state = await served.running.state()
        assert state["routes"][0]["conditions"] == [
            "cookie terms present", "header x-client-version regex 2\\..*", "header x-cohort beta",
        ]  # fmt: skip


async def test_a_cohort_has_a_split_of_its_own_and_a_tag_leads_directly(tmp_path: Path) -> None:
    """The others' split stays exact, and no pod hears of the tag."""
    async with example("cohorts.yaml", tmp_path) as served:
        others: Counter[str] = Counter()
        for number in range(100):
            others[(await served.ask()).backend] += 1
            if number % 10 == 0:
                assert (await served.ask(x_cohort="treatment")).backend == "iris-v2"
                assert (await served.ask(x_cohort="control", x_tidegate_tag="next")).backend == "iris-v1"
                tagged = await served.ask(x_tidegate_tag="next")
                assert (tagged.backend, tagged.headers["x-tidegate-backend"]) == ("iris-v3", "iris-v3")
                assert "x-tidegate-tag" not in tagged.pod["headers"]
        assert others == {"iris-v1": 90, "iris-v2": 10}
        (route,) = (await served.running.state())["routes"]
        assert route["tags"] == {"canary": "iris-v2", "next": "iris-v3"}
        assert route["rules"][0] == {"conditions": ["header x-cohort treatment"], "split": {"iris-v2": 1}}


async def test_a_user_keeps_the_version_over_restarts(tmp_path: Path) -> None:
    """By the id that the application sends, in whatever process."""
    users = [f"user-{number}" for number in range(40)]
    seen = []
    for _ in range(2):
        async with example("sticky.yaml", tmp_path) as served:
            seen += [[(await served.ask("/v1", x_user_id=user)).backend for user in users] for _ in range(2)]
    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert set(seen[0]) == {"iris-v1", "iris-v2"}


async def test_a_higher_weight_moves_users_towards_it_alone(tmp_path: Path) -> None:
    """A saved file takes effect, and nobody leaves the version that grew."""
    async with example("sticky.yaml", tmp_path) as served:
        users = [f"user-{number}" for number in range(100)]
        before = [(await served.ask("/v1", x_user_id=user)).backend for user in users]
        config = json.loads(served.running.path.read_text())
        config["routes"][0]["split"] = {"iris-v1": 50, "iris-v2": 50}
        served.running.path.write_text(json.dumps(config))
        async with asyncio.timeout(10):
            while (await served.running.state())["routes"][0]["split"]["iris-v2"] != 50:
                await asyncio.sleep(0.05)
        after = [(await served.ask("/v1", x_user_id=user)).backend for user in users]
        moved = {(old, new) for old, new in zip(before, after, strict=True) if old != new}
        assert moved == {("iris-v1", "iris-v2")}


async def test_a_browser_gets_a_cookie_that_leads_back(tmp_path: Path) -> None:
    """It is set once, with the attributes that are asked for."""
    async with example("sticky.yaml", tmp_path) as served:
        for _ in range(20):
            first = await served.ask("/")
            value, *attributes = first.headers["set-cookie"].split("; ")
            assert attributes == [
                "Path=/",
                "SameSite=Lax",
                "Max-Age=86400",
                "HttpOnly",
            ]
            again = await served.ask("/", cookie=f"other=1; {value}")
            assert again.backend == first.backend
            assert "set-cookie" not in again.headers


async def test_a_signed_cookie_cannot_be_made_up(tmp_path: Path) -> None:
    """One that is not ours is replaced."""
    (tmp_path / "sticky.key").write_text("0123456789abcdef0123456789abcdef\n")
    signed = {"cookie": {"name": "version", "secret_file": "sticky.key"}}
    async with example("sticky.yaml", tmp_path, routes={"browsers": {"sticky": signed}}) as served:
        value = (await served.ask("/")).headers["set-cookie"].partition(";")[0]
        assert "set-cookie" not in (await served.ask("/", cookie=value)).headers
        for made_up in (
            "version=abc",
            value[:-1] + ("0" if value[-1] != "0" else "1"),
            value.partition(".")[0],
        ):
            assert (await served.ask("/", cookie=made_up)).headers["set-cookie"].startswith("version=")


@pytest.fixture
async def models(tmp_path: Path) -> AsyncIterator[Example]:
    async with example("models.yaml", tmp_path) as served:
        yield served


async def test_a_body_says_which_model_is_meant(models: Example) -> None:
    """And so do KServe's paths; whoever names none goes to the rest."""
    chat = "/v1/chat/completions"
    assert (await models.ask(chat, "POST", b'{"model": "qwen", "messages": []}')).backend == "qwen"
    assert (await models.ask(chat, "POST", b'{"messages": [{"model": "qwen"}]}')).backend == "llama"
    assert (await models.ask("/v1/models/qwen:predict", "POST", b"\xff not JSON")).backend == "qwen"
    assert (await models.ask("/v2/models/qwen/infer?x", "POST", b"{}")).backend == "qwen"
    assert (await models.ask("/v1/models")).backend == "llama"


async def test_an_alias_changes_nothing_but_the_name(models: Example) -> None:
    """Of a body with a length, of one in chunks, and of a path."""
    body = b'{"a": 1.50, "model": "gpt-4o",\n "b": "\\u0061"}'
    renamed = body.replace(b"gpt-4o", b"meta/llama-3").decode()

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 7):
            yield body[at : at + 7]

    for sent in (body, pieces()):
        told = await models.ask("/v1/chat/completions", "POST", sent, content_type="application/json")
        assert (told.backend, told.pod["body"]) == ("llama", renamed)
    told = await models.ask("/v1/models/gpt-4o:predict", "POST", b"{}")
    assert told.pod["target"] == "/v1/models/meta%2Fllama-3:predict"


async def test_what_cannot_be_looked_into_is_refused(models: Example) -> None:
    """Each with its own reason, and the connection is good for the next request."""
    refusals = []
    for body, fields in (
        (b'{"model": ', {}),
        (b"x", {"content_encoding": "br"}),
        (b'{"x": "' + b"a" * 5_000_000 + b'"}', {}),
    ):
        told = await models.ask("/v1/chat/completions", "POST", body, **fields)
        refusals.append((told.status, json.loads(told.body)["reason"]))
    assert refusals == [(400, "bad_body"), (415, "body_encoded"), (413, "body_too_large")]
    assert (await models.ask("/v1/models/qwen:predict", "POST", b"{}")).backend == "qwen"


async def test_a_large_body_does_not_hold_the_others(models: Example) -> None:
    """While megabytes are read, small requests are answered."""
    large = json.dumps({"x": [[1.5] * 30] * 15_000, "model": "qwen"}).encode()
    slow = asyncio.create_task(models.ask("/v1/chat/completions", "POST", large))
    small = [(await models.ask("/v1/models/qwen")).status for _ in range(20)]
    assert small == [200] * 20
    assert json.loads((await slow).body)["body"] == large.decode()
