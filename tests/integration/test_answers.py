"""Rewrites, redirects and fixed answers: the examples of `config/examples/`, asked over real sockets."""

from pathlib import Path

from tests.integration.examples import example


async def test_pods_and_clients_see_what_a_route_writes(tmp_path: Path) -> None:
    """Path, host and fields in both directions."""
    async with example("rewriting.yaml", tmp_path) as served:
        told = await served.ask(
            "/api/iris/v1:predict?a=/api", "POST", b"{}", authorization="secret", x_model_tier="tin"
        )
        fields = told.pod["headers"]
        assert told.pod["target"] == "/v1/models/iris/v1:predict?a=/api"
        assert (fields["host"], fields["x-model-tier"]) == ("iris.internal", "gold")
        assert fields["x-forwarded-host"] == served.running.url.removeprefix("http://")
        assert fields["cache-control"] == "no-transform"
        assert "authorization" not in fields
        assert (told.headers["server"], told.headers["strict-transport-security"]) == (
            "models",
            "max-age=31536000",
        )
        state = await served.running.state()
        assert state["routes"][0]["rewriting"]["prefix"] == "/v1/models/iris"


async def test_clients_are_led_elsewhere(tmp_path: Path) -> None:
    """With the method and the query that they came with."""
    async with example("rewriting.yaml", tmp_path) as served:
        url = served.running.url
        async with served.running.session.post(f"{url}/old/v1?x", data=b"a", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["location"]) == (308, "/api/iris/v1?x")
        async with served.running.session.post(f"{url}/old/v1?x", data=b"a") as answer:
            told = await answer.json(content_type=None)
        assert (told["target"], told["body"]) == ("/v1/models/iris/v1?x", "a")
        there = {"host": "plain.example.com"}
        async with served.running.session.get(f"{url}/a?b", headers=there, allow_redirects=False) as answer:
            assert answer.headers["location"] == "https://models.example.com/a?b"


async def test_what_is_closed_says_so(tmp_path: Path) -> None:
    """To HEAD as well; it is counted for its route."""
    async with example("rewriting.yaml", tmp_path) as served:
        told = await served.ask("/training/x", "POST", b"{}")
        assert (told.status, told.headers["retry-after"], told.headers["content-type"]) == (
            503,
            "600",
            "text/html; charset=utf-8",
        )
        assert told.body.startswith(b"<!doctype html>")
        assert (await served.ask("/training/x", "HEAD")).headers["content-length"] == str(len(told.body))
        async with served.running.session.get(f"{served.running.admin}/metrics") as answer:
            page = await answer.text()
        assert 'tidegate_requests_total{route="closed",backend="",code="503"} 2' in page
