"""One value of one metric, of what all pods of a Backend answered in a round.

A core. A pod's value is the sum of its series; of a counter, what they grew by per second since the round before. `max` is the largest over
pods; `sum` and `average` add pods up, since the target is per pod, and differ in what a silent pod means: a sum cannot be told
without it; else, as long as half have answered, it is taken to be as it last was, or as the others where that is more: those that are too busy to answer
must not look like less load. Neighbours: `exposition` reads the series.
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
        self._away: dict[str, Series] = {}
        """By pod: series that were in the answer before that one, and not in it."""
        self._last: dict[str, float] = {}
        """By pod: its last value."""

    def value(self, pods: Sequence[str], answers: Mapping[str, Answer | str]) -> float:
        """The metric's value over `pods` (uids), of their answers or the reasons why there is none. Raises NoValueError."""
        self._forget(pods)
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
        usual = sum(values.values()) / len(values) if values else 0.0
        silent = [max(usual, self._last.get(uid, usual)) for uid in reasons]
        self._last |= values
        if self.asked.aggregation == "max":
            return max([*values.values(), *silent], default=0.0)
        return sum(values.values()) + sum(silent)

    def _forget(self, pods: Sequence[str]) -> None:
        """What is known of others."""
        for known in (self._before, self._away, self._last):
            for uid in known.keys() - set(pods):
                del known[uid]

    def _of_pod(self, uid: str, answer: Answer) -> float | str:
        if not self.asked.rate:
            return sum(answer.series.values())
        before = self._before.get(uid)
        away = self._away.get(uid, {})
        self._before[uid] = answer
        if before is None or answer.at <= before.at:
            return "was asked only once so far, and a rate needs two answers"
        # One that could not be read for once goes on where it was, or all that it ever counted would be of this moment.
        self._away[uid] = {series: before.series[series] for series in before.series.keys() - answer.series}
        since = away | before.series
        # A series that is new has counted from zero since, one that is lower than before has begun anew.
        grown = sum(
            value - since.get(series, 0.0) if value >= since.get(series, 0.0) else value
            for series, value in answer.series.items()
        )
        return grown / (answer.at - before.at)

    def __repr__(self) -> str:
        return f"<Rounds of {self.asked.name}: {len(self._before)} counters known>"


def _why(reasons: Mapping[str, str], pods: int) -> str:
    uid, reason = next(iter(reasons.items()))
    others = f" (and {len(reasons) - 1} more of {pods} pods have no value)" if len(reasons) > 1 else ""
    return f"pod {uid}: {reason}{others}"
