"""What a gateway tells each second, and what it leaves out."""

import pytest

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.beats import MOST_WAITERS, BeatMaker
from gateway.breaker import Endpoint, Waiter
from gateway.stats import LATENCY_BOUNDS, Beat, Stat, encode_stats


def pods(*names: str, draining: bool = False) -> Endpoints:
    return Endpoints(
        tuple(EndpointInfo(name, "127.0.0.1", 9000, ready=True, draining=draining) for name in names)
    )


def served(name: str = "iris", concurrency: int = 1) -> Backend:
    backend: Backend = Backend(name, Limits(concurrency=concurrency), 0.0)
    backend.update(pods(f"{name}-pod"), 0.0)
    return backend


def enter(backend: Backend, now: float) -> Endpoint:
    endpoint = backend.enter(now)
    assert endpoint is not None
    return endpoint


def test_a_beat_carries_what_happened_since_the_last() -> None:
    """Integrals and counts are differences; what is open and waiting is of the moment."""
    maker, backend = BeatMaker("g", 0.0), served()
    endpoint = enter(backend, 0.25)
    backend.wait(Waiter("second", 0.5), 0.5)
    beat = maker.beat([backend], 1.0)
    assert beat == Beat(
        "g", 1, 1.0, {"iris": Stat(0.75, 0.5, begun=2, in_flight=1, queued=1, endpoints={"iris-pod": 1})}
    )
    backend.leave(endpoint, 1.5)
    beat = maker.beat([backend], 2.0)
    assert beat.stats["iris"] == Stat(
        1.0,
        0.5,
        begun=0,
        ended=1,
        waits=1,
        wait_seconds=1.0,
        in_flight=1,
        queued=0,
        endpoints={"iris-pod": 1},
    )


def test_a_beat_may_be_made_in_parts() -> None:
    """The same as at once; each part says what it read, to be encoded."""
    backends = [served(f"model-{n}") for n in range(5)]
    for backend in backends[:4]:
        enter(backend, 0.5)
    backends[4].update(pods("leaves", draining=True), 0.5)
    whole, parts = BeatMaker("g", 0.0), BeatMaker("g", 0.0)
    expected = whole.beat(backends, 1.0)
    parts.begin(1.0)
    encoded = [encode_stats(parts.add(backends[at : at + 2], 1.0)) for at in (0, 2, 4)]
    beat = parts.end()
    assert beat == expected
    assert beat.encode(",".join(filter(None, encoded))) == expected.encode()


def test_a_backend_that_is_read_later_loses_no_second() -> None:
    """Its seconds run from one reading to the next."""
    maker, backend = BeatMaker("g", 0.0), served()
    enter(backend, 0.0)
    seconds = []
    for now in (1.02, 2.01, 3.03):
        maker.begin(now - 0.01)
        maker.add([backend], now)
        seconds.append(maker.end().stats["iris"].in_flight_seconds)
    assert sum(seconds) == pytest.approx(3.03)


def test_beats_add_up_to_the_whole() -> None:
    """Nothing is counted twice or lost between two beats."""
    maker, backend = BeatMaker("g", 0.0), served(concurrency=0)
    total, begun = 0.0, 0
    for second in range(1, 6):
        endpoint = enter(backend, second - 0.5)
        stat = maker.beat([backend], float(second)).stats["iris"]
        backend.leave(endpoint, second + 0.25)
        total, begun = total + stat.in_flight_seconds, begun + stat.begun
    last = maker.beat([backend], 6.0).stats["iris"]
    assert total + last.in_flight_seconds == backend.stats.in_flight.total(6.0) == 5 * 0.75
    assert begun + last.begun == 5


def test_an_idle_backend_is_left_out() -> None:
    """Absent means zero."""
    maker, backend = BeatMaker("g", 0.0), served()
    assert maker.beat([backend], 1.0).stats == {}


def test_a_request_that_came_and_went_within_a_beat_is_told() -> None:
    """Nothing is open as the beat is made, yet something happened."""
    maker, backend = BeatMaker("g", 0.0), served()
    backend.leave(enter(backend, 0.25), 0.5)
    stat = maker.beat([backend], 1.0).stats["iris"]
    assert (stat.begun, stat.ended, stat.in_flight, stat.endpoints) == (1, 1, 0, {})
    assert stat.in_flight_seconds == 0.25
    assert maker.beat([backend], 2.0).stats == {}


