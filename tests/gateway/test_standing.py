"""What a request's header may say of its place in a queue, and who may say it."""

import pytest

from gateway.asked import Asked
from gateway.http1 import RequestHead, field_line
from gateway.standing import LONGEST_TENANT, Ranking, Standing

BOTH = Ranking(3, b"x-priority", tenant_field=b"x-tenant")


def asked(**fields: bytes) -> Asked:
    head = RequestHead(b"GET", b"/")
    head.lines += [field_line(name.encode(), value) for name, value in fields.items()]
    return Asked(head, str)


def test_a_trusted_proxy_is_believed() -> None:
    """And pods see what it said."""
    request = asked(**{"X-Priority": b"-7", "X-Tenant": b"acme"})
    assert BOTH.standing(request, trusted=True) == Standing(-7, b"acme", metered=True)
    assert len(request.head.lines) == 2


def test_anybody_elses_word_is_ignored_and_no_pod_sees_it() -> None:
    """In whatever spelling a server could take for it."""
    request = asked(**{"X-Priority": b"9", "x_tenant": b"acme", "X-Tenant": b"acme", "accept": b"x"})
    assert BOTH.standing(request, trusted=False) == Standing(3, b"", metered=True)
    assert request.head.lines == [b"accept: x\r\n"]


def test_everyone_may_be_believed() -> None:
    """Where the Route says so, for each of the two by itself."""
    ranking = Ranking(0, b"x-priority", priority_of_anyone=True, tenant_field=b"x-tenant")
    request = asked(**{"x-priority": b"2", "x-tenant": b"acme"})
    assert ranking.standing(request, trusted=False) == Standing(2, b"", metered=True)
    assert request.head.lines == [b"x-priority: 2\r\n"]


@pytest.mark.parametrize(
    ("value", "priority"),
    [
        (b"5", 5),
        (b"+5", 5),
        (b"-100", -100),
        (b"999", 100),
        (b"-999", -100),
        (b"", 3),
        (b"high", 3),
        (b"1.5", 3),
        (b"1234", 100),
        (b"-1000", -100),
        (b"-" + b"9" * 9000, -100),
        (b"00000", 0),
        (b"-0000005", -5),
        (b"0" * 60000 + b"x", 3),
        (b"+", 3),
        (b"5 ", 3),
        (b"\xb2", 3),
    ],
)
def test_a_value_that_is_no_priority_is_none(value: bytes, priority: int) -> None:
    """Integers are kept to the bounds; with anything else the Route's own holds."""
    assert BOTH.standing(asked(**{"x-priority": value}), trusted=True).priority == priority


def test_two_values_are_none() -> None:
    """Nobody knows which of them counts."""
    request = asked(**{"x-priority": b"1", "X-Priority": b"5"})
    assert BOTH.standing(request, trusted=True).priority == 3


def test_a_tenants_name_is_cut() -> None:
    """It is kept for as long as its use counts."""
    long = b"t" * 5000
    assert BOTH.standing(asked(**{"x-tenant": long}), trusted=True).tenant == long[:LONGEST_TENANT]
