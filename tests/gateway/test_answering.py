"""What an Exchange says itself, and what it adds to a pod's answer."""

from gateway.answers import Fixed, Redirect
from gateway.rewriting import Edits, Move, Rewriting
from gateway.routing import PathRule, Route, RouteTable
from gateway.splits import Split
from gateway.steering import Steering
from tests.fakes import World, read_request, settle

GET = b"GET /v1/a?b HTTP/1.1\r\nHost: a\r\nX-Old: 1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: pod\r\n\r\nok"


def rewriting(world: World, **parts: object) -> None:
    steering = Steering(rewriting=Rewriting(**parts))  # type: ignore[arg-type]
    route = Route(
        "iris",
        Split({"iris": world.ref}, {"iris": 1}),
        paths=(PathRule("prefix", b"/v1"),),
        steering=steering,
    )
    world.gateway.table = RouteTable((route,))


def answering(world: World, answer: Fixed | Redirect) -> None:
    world.gateway.table = RouteTable((Route("closed", Split({}, {}), steering=Steering(answer=answer)),))


async def test_a_pod_gets_what_its_route_writes() -> None:
    """Path, host and fields; it is still told what the client asked for."""
    world = World()
    rewriting(
        world,
        move=Move((b"/v1",), frozenset(), b"/v2"),
        host=b"internal",
        request=Edits({b"x-new": b"2"}, remove=frozenset((b"x-old",))),
    )
    world.client().send(GET)
    request, *_ = read_request(world.link.received)
    fields = dict(request.headers)
    assert request.target == b"/v2/a?b"
    assert (fields[b"host"], fields[b"x-forwarded-host"], fields[b"x-new"]) == (b"internal", b"a", b"2")
    assert b"x-old" not in fields


async def test_a_retry_is_rewritten_once() -> None:
    """What goes to the next pod is what went to the first."""
    world = World(pods=2, idle=1)
    rewriting(world, move=Move((b"/v1",), frozenset(), b"/v1/v1"))
    client = world.client().send(GET)
    first = next(pod for pod in world.pods if pod.last.received)
    first.last.hang_up()
    await settle()
    other = next(pod for pod in world.pods if pod is not first)
    assert read_request(other.last.received)[0].target == b"/v1/v1/a?b"
    other.last.say(OK)
    assert client.answer().status == 200


async def test_a_client_gets_what_its_route_writes_of_a_pods_answer() -> None:
    """The gateway's own fields come with it."""
    world = World()
    rewriting(world, response=Edits({b"server": b"tidegate"}, {b"x-frame-options": b"DENY"}))
    client = world.client().send(GET)
    world.link.say(OK)
    fields = client.answer().fields
    assert (fields[b"server"], fields[b"x-frame-options"]) == (b"tidegate", b"DENY")
    assert b"x-request-id" in fields


async def test_errors_of_our_own_are_not_written_into() -> None:
    """A `cache-control` for good answers would keep them for long."""
    world = World(pods=0)
    rewriting(world, response=Edits({b"cache-control": b"max-age=3600"}))
    world.publish(cannot_start="no such image")
    client = world.client().send(GET)
    assert client.answer().status == 503
    assert b"cache-control" not in client.answer().fields


async def test_a_fixed_answer_asks_no_pod_and_is_counted_for_its_route() -> None:
    """The connection is good for the next request; HEAD gets no body."""
    world = World()
    answering(world, Fixed(503, (b"retry-after: 600\r\n",), b"closed"))
    client = world.client().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    got, head = client.answers(b"GET", b"HEAD")
    assert (got.status, got.body, got.fields[b"retry-after"]) == (503, b"closed", b"600")
    assert (head.status, head.body, head.fields[b"content-length"]) == (503, b"", b"6")
    assert world.gateway.without["closed"].codes == {503: 2}
    assert world.gateway.without["closed"].reasons == {}
    assert world.link.received == b""
    world.assert_at_rest()


async def test_a_redirect_leads_elsewhere() -> None:
    """And one that cannot tell where is the client's fault."""
    world = World()
    answering(world, Redirect(308, b"https"))
    client = world.client().send(b"POST /x HTTP/1.1\r\nHost: a:80\r\nContent-Length: 1\r\n\r\nx")
    assert client.answer(b"POST").fields[b"location"] == b"https://a/x"
    old = world.client().send(b"GET / HTTP/1.0\r\n\r\n")
    assert old.answer().status == 400
    assert world.gateway.without["closed"].codes == {308: 1, 400: 1}
