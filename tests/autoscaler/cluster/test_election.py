"""The leader's election: what is wanted of what was observed, and never two leaders."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.cluster.election import (
    REQUEST_TIMEOUT,
    WRITES_FOR,
    Elector,
    Record,
    Step,
    wanted,
    written,
)


def held(holder: str, version: str = "7", duration: float = 10.0) -> Record:
    return Record(holder, "2030-01-01T00:00:00Z", duration, 0, version)


@pytest.mark.parametrize(
    ("record", "unchanged", "step"),
    [
        (None, 0.0, "create"),
        (held("me"), 0.0, "renew"),
        (held("me"), 60.0, "renew"),
        (held(""), 0.0, "take"),
        (held("other"), 9.9, "read"),
        (held("other"), 10.0, "take"),
        (held("other", duration=60.0), 59.0, "read"),
        (held("other", duration=60.0), 60.0, "take"),
    ],
    ids=[
        "missing",
        "mine",
        "mine, expired",
        "released",
        "held",
        "expired",
        "held for longer",
        "expired late",
    ],
)
def test_what_is_wanted_of_what_was_observed(record: Record | None, unchanged: float, step: Step) -> None:
    """A Lease is taken when it is nobody's, or was not seen to change for as long as its holder said."""
    assert wanted("me", record, unchanged) == step


def elector() -> Elector:
    return Elector("me", chance=lambda: 1.0)


def leading(sent: float = 100.0, now: float = 100.5) -> Elector:
    made = elector()
    made.answered("read", held(""), sent - 1, sent - 0.5)
    made.answered("take", held("me", "8"), sent, now)
    return made


def test_the_first_step_is_to_read() -> None:
    """Nothing is known before."""
    made = elector()
    assert (made.step(100.0), made.leads(100.0), repr(made)) == (
        "read",
        False,
        "<Elector me, held by unknown>",
    )


def test_a_leaders_time_runs_from_the_sending_of_its_renewal() -> None:
    """Eight seconds for beginning writes, nine for their end, however late the answer came."""
    made = leading(sent=100.0, now=102.0)
    assert made.leads(107.9)
    assert made.remaining(107.5) == 1.5
    assert not made.leads(108.0)
    assert made.remaining(108.0) == 0.0
    assert (made.step(102.0), made.due) == ("renew", 102.0)


def test_an_answer_that_came_after_its_time_gives_nothing() -> None:
    """The renewal went through, and others wait for it; its sender must renew before it leads."""
    made = leading(sent=100.0, now=109.0)
    assert (made.leads(109.0), made.step(109.0), made.due) == (False, "renew", 109.0)


def test_reading_another_holder_ends_leadership_at_once() -> None:
    """Whoever took it by force has it."""
    made = leading()
    made.answered("read", held("other", "9"), 101.0, 101.1)
    assert (made.leads(101.1), made.remaining(101.1), made.step(101.1)) == (False, 0.0, "read")


def test_expiry_is_waited_for_to_the_moment() -> None:
    """The next step is due at the end of the other's time, not at the next regular read after it."""
    made = elector()
    made.answered("read", held("other"), 100.0, 100.5)
    made.answered("read", held("other"), 109.0, 109.1)
    assert (made.due, made.step(109.1), made.step(110.5)) == (110.5, "read", "take")


def test_a_lease_that_was_deleted_is_not_made_anew_before_its_holders_time_is_over() -> None:
    """The holder may not know of it yet, and leads until it does."""
    made = elector()
    made.answered("read", held("other"), 100.0, 100.5)
    made.answered("read", None, 102.0, 102.5)
    assert (made.step(110.4), made.due) == ("read", 104.0)
    made.answered("read", None, 110.0, 110.4)
    assert (made.step(110.5), made.due) == ("create", 110.5)
    made.answered("read", held("other", "9"), 110.5, 110.6)
    assert made.step(120.5) == "read"
    assert made.step(120.6) == "take"


@pytest.mark.parametrize("holder", ["", "me"])
def test_a_lease_that_nobody_else_held_is_made_anew_at_once(holder: str) -> None:
    """One's own, or a released one: nobody can be hurt by it."""
    made = elector()
    made.answered("read", held(holder), 100.0, 100.5)
    made.answered("read", None, 102.0, 102.5)
    assert (made.step(102.5), made.due) == ("create", 102.5)


