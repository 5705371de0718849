"""An Exchange that looks into its request before it knows its Backend: bodies are gathered, read and renamed, and nothing else changes."""

import json
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.affinity import Affinity
from gateway.asked import Source
from gateway.backend import Limits
from gateway.conditions import Condition, Conditions, Look
from gateway.routing import Route, RouteTable
from gateway.splits import Split
from gateway.steering import Steering
from gateway.sticky import Cookie, Rendezvous, Sticky
from gateway.terms import Timeouts
from tests.fakes import Client, World, read_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def world(
    limit: int = 1000,
    steering: Steering | None = None,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
) -> World:
    """One Route for the model iris, which gpt-4o is another name of."""
    made = World(timeouts=timeouts, limits=limits)
    models = Conditions(models=frozenset(("iris", "gpt-4o")), look=Look(limit))
    steering = steering or Steering(aliases={"gpt-4o": "iris"}, look=Look(limit))
    split = Split({"iris": made.ref}, {"iris": 1})
    made.gateway.table = RouteTable((Route("iris", split, conditions=models, steering=steering),))
    return made


def post(
    body: bytes, *fields: bytes, target: bytes = b"/v1/chat/completions", length: int | None = None
) -> bytes:
    framing = b"content-length: %d" % (len(body) if length is None else length)
    return b"\r\n".join((b"POST %b HTTP/1.1" % target, b"host: a", *fields, framing, b"", body))


def chunked(*pieces: bytes) -> list[bytes]:
    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head, *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), b"0\r\nx-trailer: t\r\n\r\n"]


def target_of(*, framed: bool) -> bytes:
    return b"/" if framed else b"/v1/chat/completions"


def problem(client: Client) -> tuple[int, str, str]:
    answer = client.answer(b"POST")
    details = json.loads(answer.body)
    return answer.status, details["reason"], details["detail"]


