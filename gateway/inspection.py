"""The part of an Exchange that finds its Backend where host and path are not enough, and looks into the request's body for that.

A Search says what is to be done. A body that has to be looked into is gathered whole, up to the limit that the Search names, and counted with
what the gateway holds; meanwhile it must go on coming, as any body. It is then scanned in small steps, between which the loop serves others.
What is wrong with it is the client's: 413 larger than the limit, 415 compressed, 400 not JSON. A client that waits for
100 Continue gets it from here, since no pod is asked before the body is there. `exchange` is the rest of an Exchange.
"""

from functools import partial
from math import inf
from typing import TYPE_CHECKING

from gateway.asked import Asked
from gateway.bodies import HELD_MOST
from gateway.conditions import Look
from gateway.errors import BAD_BODY, BODY_ENCODED, BODY_TOO_LARGE, NO_ROUTE, GatewayError
from gateway.fallingback import FallingBack
from gateway.http1 import ResponseHead
from gateway.jsonscan import PROMPT_MEMBERS, NotJsonError, Scan
from gateway.modelnames import MEMBER, in_target, put_into_body, put_into_target
from gateway.search import Search
from gateway.terms import BackendRef

if TYPE_CHECKING:
    from gateway.answers import Fixed, Redirect
    from gateway.modelnames import Found
    from gateway.routing import Candidates, Route
    from gateway.standing import Standing

_WANTED = PROMPT_MEMBERS | {MEMBER}


class Inspecting(FallingBack):
    """The part of an Exchange before its Backend is known. `Exchange` fills the attributes, as everywhere."""

    __slots__ = ("_begun", "_look", "_trailers")

    _begun: float
    _look: int
    """How large a body that is being gathered may be; 0: none is."""
    _trailers: list[bytes]

    def _answer(self, answer: "Fixed | Redirect") -> None:
        """Its Route needs no pod."""
        raise NotImplementedError

    def _steer(self, found: "Route[BackendRef] | Candidates[BackendRef]") -> BackendRef | None:
        """The Backend; None: the request has ended, or goes on later by `_set_out`."""
        client = self._client
        assert client is not None  # noqa: S101  # it has just asked
        asked = Asked(self._head, client.origin.client)
        self._search = search = Search(found, asked, self._gateway.draw)
        return self._advance(search)

    def _advance(self, search: Search, *, again: bool = False) -> BackendRef | None:
        step = search.advance()
        if step is None:
            self.fail(
                GatewayError(NO_ROUTE, f"no route matches {self._head.place} and what else it asks for")
            )
        elif isinstance(step, Look):
            self._look_into(search, step.limit)
        elif isinstance(step, BackendRef):
            anew = self._search_anew(search.asked) if step.backend.removed and not again else None
            if anew is not None:
                return self._advance(anew, again=True)
            self._rank(search)
            alias = search.alias_for
            if alias is not None:
                self._rename(search.asked, alias)
            self._prepare(search)
            return step
        else:
            self._answer(step)
        return None

    def _search_anew(self, asked: Asked) -> Search | None:
        """Its body took long, and another configuration holds by now, in which its Backend is no more."""
        found = self._gateway.table.match(self._head.host or b"", self._head.target)
        if found is not None:
            self._search = Search(found, asked, self._gateway.draw)
        return None if found is None else self._search

    @property
    def standing(self) -> "Standing":
        search = self._search
        return super().standing if search is None or search.standing is None else search.standing

    def _rank(self, search: Search) -> None:
        """What it is to a queue, where its header tells."""
        steering = search.route.steering if search.route is not None else None
        if steering is not None and steering.ranking is not None and self._client is not None:
            search.standing = steering.ranking.standing(search.asked, trusted=self._client.origin.trusted)

    def _prepare(self, search: Search) -> None:
        """What its Route does with the request on its way, and with whoever waits."""
        head = self._head
        steering = search.route.steering if search.route is not None else None
        if steering is None:
            return
        search.fallback, search.mirror = steering.fallback, steering.mirror
        if steering.placeholder is not None and steering.placeholder.suits(head):
            search.placeholder = steering.placeholder
        if steering.rewriting is not None:
            steering.rewriting.apply(head)
            search.response = steering.rewriting.response

    # -- the body

    def _look_into(self, search: Search, limit: int) -> None:
        head, client = self._head, self._client
        encoding = search.asked.header(b"content-encoding")
        if encoding is not None and encoding.lower() not in {b"", b"identity"}:
            detail = f"this route looks into bodies, and cannot into one with content-encoding {encoding.decode('latin-1')!r}"
            self.fail(GatewayError(BODY_ENCODED, detail))
            return
        self._look = limit
        # Of several Routes the first one's: nobody knows yet whose the request is.
        upcoming = search.upcoming()
        self._timeouts = timeouts = upcoming[0].timeouts if upcoming else self._timeouts
        if timeouts.request:
            self._total_due = self._begun + timeouts.request
            self._arm(self._total_due)
        if head.content_length > limit or self._held_bytes > limit:
            self._fail_too_large()
            return
        if client is not None and self._held_bytes > HELD_MOST:
            client.resume()
        if head.expect_continue and not self._held_bytes and client is not None:
            client.interim(ResponseHead(100))
            head.lines = [line for line in head.lines if not line.startswith(b"expect:")]
        self._gathered()

    def _gather(self, data: bytes) -> None:
        """More of a body that is looked into."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > self._look:
            self._fail_too_large()
        else:
            self._gathered()

    def _gathered(self) -> None:
        if not self._weigh():
            return
        if not self._request_done:
            self._expect_progress()
            return
        self._look = 0
        self._due = inf
        body = b"".join(self._held)
        if not body:
            self._looked(b"", {})
            return
        self._held = [body]
        try:
            scan = Scan(body, _WANTED)
        except NotJsonError as error:
            self._fail_not_json(error)
        else:
            self._scan(body, scan)

    def _scan(self, body: bytes, scan: Scan) -> None:
        if self._over:
            return
        try:
            done = scan.step()
        except NotJsonError as error:
            self._fail_not_json(error)
            return
        if not done:
            self._gateway.chores.add(partial(self._scan, body, scan))
            return
        self._looked(body, scan.found)

    def _looked(self, body: bytes, found: "Found") -> None:
        search = self._search
        assert search is not None  # noqa: S101  # it asked for this
        self._total_due = inf
        search.asked.look(body, found)
        ref = self._advance(search)
        if ref is not None:
            self._set_out(ref, self._held_bytes, self._gateway.now())

    def _rename(self, asked: Asked, name: str) -> None:
        """Ask for another model: these bytes alone change, and the length with them."""
        head = self._head
        if in_target(head.target) is not None:
            head.target = put_into_target(head.target, name)
            return
        body = put_into_body(asked.body, asked.found, name)
        self._held = [body]
        self._held_bytes = len(body)
        if head.content_length >= 0:
            before = b"content-length: %d\r\n" % head.content_length
            head.content_length = len(body)
            after = b"content-length: %d\r\n" % len(body)
            head.lines = [after if line == before else line for line in head.lines]

    def _fail_too_large(self) -> None:
        detail = f"the body has more than {self._look} bytes, which is what this route looks into"
        self.fail(GatewayError(BODY_TOO_LARGE, detail))

    def _fail_not_json(self, error: NotJsonError) -> None:
        self.fail(GatewayError(BAD_BODY, f"this route looks into JSON bodies: {error}"))