def test_a_change_begins_the_wait_anew() -> None:
    """Also one that came after a long silence of the API server."""
    made = elector()
    made.answered("read", held("other"), 100.0, 100.5)
    made.failed(None, 102.0, 104.5)
    assert (made.step(200.0), made.due) == ("read", 104.5)
    made.answered("read", held("other", "8"), 200.0, 200.1)
    assert made.step(210.0) == "read"
    assert made.step(210.1) == "take"


def test_after_a_conflict_the_lease_is_read_at_once_but_not_for_ever() -> None:
    """The second conflict in a row waits for the next turn."""
    made = elector()
    made.answered("read", held(""), 100.0, 100.1)
    made.failed(409, 100.1, 100.2)
    assert (made.step(100.2), made.due) == ("read", 100.2)
    made.answered("read", held(""), 100.2, 100.3)
    made.failed(409, 100.3, 100.4)
    assert made.due == 102.3


def test_resigning_says_whether_there_is_something_to_release() -> None:
    """Only what is held."""
    assert leading().resign()
    assert not elector().resign()


def test_a_lease_is_written_as_kubernetes_own_electors_do() -> None:
    """A taken one counts a transition, a renewed one keeps when it was taken, a released one names nobody."""
    first = written(None, "lease", "ns", "me", wall=0.0)
    assert first["metadata"] == {"name": "lease", "namespace": "ns"}
    assert first["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 10,
        "acquireTime": "1970-01-01T00:00:00.000000Z",
        "renewTime": "1970-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    }
    renewed = written(first, "lease", "ns", "me", wall=2.5)["spec"]
    assert (renewed["acquireTime"], renewed["renewTime"]) == (
        "1970-01-01T00:00:00.000000Z",
        "1970-01-01T00:00:02.500000Z",
    )
    released = written(first, "lease", "ns", "", wall=3.0)["spec"]
    assert [released[key] for key in ("holderIdentity", "leaseDurationSeconds", "leaseTransitions")] == [
        "",
        1,
        0,
    ]
    taken = written({**first, "spec": released}, "lease", "ns", "you", wall=4.0)["spec"]
    assert [taken[key] for key in ("holderIdentity", "leaseTransitions")] == ["you", 1]


def test_a_record_reads_what_the_api_says() -> None:
    """An empty Lease is nobody's."""
    assert Record.of({"metadata": {"resourceVersion": "3"}, "spec": None}) == Record("", "", 10.0, 0, "3")
    lease = written(None, "lease", "ns", "me", wall=0.0)
    lease["metadata"]["resourceVersion"] = "4"
    assert Record.of(lease) == Record("me", "1970-01-01T00:00:00.000000Z", 10.0, 0, "4")


# Several electors and one Lease, in simulated time.


@dataclass
class Server:
    """A Lease with optimistic concurrency."""

    record: Record | None = None
    versions: int = 0

    def serve(self, step: Step, identity: str, version: str | None) -> Record | int | None:
        """The record, None for none, or the status of a refusal."""
        if step == "read":
            return self.record
        if step == "create" and self.record is not None:
            return 409
        if step != "create" and (self.record is None or self.record.version != version):
            return 409
        self.versions += 1
        self.record = Record(identity, f"{self.versions}", 10.0, 0, f"{self.versions}")
        return self.record


@dataclass
class Member:
    """One elector with a clock of its own, which runs a little fast or slow."""

    elector: Elector
    offset: float
    rate: float
    dies_at: float | None = None
    granted: float | None = None
    """In real time, the sending of the renewal that was last answered."""

    def clock(self, real: float) -> float:
        return self.offset + real * self.rate

    def real(self, clock: float) -> float:
        return (clock - self.offset) / self.rate

    def alive(self, real: float) -> bool:
        return self.dies_at is None or real < self.dies_at


@dataclass
class Sent:
    """A request on its way, or its answer."""

    member: Member
    step: Step
    version: str | None
    sent: float
    answer: Record | int | None = None
    open: bool = True
    """Its sender still waits."""


@dataclass
class World:
    """Events in order of time; requests take `leg` each way, and are lost when `lost` says so (twice per request)."""

    members: list[Member]
    leg: Callable[[], float]
    lost: Callable[[], bool]
    server: Server = field(default_factory=Server)
    now: float = 0.0
    led: list[tuple[float, Member]] = field(default_factory=list)
    """When each leadership began or was prolonged."""
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = until

    def at(self, time: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(time, self.now), next(self._numbers), event))

    def act(self, member: Member) -> None:
        if not member.alive(self.now):
            return
        record = member.elector.record
        step = member.elector.step(member.clock(self.now))
        request = Sent(member, step, record.version if record else None, self.now)
        if not self.lost():
            self.at(self.now + self.leg(), lambda: self.arrive(request))
        self.at(self.now + REQUEST_TIMEOUT / member.rate, lambda: self.give_up(request))

    def arrive(self, request: Sent) -> None:
        request.answer = self.server.serve(request.step, request.member.elector.identity, request.version)
        if not self.lost():
            self.at(self.now + self.leg(), lambda: self.back(request))

    def give_up(self, request: Sent) -> None:
        self._end(request, None, lost=True)

    def back(self, request: Sent) -> None:
        self._end(request, request.answer, lost=False)

    def _end(self, request: Sent, answer: Record | int | None, *, lost: bool) -> None:
        member, now = request.member, request.member.clock(self.now)
        if not request.open or not member.alive(self.now):
            return
        request.open = False
        if lost or isinstance(answer, int):
            member.elector.failed(
                answer if isinstance(answer, int) else None, member.clock(request.sent), now
            )
        else:
            member.elector.answered(request.step, answer, member.clock(request.sent), now)
            if request.step != "read":
                member.granted = request.sent
        if member.elector.leads(now):
            self.check(member)
        self.at(member.real(member.elector.due), lambda: self.act(member))

    def check(self, leader: Member) -> None:
        """Nobody else leads, and whatever somebody else began to write has ended."""
        self.led.append((self.now, leader))
        for other in self.members:
            if other is not leader and other.granted is not None:
                assert other.granted + WRITES_FOR / other.rate <= self.now