class TestWhole:
    def test_a_body_that_names_the_model_goes_on_as_it_came(self) -> None:
        """Byte for byte, in however many pieces."""
        for cut in (0, 1, 10, 30):
            w = world()
            body = b'{"messages": [],\n "model":"iris", "x": 1.0}'
            whole = post(body)
            at = len(whole) - len(body) + cut
            client = w.client().send(whole[:at], whole[at:])
            _, received, _, complete = read_request(w.link.received)
            assert (received, complete) == (body, True)
            w.link.say(OK)
            assert client.answer(b"POST").body == b"ok"
            w.assert_at_rest()

    def test_a_reload_that_removes_its_backend_meanwhile_costs_it_nothing(self) -> None:
        """It goes where the new configuration sends it."""
        w = world()
        body = b'{"model": "gpt-4o"}'
        client = w.client().send(post(b"", length=len(body)), body[:-1])
        other = World()
        w.gateway.table = other.gateway.table
        w.gateway.apply(w.backend, w.backend.remove(w.loop.now))
        client.send(body[-1:])
        assert read_request(other.link.received)[1] == body
        other.link.say(OK)
        assert client.answer(b"POST").status == 200
        assert w.backend.stats.begun == 0
        w.assert_at_rest()
        other.assert_at_rest()

    def test_a_backend_that_is_removed_meanwhile_is_asked_no_more(self) -> None:
        """Nobody would know of the request that is open to its pod, which may be gone the next moment."""
        w = world()
        body = b'{"model": "iris"}'
        client = w.client().send(post(b"", length=len(body)), body[:-1])
        w.gateway.apply(w.backend, w.backend.remove(w.loop.now))
        client.send(body[-1:])
        assert problem(client)[:2] == (503, "backend_removed")
        assert w.link.received == b""
        w.assert_at_rest()

    def test_no_pod_hears_of_a_request_before_its_body_is_there(self) -> None:
        """Nor is a slot taken."""
        w = world()
        body = b'{"model": "iris"}'
        client = w.client().send(post(b"", length=len(body)), body[:-1])
        assert (w.link.received, w.backend.in_flight) == (b"", 0)
        client.send(body[-1:])
        assert w.backend.in_flight == 1
        assert w.link.received.endswith(body)

    def test_gathering_a_body_is_no_waiting_for_a_slot(self) -> None:
        """Its time in the queue begins when it joins it, behind those who came meanwhile, so that waits end in their order."""
        w = world(limits=Limits(concurrency=1, queue_timeout=10.0))
        body = b'{"model": "iris"}'
        w.client().send(post(body))
        slow = w.client().send(post(b"", length=len(body)), body[:-1])
        w.advance(8.0)
        other = w.client().send(post(body))
        w.advance(4.0)
        slow.send(body[-1:])
        w.advance(5.0)
        assert (other.received, slow.received) == (b"", b"")
        waited = [w.loop.now - waiter.since for waiter in w.backend.breaker.waiting]
        assert waited == pytest.approx([9.0, 5.0])
        w.advance(2.0)
        assert (problem(other)[:2], slow.received) == ((503, "queue_timeout"), b"")
        w.advance(4.0)
        assert problem(slow)[:2] == (503, "queue_timeout")

    def test_gathering_a_body_is_no_waiting_for_an_answer(self) -> None:
        """The pod has the whole of its time from when it has the request; nor was a slot taken before."""
        w = world(timeouts=Timeouts(response=2.0))
        body = b'{"model": "iris"}'
        slow = w.client().send(post(b"", length=len(body)), body[:-1])
        w.advance(3.0)
        slow.send(body[-1:])
        w.advance(1.0)
        assert w.backend.stats.in_flight.total(w.loop.now) == pytest.approx(1.0)
        w.link.say(OK)
        assert slow.answer(b"POST").body == b"ok"
        w.assert_at_rest()

    def test_an_alias_is_replaced_and_the_length_with_it(self) -> None:
        """Nothing else changes."""
        w = world()
        w.client().send(post(b'{ "a": 1.50,"model" : "gpt-4o" , "b":"\\u0061"}', b"x-a: 1"))
        request, received, _, complete = read_request(w.link.received)
        assert received == b'{ "a": 1.50,"model" : "iris" , "b":"\\u0061"}'
        assert complete
        lengths = [value for name, value in request.headers if name == b"content-length"]
        assert lengths == [b"%d" % len(received)]

    def test_a_chunked_body_stays_chunked_and_keeps_its_trailers(self) -> None:
        """It is framed anew."""
        w = world()
        w.client().send(*chunked(b'{"mod', b'el": "gpt', b'-4o"}'))
        _, received, trailers, complete = read_request(w.link.received)
        assert (received, trailers, complete) == (b'{"model": "iris"}', {b"x-trailer": b"t"}, True)

    def test_an_alias_in_a_path_is_replaced_without_a_look_at_the_body(self) -> None:
        """Which may be anything."""
        w = world()
        w.client().send(post(b"\xff\x00", target=b"/v2/models/gpt-4o/infer?x=gpt-4o"))
        assert w.link.received.startswith(b"POST /v2/models/iris/infer?x=gpt-4o HTTP/1.1\r\n")
        assert w.link.received.endswith(b"\xff\x00")

    def test_a_chunked_body_without_a_byte_names_no_model(self) -> None:
        """As one that is not there."""
        w = world()
        client = w.client().send(*chunked())
        assert client.answer(b"POST").status == 404

    def test_a_request_for_another_model_finds_no_route(self) -> None:
        """The next request on the connection is served."""
        w = world()
        client = w.client().send(post(b'{"model": "rose"}'))
        assert client.answer(b"POST").status == 404
        client.send(post(b'{"model": "iris"}'))
        w.link.say(OK)
        assert [answer.status for answer in client.answers(b"POST", b"POST")] == [404, 200]

    def test_a_large_body_is_held_beyond_what_others_may_be(self) -> None:
        """Up to the limit, without a pause, and counted; it is read in turns of the loop."""
        w = world(limit=500_000)
        body = json.dumps({"x": ["a" * 100] * 3000, "model": "iris"}).encode()
        client = w.client().send(post(b"", length=len(body)))
        for at in range(0, len(body) - 1000, 50_000):
            assert (client.transport.reading, w.gateway.buffered.held) == (True, at)
            client.send(body[at : at + 50_000])
        _, received, _, complete = read_request(w.link.received)
        assert (received, complete) == (body, True)
        w.link.say(OK)
        assert client.answer(b"POST").status == 200
        assert w.gateway.buffered.held == 0

    def test_a_client_that_asks_whether_to_send_is_told_to(self) -> None:
        """By us: no pod is asked before the body is there, nor then."""
        w = world()
        body = b'{"model": "iris"}'
        client = w.client().send(post(b"", b"expect: 100-continue", length=len(body)))
        assert client.answer(b"POST").interims == [100]
        client.send(body)
        assert b"expect" not in w.link.received
        w.link.say(OK)
        assert (client.answer(b"POST").interims, client.answer(b"POST").status) == ([100], 200)


