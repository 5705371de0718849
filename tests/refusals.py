"""What a client reads of an answer that says why there is no other."""

import json
from typing import Any

from tests.fakes import Answer, Client


def problem_of(answer: Answer) -> dict[str, Any]:
    assert answer.complete
    assert answer.fields[b"content-type"] == b"application/problem+json"
    details: dict[str, Any] = json.loads(answer.body)
    assert details["status"] == answer.status
    assert details["request_id"].encode() == answer.fields[b"x-request-id"]
    return details


def refusal(client: Client, method: bytes = b"GET") -> tuple[int, str]:
    answer = client.answer(method)
    return answer.status, problem_of(answer)["reason"]