def world(count: int, dice: random.Random, leg: Callable[[], float], lost: Callable[[], bool]) -> World:
    members = [
        Member(Elector(f"m{index}", dice.random), dice.uniform(0, 1e6), dice.uniform(0.99, 1.01))
        for index in range(count)
    ]
    made = World(members, leg, lost)
    for member in members:
        made.at(dice.uniform(0, 5), lambda member=member: made.act(member))  # type: ignore[misc]
    return made


@settings(max_examples=150, deadline=None)
@given(count=st.integers(2, 3), seed=st.integers(), loss=st.floats(0, 0.4), slowness=st.floats(0, 6))
def test_never_two_lead(count: int, seed: int, loss: float, slowness: float) -> None:
    """Whatever is lost, late, or arrives after its sender gave it up, and whoever dies."""
    dice = random.Random(seed)  # noqa: S311
    made = world(count, dice, lambda: dice.uniform(0, slowness) ** 2 / 6, lambda: dice.random() < loss)
    made.members[0].dies_at = dice.uniform(0, 100)
    made.run(200.0)


@settings(max_examples=150, deadline=None)
@given(count=st.integers(2, 3), seed=st.integers(), death=st.floats(20, 40), lost=st.integers(-1, 12))
def test_somebody_leads_within_15_s_of_a_leaders_death(
    count: int, seed: int, death: float, lost: int
) -> None:
    """Also when one of the requests after it is lost; until then somebody always leads."""
    dice = random.Random(seed)  # noqa: S311
    left = itertools.count()
    made = world(count, dice, lambda: dice.uniform(0, 0.05), lambda: made.now > death and next(left) == lost)
    made.run(death)
    leaders = [member for member in made.members if member.elector.leads(member.clock(made.now))]
    assert len(leaders) == 1
    leaders[0].dies_at = death
    made.run(death + 15.0)
    assert [
        member
        for member in made.members
        if member.alive(made.now) and member.elector.leads(member.clock(made.now))
    ]


def test_the_simulation_would_notice_a_second_leader() -> None:
    """An elector that takes what is held after half its time is caught."""
    dice = random.Random(1)  # noqa: S311
    made = world(2, dice, lambda: 0.01, lambda: False)
    serve = made.server.serve
    made.server.serve = lambda *request: (  # type: ignore[method-assign]
        replace(found, duration=1.0) if isinstance(found := serve(*request), Record) else found
    )
    with pytest.raises(AssertionError):
        made.run(100.0)