class TestLaws:
    @settings(deadline=None, max_examples=100)
    @given(st.booleans(), st.sampled_from([b"iris", b"gpt-4o"]), st.lists(st.integers(1, 200), max_size=6))
    def test_a_pod_gets_the_same_however_a_request_comes_in(
        self, framed: bool, name: bytes, cuts: list[int]
    ) -> None:  # hypothesis gives it by its name
        """Whole or in any pieces, with a length or in chunks."""
        w = world()
        body = b'{"messages": [{"role": "user", "content": "\\u0061\\n"}], "model": "%b", "n": 1.0}' % name
        whole = b"".join(chunked(body[:20], body[20:])) if framed else post(body)
        ends = sorted({0, *(cut for cut in cuts if cut < len(whole)), len(whole)})
        client = w.client().send(*(whole[a:b] for a, b in pairwise(ends)))
        request, received, _, complete = read_request(w.link.received)
        assert (request.target, received, complete) == (
            target_of(framed=framed),
            body.replace(b"gpt-4o", b"iris"),
            True,
        )
        w.link.say(OK)
        assert client.answer(b"POST").body == b"ok"
        w.assert_at_rest()
        assert w.gateway.buffered.held == 0

    @settings(deadline=None, max_examples=100)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda value: (
                st.lists(value)
                | st.dictionaries(st.sampled_from(["model", "prompt", "messages", "role"]), value)
            ),
        ),
        st.sampled_from(["", " ", "\n"]),
    )
    @example("x", "")
    def test_whatever_a_body_says_its_request_ends(self, said: object, before: str) -> None:
        """At a pod, or with an answer of the gateway's own: a text is a body as well."""
        w = world(steering=Steering(look=Look(1000)))
        w.ref.affinity = Affinity(prompt=10, look=Look(1000))
        client = w.client().send(post((before + json.dumps(said)).encode()))
        if not client.received:
            w.link.say(OK)
        assert client.answer(b"POST").status in {200, 404, 413}
        w.assert_at_rest()


class TestRefused:
    @pytest.mark.parametrize("body", [b"x", b'{"model": "iris"', b"\xff", b'{"model": "iris"} x'])
    def test_a_body_that_is_no_json_is_400(self, body: bytes) -> None:
        """With the place where it ceases to be."""
        w = world()
        client = w.client().send(post(body))
        status, reason, detail = problem(client)
        assert (status, reason) == (400, "bad_body")
        assert detail.startswith("this route looks into JSON bodies: ")
        assert w.link.received == b""
        assert w.gateway.buffered.held == 0

    def test_a_body_that_is_too_large_is_413_before_it_is_sent(self) -> None:
        """By its length."""
        w = world(limit=10)
        client = w.client().send(post(b"", b"expect: 100-continue", length=11))
        assert problem(client) == (
            413,
            "body_too_large",
            "the body has more than 10 bytes, which is what this route looks into",
        )
        assert client.answer(b"POST").interims == []

    def test_a_chunked_body_is_413_as_soon_as_it_is_too_large(self) -> None:
        """It has no length to tell by."""
        w = world(limit=10)
        client = w.client().send(*chunked(b'{"model":', b'"iris"}')[:3])
        assert problem(client)[:2] == (413, "body_too_large")
        assert w.gateway.buffered.held == 0

    def test_a_compressed_body_is_415(self) -> None:
        """Identity is none."""
        w = world()
        client = w.client().send(post(b"x", b"content-encoding: gzip"))
        assert problem(client)[:2] == (415, "body_encoded")
        client = w.client().send(post(b'{"model": "iris"}', b"content-encoding: Identity"))
        assert w.backend.in_flight == 1

    def test_a_body_that_stops_coming_is_408(self) -> None:
        """By the Route's own time, as one that goes to a pod."""
        w = world(timeouts=Timeouts(idle=5))
        client = w.client().send(post(b"", length=10), b"{")
        w.advance(4)
        client.send(b" ")
        w.advance(4)
        assert client.received == b""
        w.advance(2)
        assert problem(client)[:2] == (408, "body_timeout")

    def test_a_body_that_comes_too_slowly_is_504(self) -> None:
        """The Route's bound on everything counts from the head."""
        w = world(timeouts=Timeouts(idle=5, request=8))
        client = w.client().send(post(b"", length=10), b"{")
        w.advance(4)
        client.send(b" ")
        w.advance(4.1)
        assert problem(client)[:2] == (504, "request_timeout")

    def test_a_request_that_waits_after_it_was_read_has_its_routes_deadlines(self) -> None:
        """Not those of its body."""
        w = world(timeouts=Timeouts(idle=1))
        w.pod.ready = False
        w.publish()
        client = w.client().send(post(b'{"model": "iris"}'))
        w.advance(5)
        assert (client.received, w.backend.breaker.queued) == (b"", 1)

    def test_a_body_without_room_is_503(self) -> None:
        """The gateway's bound on what it holds counts these, too."""
        w = world()
        w.gateway.buffered.bound = 10
        client = w.client().send(post(b"", length=12), b'{"a": "bbbbb')
        assert problem(client)[:2] == (503, "overloaded")
        assert w.gateway.buffered.held == 0

    def test_a_client_that_leaves_meanwhile_is_499(self) -> None:
        """Nothing of it is kept."""
        w = world()
        client = w.client().send(post(b"", length=10), b"{")
        client.vanish()
        assert w.gateway.unrouted.codes == {499: 1}
        assert w.gateway.buffered.held == 0

    def test_a_client_that_leaves_while_its_body_is_read_is_499(self) -> None:
        """The rest is not read."""
        w = world(limit=10**6)
        body = b'{"x": [' + b"[[[]]], " * 20_000 + b'0], "model": "iris"}'
        client = w.client()
        whole = post(body)
        for at in range(0, len(whole), 16384):
            client.protocol.data_received(whole[at : at + 16384])
        client.transport.lose(ConnectionResetError(104, "reset by peer"))
        w.loop.run()
        assert w.gateway.unrouted.codes == {499: 1}
        assert (w.link.received, w.gateway.buffered.held) == (b"", 0)


