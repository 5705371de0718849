"""One value of one metric, of what all pods of a Backend answered in a round.

A core. A pod's value is the sum of its series; of a counter, what they grew by per second since the round before. `max` is the largest over
pods; `sum` and `average` add pods up, since the target is per pod, and differ in what a silent pod means: a sum cannot be told
without it, an average takes it to be as the others, as long as half have answered. Neighbours: `exposition` reads the series.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoscaler.signals.asked import NoValueError, PodMetric
from autoscaler.signals.exposition import Series

_LEAST_SHARE = 0.5
"""Of the pods that must have answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a pod's page held of one metric, at some time."""

    series: Series
    at: float


class Rounds:
    """One metric, round by round."""

    def __init__(self, asked: PodMetric) -> None:
        self.asked = asked
        self._before: dict[str, Answer] = {}
        """By pod: what a counter's next answer is compared with."""

    def value(self, pods: Sequence[str], answers: Mapping[str, Answer | str]) -> float:
        """The metric's value over `pods` (uids), of their answers or the reasons why there is none. Raises NoValueError."""
        if self.asked.rate:
            self._before = {uid: self._before[uid] for uid in pods if uid in self._before}
        values: dict[str, float] = {}
        reasons: dict[str, str] = {}
        for uid in pods:
            answer = answers.get(uid, "was not asked")
            found = answer if isinstance(answer, str) else self._of_pod(uid, answer)
            if isinstance(found, str):
                reasons[uid] = found
            else:
                values[uid] = found
        exact = self.asked.aggregation == "sum"
        if len(values) < len(pods) * (1.0 if exact else _LEAST_SHARE):
            raise NoValueError(_why(reasons, len(pods)))
        if self.asked.aggregation == "max":
            return max(values.values(), default=0.0)
        return sum(values.values()) * (len(pods) / len(values) if values else 0.0)

    def _of_pod(self, uid: str, answer: Answer) -> float | str:
        if not self.asked.rate:
            return sum(answer.series.values())
        before = self._before.get(uid)
        self._before[uid] = answer
        if before is None or answer.at <= before.at:
            return "was asked only once so far, and a rate needs two answers"
        # A series that is new has counted from zero since, one that is lower than before has begun anew.
        grown = sum(
            value - before.series.get(series, 0.0) if value >= before.series.get(series, 0.0) else value
            for series, value in answer.series.items()
        )
        return grown / (answer.at - before.at)

    def __repr__(self) -> str:
        return f"<Rounds of {self.asked.name}: {len(self._before)} counters known>"


def _why(reasons: Mapping[str, str], pods: int) -> str:
    uid, reason = next(iter(reasons.items()))
    others = f" (and {len(reasons) - 1} more of {pods} pods have no value)" if len(reasons) > 1 else ""
    return f"pod {uid}: {reason}{others}"
