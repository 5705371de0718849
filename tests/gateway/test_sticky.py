"""Who comes again goes where they were."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.asked import Asked, Source
from gateway.http1 import RequestHead, field_line
from gateway.sticky import Cookie, Rendezvous, Sticky, spread

USERS = [b"user-%d" % number for number in range(10_000)]


def choices(**weights: int) -> list[str]:
    place = Rendezvous((name, weight, name) for name, weight in weights.items())
    return [place.choose(user) for user in USERS]


def test_the_hash_is_the_same_everywhere_and_for_good() -> None:
    """Replicas and versions of tomorrow agree."""
    assert spread(b"iris-v1", b"user-1") == 0.0901557858921262


def test_a_higher_weight_moves_users_towards_it_and_nobody_else() -> None:
    """Of 10,000 from 10% to 20%: those who change go to the canary, and the shares are right within four standard deviations."""
    before, after = choices(stable=90, canary=10), choices(stable=80, canary=20)
    moved = {(old, new) for old, new in zip(before, after, strict=True) if old != new}
    assert moved == {("stable", "canary")}
    assert abs(before.count("canary") - 1000) < 4 * 30
    assert abs(after.count("canary") - 2000) < 4 * 40


def test_a_new_backend_takes_from_all_and_moves_nobody_between_them() -> None:
    """And gives back what it took when it goes."""
    before, after = choices(a=1, b=1), choices(a=1, b=1, c=1)
    assert {new for old, new in zip(before, after, strict=True) if old != new} == {"c"}
    assert all(abs(after.count(name) - 3333) < 4 * 47 for name in "abc")


def test_a_dark_backend_gets_nobody() -> None:
    """Its weight is 0."""
    assert set(choices(a=1, dark=0)) == {"a"}
    assert repr(Rendezvous((("a", 1, 1), ("dark", 0, 2)))) == "<Rendezvous a=1>"


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 100), min_size=2), st.data())
def test_raising_one_weight_never_moves_a_user_elsewhere(
    weights: dict[str, int], data: st.DataObject
) -> None:
    """Whatever the others are."""
    raised = data.draw(st.sampled_from(sorted(weights)))
    more = weights | {raised: weights[raised] + data.draw(st.integers(1, 100))}
    key = data.draw(st.binary(max_size=20))
    before, after = (
        Rendezvous((name, weight, name) for name, weight in ws.items()).choose(key) for ws in (weights, more)
    )
    assert after in {before, raised}


def asked(cookie: bytes | None = None) -> Asked:
    head = RequestHead(b"GET", b"/")
    head.lines += [] if cookie is None else [field_line(b"cookie", cookie)]
    return Asked(head, lambda _: "10.0.0.1")


class TestCookies:
    signed = Cookie(b"tg", b"; Path=/", b"0123456789abcdef")

    def test_what_was_given_is_taken_back(self) -> None:
        """Signed or not."""
        for cookie in (self.signed, Cookie(b"tg", b"")):
            line = cookie.line(b"abc")
            value = line.removeprefix(b"set-cookie: tg=").partition(b";")[0].strip()
            assert cookie.key(value) == b"abc"

    @pytest.mark.parametrize(
        "value", [None, b"", b"abc", b"abc.", b"abc.00112233445566778899aabbccddeeff", b".", "ä.b".encode()]
    )
    def test_what_is_not_signed_by_us_is_nothing(self, value: bytes | None) -> None:
        """As if it were not there."""
        assert self.signed.key(value) is None

    def test_a_signature_holds_for_its_cookie_and_secret_alone(self) -> None:
        """Under another name, or with another secret, it is none."""
        value = self.signed.line(b"abc")[len(b"set-cookie: tg=") :].partition(b";")[0]
        assert self.signed.key(value) == b"abc"
        assert Cookie(b"other", b"", self.signed.secret).key(value) is None
        assert Cookie(b"tg", b"", b"fedcba9876543210").key(value) is None

    def test_the_attributes_follow_the_value(self) -> None:
        """As they were made from the configuration."""
        assert Cookie(b"tg", b"; Path=/").line(b"abc") == b"set-cookie: tg=abc; Path=/\r\n"


def test_a_key_is_what_the_source_holds() -> None:
    """An empty value stands for nobody."""
    sticky = Sticky(Source("cookie", b"c"))
    assert [sticky.key(asked(cookie)) for cookie in (b"c=ann", b"c=", None)] == [b"ann", None, None]
    assert Sticky(Source("client_address")).key(asked()) == b"10.0.0.1"
    assert str(sticky) == "cookie c"
