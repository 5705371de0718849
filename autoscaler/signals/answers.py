"""The number in a Prometheus's answer to an instant query, or why there is none.

A core. The answer must be one number: a scalar, or a vector of one series. Several are not added up, since whoever wrote the query may have
meant their average. None at all is a failure, not zero (KEDA's default, `ignoreNullValues`, is zero): a query is as empty when its exporter
is gone as when there is no load, and missing data never scale down; `… or vector(0)` says that zero is meant.
"""

import json
import math
from typing import Any

from autoscaler.signals.asked import LONGEST_WORDS, NoValueError


def value_of(status: int, body: bytes) -> float:
    """Raises NoValueError, for whoever wrote the query or runs the server."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or "status" not in answer:
        said = body[:LONGEST_WORDS].decode("utf-8", "replace").strip() or "nothing"
        raise NoValueError(f"it answered {status}, and that is not what a Prometheus says: {said}")
    if answer["status"] != "success" or status != 200:
        kind, said = answer.get("errorType", "error"), str(answer.get("error", ""))[:LONGEST_WORDS]
        raise NoValueError(f"it answered {status}, {kind}: {said}")
    data = answer.get("data")
    try:
        return _number(data)
    except (TypeError, LookupError, ValueError, OverflowError) as error:
        raise NoValueError(f"its answer cannot be read: {str(data)[:LONGEST_WORDS]}") from error


def _number(data: Any) -> float:  # noqa: ANN401 (JSON)
    kind, result = data["resultType"], data["result"]
    if kind == "vector":
        if not result:
            raise NoValueError(
                "no data: the query gives no series; where that means zero, end it in `or vector(0)`"
            )
        if len(result) > 1:
            raise NoValueError(
                f"the query gives {len(result)} series, not one: put `sum(…)`, `max(…)` or `avg(…)` around it"
            )
        result = result[0]["value"]
    elif kind != "scalar":
        raise NoValueError(f"the query gives a {kind}, not a number")
    value = float(result[1])
    if not math.isfinite(value):
        raise NoValueError(f"the query gives {result[1]}, which is no number of anything")
    return value