def test_beats_are_numbered_and_cover_the_time_since_the_last() -> None:
    """A late beat says so: it covers more than a second."""
    maker = BeatMaker("g", 0.0)
    beats = [maker.beat([], now) for now in (1.0, 2.5)]
    assert [(beat.seq, beat.duration, beat.nudge) for beat in beats] == [(1, 1.0, False), (2, 1.5, False)]
    assert repr(maker) == "<BeatMaker g seq=2>"


def test_a_draining_endpoint_is_named_until_it_is_gone() -> None:
    """Idle or busy, so that the autoscaler knows what this gateway has seen, and when it is done."""
    maker, backend = BeatMaker("g", 0.0), served()
    endpoint = enter(backend, 0.0)
    backend.update(pods("iris-pod", draining=True), 0.5)
    assert maker.beat([backend], 1.0).draining == {"iris": {"iris-pod": 1}}
    backend.leave(endpoint, 1.5)
    assert maker.beat([backend], 2.0).draining == {"iris": {"iris-pod": 0}}
    assert maker.beat([backend], 3.0) == Beat("g", 3, 1.0, {}, {"iris": {"iris-pod": 0}})
    backend.update(Endpoints(), 3.5)
    assert maker.beat([backend], 4.0).draining == {}


def test_a_nudge_tells_this_moment_and_takes_nothing_from_the_next_beat() -> None:
    """It carries counts only, with the last beat's number."""
    maker = BeatMaker("g", 0.0)
    backend: Backend = Backend("iris", Limits(), 0.0)
    maker.beat([backend], 1.0)
    backend.wait(Waiter("first", 1.25), 1.25)
    assert maker.nudge(backend) == Beat("g", 1, 0.0, {"iris": Stat(queued=1)}, nudge=True)
    assert maker.beat([backend], 2.0).stats["iris"] == Stat(queued_seconds=0.75, begun=1, queued=1)


def test_a_backend_that_comes_back_under_its_name_starts_from_zero() -> None:
    """A configuration may drop a Backend and name it again: its counts began anew, and no difference is negative."""
    maker, old = BeatMaker("g", 0.0), served()
    for _ in range(3):
        old.leave(enter(old, 0.0), 0.5)
    maker.beat([old], 1.0)
    maker.beat([], 2.0)
    new = served()
    new.leave(enter(new, 2.25), 2.5)
    stat = maker.beat([new], 3.0).stats["iris"]
    assert (stat.begun, stat.ended, stat.in_flight_seconds) == (1, 1, 0.25)


def test_a_backend_that_came_back_between_two_beats_starts_from_zero() -> None:
    """Two reloads within a second: a difference from what the old one counted would be less than nothing."""
    maker, old = BeatMaker("g", 0.0), served()
    for _ in range(3):
        old.leave(enter(old, 0.0), 0.5)
    maker.beat([old], 1.0)
    new = served()
    new.leave(enter(new, 1.25), 1.5)
    stat = maker.beat([new], 2.0).stats["iris"]
    assert (stat.begun, stat.ended, stat.in_flight_seconds) == (1, 1, 0.25)


def test_a_start_is_told_in_the_next_beat() -> None:
    """As ages, since clocks differ; and read back from a line of the stream."""
    maker, backend = BeatMaker("g", 0.0), Backend("iris", Limits(), 0.0)
    backend.wait(Waiter("w", 1.0), 1.0)
    [(_, endpoint)] = backend.update(pods("a"), 3.0).granted
    backend.activator.answered(endpoint.uid, 3.5)
    beat = maker.beat([backend], 4.0)
    assert beat.stats["iris"].started == {"a": (3.0, 1.0, 0.5)}
    assert Beat.decode(beat.encode()) == beat
    assert not maker.beat([backend], 5.0).stats["iris"].started