class TestSteered:
    def test_a_new_cookie_comes_with_the_answer(self) -> None:
        """Whoever brings it back gets no other."""
        cookie = Cookie(b"tg", b"; Path=/; HttpOnly")
        w = world()
        keyed = Rendezvous((("iris", 1, w.ref),))
        steering = Steering(sticky=Sticky(Source("cookie", b"tg"), cookie), keyed=keyed)
        w.gateway.table = RouteTable((Route("iris", Split({"iris": w.ref}, {"iris": 1}), steering=steering),))
        client = w.client().send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        w.link.say(OK)
        value = client.answer().fields[b"set-cookie"].partition(b";")
        assert len(value[0]) == len(b"tg=") + 32
        assert value[2] == b" Path=/; HttpOnly"
        again = w.client().send(b"GET / HTTP/1.1\r\nhost: a\r\ncookie: %b\r\n\r\n" % value[0])
        w.link.say(OK)
        assert b"set-cookie" not in again.answer().fields

    def test_a_backend_at_zero_is_woken_for_its_users(self) -> None:
        """Sticky means sticky."""
        w = World(pods=0)
        steering = Steering(sticky=Sticky(Source("client_address")), keyed=Rendezvous((("iris", 1, w.ref),)))
        w.gateway.table = RouteTable((Route("iris", Split({"iris": w.ref}, {"iris": 1}), steering=steering),))
        w.client().send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (w.nudges, w.backend.breaker.queued) == (1, 1)

    def test_the_tag_is_not_for_pods(self) -> None:
        """Nor for those who come before a name like it."""
        w = World()
        w.client().send(
            b"GET / HTTP/1.1\r\nhost: a\r\nX-Tidegate-Tag: canary\r\nx-tidegate-other: 1\r\nx_tidegate_tag: c\r\n\r\n"
        )
        assert b"idegate-" not in w.link.received.lower().replace(b"via: 1.1 tidegate", b"").replace(
            b"_", b"-"
        )

    def test_no_route_may_be_left_for_a_request(self) -> None:
        """Whose host and path are known, but not with what else it says."""
        w = World()
        asks = Conditions(values=frozenset((Condition(Source("header", b"x-a"), "present"),)))
        w.gateway.table = RouteTable((Route("iris", w.route.split, conditions=asks),))
        client = w.client().send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert client.answer().status == 404
        assert w.gateway.unrouted.reasons == {"no_route": 1}


class TestHalfClosed:
    @pytest.mark.parametrize("half_close", [False, True])
    def test_a_client_that_closes_its_side_while_its_body_is_read_waits_where_a_route_says_so(
        self, *, half_close: bool
    ) -> None:
        """Whichever of the Routes that may take it."""
        w = world(limit=10**6)
        w.ref.half_close = half_close
        whole = post(b'{"x": [' + b"[[[]]], " * 20_000 + b'0], "model": "iris"}')
        client = w.client()
        client.protocol.data_received(whole[:-10])
        client.protocol.data_received(whole[-10:])
        client.close()
        if half_close:
            w.link.say(OK)
            assert client.answer(b"POST").status == 200
        else:
            assert w.gateway.unrouted.codes == {499: 1}

    def test_a_request_behind_another_waits_where_a_route_says_so(self) -> None:
        """Its turn comes after the client has closed its side."""
        w = world()
        w.ref.half_close = True
        body = b'{"model": "iris"}'
        client = w.client().send(post(body) + post(body))
        client.close()
        w.link.say(OK)
        w.link.say(OK)
        assert [answer.status for answer in client.answers(b"POST", b"POST")] == [200, 200]
