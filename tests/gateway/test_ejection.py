"""Who is out for now, why, and who comes back: by example in virtual time, and the laws over random answers."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backend import Backend, EndpointInfo, Endpoints, Limits
from gateway.ejection import EjectionPolicy, Record, SuccessRate
from gateway.endpoint import NO_TRIAL, TRIAL_DUE, TRIAL_UNDER_WAY, Endpoint

POLICY = EjectionPolicy()


class Scene:
    """A Backend whose pods answer what a test says."""

    def __init__(self, pods: int = 5, limits: Limits | None = None, policy: EjectionPolicy = POLICY) -> None:
        self.now = 0.0
        self.limits = replace(limits or Limits(), ejection=policy)
        self.backend = Backend("iris", self.limits, 0.0)
        self.told: list[str] = []
        self.publish(pods)

    def publish(self, pods: int) -> None:
        infos = tuple(EndpointInfo(f"{n}", "10.0.0.1", n, ready=True) for n in range(pods))
        self.backend.update(Endpoints(infos), self.now)

    @property
    def pods(self) -> list[Endpoint]:
        return list(self.backend.endpoints.values())

    def answer(self, pod: int, *statuses: int) -> list[str]:
        told = [self.backend.ejections.answered(self.pods[pod], status, self.now) for status in statuses]
        self.backend.settle(self.now)
        return [line for line in told if line is not None]

    def ask(self, status: int) -> Endpoint:
        """One request, through the Backend."""
        endpoint = self.backend.enter(self.now)
        assert endpoint is not None
        told = self.backend.ejections.answered(endpoint, status, self.now)
        self.told += [told] if told else []
        self.backend.settle(self.now)
        self.backend.leave(endpoint, self.now)
        return endpoint

    def advance(self, seconds: float) -> list[str]:
        told = []
        for _ in range(round(seconds * 10)):
            self.now = round(self.now + 0.1, 3)
            if self.backend.due <= self.now:
                told += self.backend.turn(self.now)
                self.backend.settle(self.now)
        return told

    @property
    def out(self) -> dict[str, list[str]]:
        return {endpoint.uid: sorted(endpoint.out) for endpoint in self.pods if endpoint.out}


def test_five_failures_in_a_row_put_a_pod_out() -> None:
    """A good answer in between begins the count anew."""
    scene = Scene()
    assert scene.answer(1, 500, 503, 500, 500, 404, 500, 500, 500, 500) == []
    assert scene.answer(1, 502) == [
        "iris: 10.0.0.1:1 answered 5 requests in a row with 5xx, the last with 502: it gets no requests for 30 s"
    ]
    assert scene.out == {"1": ["consecutive_5xx"]}
    assert (scene.pods[1].available, scene.backend.breaker.available) == (False, 4)
    assert scene.answer(1, 500, 200) == []
    assert scene.backend.ejections.counts == {"consecutive_5xx": 1}
    assert repr(scene.pods[1]).endswith("in_flight=0 ready+ejected>")


def test_answers_that_break_off_put_a_pod_out_though_each_begins_well() -> None:
    """Until one comes whole: a pod that is back goes again with its next."""
    scene = Scene(policy=replace(POLICY, consecutive_5xx=3))
    pod = scene.pods[1]

    def cut() -> str | None:
        scene.answer(1, 200)
        told = scene.backend.ejections.cut(pod, scene.now)
        scene.backend.settle(scene.now)
        return told

    assert [cut(), cut()] == [None, None]
    assert cut() == "iris: 10.0.0.1:1 broke off 3 answers in a row: it gets no requests for 30 s"
    assert scene.out == {"1": ["consecutive_5xx"]}
    assert scene.backend.ejections.back_in(pod, scene.now + 10.0) == 20.0
    scene.advance(30.1)
    assert scene.ask(200) is pod
    assert scene.out == {}
    assert "broke off 4 answers in a row" in str(cut())
    scene.advance(60.1)
    assert scene.ask(200) is pod
    scene.backend.ejections.whole(pod)
    assert [cut(), cut()] == [None, None]


def test_gateway_errors_may_be_counted_alone() -> None:
    """For servers that answer 500 to what clients got wrong."""
    scene = Scene(policy=EjectionPolicy(consecutive_5xx=0, consecutive_gateway_errors=3))
    assert scene.answer(0, *[500] * 20, 502, 504, 500, 503, 503) == []
    assert scene.answer(0, 504)[0].startswith(
        "iris: 10.0.0.1:0 answered 3 requests in a row with a gateway error"
    )


def test_a_share_of_the_pods_may_be_out_and_one_always() -> None:
    """10 % of thirty are three; of five none, but one may go."""
    for pods, most in ((5, 1), (30, 3)):
        scene = Scene(pods)
        for pod in range(pods):
            scene.answer(pod, *[500] * 5)
        assert list(scene.out) == [str(pod) for pod in range(most)]


def test_one_request_brings_a_pod_back() -> None:
    """It goes there before the others are asked, and nothing more until it has ended."""
    scene = Scene()
    scene.answer(1, *[500] * 5)
    scene.advance(29.9)
    assert scene.pods[1] not in [scene.ask(200) for _ in range(20)]
    scene.advance(0.2)
    tried = scene.backend.enter(scene.now)
    assert tried is scene.pods[1]
    assert tried.trial == TRIAL_UNDER_WAY
    assert scene.pods[1] not in [scene.ask(200) for _ in range(20)]
    assert scene.answer(1, 200) == [
        "iris: 10.0.0.1:1 is back, it answered a request well: it gets requests again"
    ]
    scene.backend.leave(tried, scene.now)
    assert (scene.out, tried.trial, tried.in_flight) == ({}, NO_TRIAL, 0)
    assert scene.pods[1] in [scene.ask(200) for _ in range(5)]


def test_a_trial_that_fails_puts_a_pod_out_for_longer() -> None:
    """Base time times the number of ejections, at most the maximum."""
    scene = Scene(policy=EjectionPolicy(max_time=100.0))
    scene.answer(0, *[500] * 5)
    seconds = []
    for _ in range(4):
        began = scene.now
        while scene.pods[0].trial != TRIAL_DUE:
            scene.advance(0.1)
        seconds.append(round(scene.now - began))
        assert scene.ask(500) is scene.pods[0]
    assert seconds == [30, 60, 90, 100]
    assert (
        scene.told[0] == "iris: 10.0.0.1:0 answered 500 when it was tried again: it gets no requests for 60 s"
    )


def test_a_trial_without_a_verdict_is_made_again() -> None:
    """The client left: the next request shows it."""
    scene = Scene()
    scene.answer(1, *[500] * 5)
    scene.advance(30.1)
    for _ in range(2):
        tried = scene.backend.enter(scene.now)
        assert tried is scene.pods[1]
        scene.backend.leave(tried, scene.now)


def test_a_trial_that_ends_in_a_panic_without_a_verdict_is_made_again() -> None:
    """The pod is used as any other for the while, and is no other's after it."""
    scene = Scene(2)
    scene.answer(0, *[500] * 5)
    scene.advance(30.1)
    tried = scene.backend.enter(scene.now)
    assert tried is scene.pods[0]
    scene.backend.suspect(scene.pods[1], scene.now, suspect=True)
    assert scene.backend.ejections.panicking
    scene.backend.leave(tried, scene.now)
    scene.backend.suspect(scene.pods[1], scene.now, suspect=False)
    assert not scene.backend.ejections.panicking
    scene.advance(1)
    assert scene.ask(200) is scene.pods[0]
    assert (scene.out, scene.backend.breaker.available) == ({}, 2)