def test_a_start_that_is_told_wrongly_is_no_beat() -> None:
    """Three ages make one."""
    line = Beat("g", 1, 1.0, {"iris": Stat(started={"a": (3.0, 1.0, 0.5)})}).encode()
    with pytest.raises(ValueError, match="values to unpack"):
        Beat.decode(line.replace(b"3.0,", b""))


# Latencies, for Backends that scale on them


def latencies(maker: BeatMaker, backend: Backend, now: float) -> tuple[dict[int, int], dict[int, int]]:
    stat = maker.beat([backend], now).stats.get("iris", Stat())
    return dict(stat.wait_counts), dict(stat.duration_counts)


def scaled_on(*kinds: str) -> tuple[BeatMaker, Backend]:
    maker, backend = BeatMaker("g", 0.0), served()
    backend.stats.tells = frozenset(kinds)
    return maker, backend


def test_no_latency_is_told_of_a_backend_that_does_not_scale_on_it() -> None:
    """It would be for nobody."""
    maker, backend = scaled_on()
    backend.leave(enter(backend, 0.25), 0.5)
    assert latencies(maker, backend, 1.0) == ({}, {})


def test_waits_are_told_as_they_end_and_those_that_go_on_by_their_age() -> None:
    """One request got a slot at once, one waited for 0.5 s, and one has waited for 0.25 s so far."""
    maker, backend = scaled_on("queue_wait")
    endpoint = enter(backend, 0.0)
    backend.wait(Waiter("second", 0.25), 0.25)
    backend.leave(endpoint, 0.75)
    backend.wait(Waiter("third", 0.75), 0.75)
    half, quarter = LATENCY_BOUNDS.index(0.5), LATENCY_BOUNDS.index(0.3)
    assert latencies(maker, backend, 1.0) == ({0: 1, half: 1, quarter: 1}, {})
    assert latencies(maker, backend, 1.5) == ({LATENCY_BOUNDS.index(0.75): 1}, {})


def test_of_very_many_waiters_those_in_front_are_told() -> None:
    """They have waited longest, and a beat must not take long."""
    maker, backend = scaled_on("queue_wait")
    backend.relimit(Limits(concurrency=1, depth=5000), 0.0)
    enter(backend, 0.0)
    for number in range(1200):
        backend.wait(Waiter(str(number), 0.0), 0.0)
    assert sum(latencies(maker, backend, 1.0)[0].values()) == 1 + MOST_WAITERS


def test_durations_are_told_over_all_routes() -> None:
    """Each once, in the beat that they ended in."""
    maker, backend = scaled_on("response_time")
    for route, seconds in (("one", 0.5), ("two", 0.5), ("two", 2.0)):
        backend.leave(enter(backend, 0.25), 0.5)
        backend.traffic_of(route).duration.observe(seconds)
    half, two = LATENCY_BOUNDS.index(0.5), LATENCY_BOUNDS.index(2.5)
    assert latencies(maker, backend, 1.0) == ({}, {half: 2, two: 1})
    assert latencies(maker, backend, 2.0) == ({}, {})
    backend.leave(enter(backend, 2.25), 2.5)
    backend.traffic_of("one").duration.observe(0.5)
    assert latencies(maker, backend, 3.0) == ({}, {half: 1})


def test_what_came_before_a_reload_that_asks_for_latencies_is_not_told() -> None:
    """A day's counts are no second's."""
    maker, backend = scaled_on()
    for _ in range(5):
        backend.leave(enter(backend, 0.25), 0.5)
        backend.traffic_of("one").duration.observe(0.5)
    maker.beat([backend], 1.0)
    backend.stats.tells = frozenset({"queue_wait", "response_time"})
    backend.leave(enter(backend, 1.25), 1.5)
    assert latencies(maker, backend, 2.0) == ({}, {})
    backend.leave(enter(backend, 2.25), 2.5)
    assert latencies(maker, backend, 3.0) == ({0: 1}, {})


def test_a_request_that_is_queued_again_counts_no_more_than_once() -> None:
    """Its pod failed it: it waited, though it began with a slot."""
    maker, backend = scaled_on("queue_wait")
    endpoint = enter(backend, 0.25)
    backend.again(Waiter("again", 0.5), endpoint, 0.5)
    assert sum(latencies(maker, backend, 1.0)[0].values()) == 1