def test_a_pod_that_does_well_is_forgiven_in_time() -> None:
    """One ejection less for each interval without."""
    scene = Scene()
    scene.answer(0, *[500] * 5)
    scene.advance(30.1)
    scene.ask(200)
    record: Record = scene.pods[0].record
    assert record.times == 1
    scene.advance(20)
    assert record.times == 0


def test_a_pod_that_answers_much_worse_than_the_others_goes() -> None:
    """By Envoy's arithmetic: of rates 1, 1, 1, 1, 1, 1, 1, 1, 1 and 0.5 the mean is 0.95, the deviation 0.15, the bound 0.665."""
    scene = Scene(10)
    for pod in range(10):
        scene.answer(pod, *([200, 500] if pod == 7 else [200, 200]) * 50)
    (told,) = scene.advance(10.1)
    assert told == (
        "iris: 10.0.0.1:7 answered 50% well, which is below 66%, 1.9 standard deviations under the mean: it gets no requests for 30 s"
    )
    assert scene.out == {"7": ["success_rate"]}


@pytest.mark.parametrize(
    ("pods", "requests", "policy"),
    [
        (10, 99, POLICY),
        (4, 100, POLICY),
        (10, 100, replace(POLICY, success_rate=None)),
        (10, 100, replace(POLICY, success_rate=SuccessRate(factor=5.0))),
    ],
    ids=["few requests", "few pods", "off", "wide"],
)
def test_a_bad_rate_alone_is_not_enough(pods: int, requests: int, policy: EjectionPolicy) -> None:
    """There must be pods with requests to compare with."""
    scene = Scene(pods, policy=policy)
    for pod in range(pods):
        scene.answer(pod, *([500, 200] if pod == 0 else [200, 200]) * (requests // 2))
    assert scene.advance(10.1) == []


def test_when_too_many_are_out_all_are_used() -> None:
    """But for those that refuse connections; and once enough are left, the bad ones are out again."""
    scene = Scene(4)
    ejections = scene.backend.ejections
    for pod in scene.pods[:2]:
        ejections.failed_checks(pod, "failed 3 health checks in a row")
    assert (ejections.panicking, scene.backend.breaker.available) == (False, 2)
    told = ejections.failed_checks(scene.pods[2], "failed 3 health checks in a row")
    assert told == "iris: 10.0.0.1:2 failed 3 health checks in a row: so many are out that all are used"
    assert (ejections.panicking, scene.backend.breaker.available) == (True, 4)
    scene.backend.suspect(scene.pods[0], 1.0, suspect=True)
    assert scene.backend.breaker.available == 3
    scene.publish(9)
    assert (ejections.panicking, scene.backend.breaker.available) == (False, 6)
    assert "3 out" in repr(ejections)


def test_a_panic_is_told_when_it_begins_and_when_it_is_over() -> None:
    """Once each."""
    scene = Scene(pods=2, policy=replace(POLICY, consecutive_5xx=1, max_share=1.0))
    ejections = scene.backend.ejections
    assert ejections.news() is None
    scene.answer(0, 500)
    scene.answer(1, 500)
    assert ejections.news() == "iris: 2 of 2 pods are out, and all of them get requests all the same (panic)"
    assert ejections.news() is None
    scene.advance(30.1)
    assert ejections.news() == "iris: enough pods are well again: only those get requests"


def test_an_only_pod_is_never_without_requests() -> None:
    """It is counted, and used all the same; a panic threshold of 0 holds it to its word."""
    scene = Scene(1)
    assert scene.answer(0, *[500] * 5) == [
        "iris: 10.0.0.1:0 answered 5 requests in a row with 5xx, the last with 500: so many are out that all are used"
    ]
    assert scene.pods[0].available
    assert scene.advance(30.1) == ["iris: 10.0.0.1:0 is back, its time is over: it gets requests again"]
    strict = Scene(1, Limits(panic=0.0))
    strict.answer(0, *[500] * 5)
    assert strict.backend.enter(0.0) is None


def test_with_health_checks_no_request_is_risked() -> None:
    """The next one that is passed after its time decides; one before does not."""
    scene = Scene(limits=Limits(checked=True))
    scene.answer(0, *[500] * 5)
    assert scene.backend.ejections.passed_checks(scene.pods[0], scene.now) is None
    assert scene.advance(31) == []
    assert scene.pods[0] not in [scene.ask(200) for _ in range(20)]
    assert scene.backend.ejections.passed_checks(scene.pods[0], scene.now) == (
        "iris: 10.0.0.1:0 is back, it passes its health checks: it gets requests again"
    )
    assert scene.out == {}


def test_a_pod_is_out_until_every_cause_is_gone() -> None:
    """Whichever goes first."""
    scene = Scene()
    pod = scene.pods[0]
    ejections = scene.backend.ejections
    ejections.failed_checks(pod, "failed")
    assert ejections.failed_checks(pod, "failed") is None
    scene.backend.suspect(pod, 0.0, suspect=True, refusal="refused")
    assert pod.out == {"health": "failed", "connect": "refused"}
    told = ejections.passed_checks(pod, 1.0)
    assert told == "iris: 10.0.0.1:0 is back, it passes its health checks: it is out for another reason still"
    assert not pod.available
    scene.backend.suspect(pod, 2.0, suspect=False)
    assert pod.available


def test_a_pod_that_refuses_its_trial_is_tried_again_once_it_accepts() -> None:
    """Refusing is no verdict on its answers."""
    scene = Scene()
    scene.answer(0, *[500] * 5)
    scene.advance(30.1)
    tried = scene.backend.enter(scene.now)
    assert tried is scene.pods[0]
    scene.backend.suspect(tried, scene.now, suspect=True)
    scene.backend.leave(tried, scene.now)
    assert scene.ask(200) is not tried
    scene.backend.suspect(tried, scene.now, suspect=False)
    assert scene.ask(200) is tried
    assert scene.out == {}


def test_a_waiter_gets_a_pod_on_trial() -> None:
    """It may be the only one with a free slot."""
    scene = Scene(2, Limits(concurrency=1))
    scene.answer(0, *[500] * 5)
    assert scene.backend.enter(0.0) is scene.pods[1]
    assert scene.backend.enter(0.0) is None
    scene.advance(30.1)
    assert scene.backend.enter(scene.now) is scene.pods[0]


def test_what_nobody_asks_about_any_more_keeps_nobody_out() -> None:
    """A reload takes the section away, or the health checks."""
    scene = Scene()
    scene.answer(0, *[500] * 5)
    scene.backend.ejections.failed_checks(scene.pods[1], "failed")
    scene.backend.relimit(Limits(checked=True), 1.0)
    assert (scene.out, scene.pods[0].record) == ({"1": ["health"]}, None)
    assert scene.answer(0, *[500] * 9) == []
    scene.backend.relimit(Limits(), 2.0)
    assert (scene.out, scene.backend.breaker.available, scene.backend.restless) == ({}, 5, False)


def test_a_pod_that_is_gone_is_no_matter() -> None:
    """Its last answers come late; named again it is as good as new."""
    scene = Scene(2)
    pod = scene.pods[1]
    scene.answer(1, *[500] * 5)
    held = scene.backend.enter(0.0)
    pod.in_flight += 1
    scene.publish(1)
    assert held is scene.pods[0]
    assert scene.backend.ejections.answered(pod, 500, 1.0) is None
    assert scene.backend.ejections.failed_checks(pod, "failed") is None
    scene.publish(2)
    assert scene.pods[1] is pod
    assert (pod.out, pod.available) == ({}, True)


@given(
    st.integers(1, 25),
    st.lists(
        st.tuples(st.integers(0, 24), st.sampled_from([200, 500, 503]), st.floats(0.0, 5.0)), max_size=150
    ),
)
def test_laws_over_any_answers(pods: int, answers: list[tuple[int, int, float]]) -> None:
    """Never more out than the share, or one; always somebody available; who is out comes back."""
    scene = Scene(pods, policy=EjectionPolicy(consecutive_5xx=2))
    for pod, status, seconds in answers:
        if scene.pods[pod % pods].available:
            scene.answer(pod % pods, status)
        scene.advance(round(seconds, 1))
        assert len(scene.out) <= max(1, pods // 10)
        assert scene.backend.breaker.available
    scene.advance(301)
    for _ in range(pods):
        scene.ask(200)
    assert scene.out == {}
    assert scene.backend.breaker.available == pods
