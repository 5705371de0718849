"""What a Route does with a request beyond its split."""

from collections.abc import Mapping

import pytest

from gateway.asked import Asked, Source
from gateway.backend import Backend, Limits
from gateway.conditions import Condition, Conditions, Look
from gateway.http1 import RequestHead, field_line
from gateway.jsonscan import scan
from gateway.routing import Candidates, Route, RouteTable
from gateway.search import Search
from gateway.splits import Split
from gateway.steering import Rule, Steering
from gateway.sticky import Cookie, Rendezvous, Sticky
from gateway.terms import BackendRef

REFS = {name: BackendRef(Backend(name, Limits(), 0.0), "r") for name in ("v1", "v2", "v3")}
BETA = Conditions(values=frozenset((Condition(Source("header", b"x-cohort"), "exact", b"beta"),)))
USER = Source("header", b"x-user")


def split(**weights: int) -> Split[BackendRef]:
    return Split(REFS, weights)


def keyed(**weights: int) -> Rendezvous[BackendRef]:
    return Rendezvous((name, weight, REFS[name]) for name, weight in weights.items())


def route(
    steering: Steering | None = None, conditions: Conditions | None = None, **weights: int
) -> Route[BackendRef]:
    return Route("r", split(**(weights or {"v1": 9, "v2": 1})), conditions=conditions, steering=steering)


def search(
    found: Route[BackendRef] | Candidates[BackendRef],
    target: bytes = b"/",
    *,
    tag: bytes | None = None,
    body: int = -1,
    **fields: bytes,
) -> Search:
    head = RequestHead(b"POST", target)
    head.lines += [field_line(name.replace("_", "-").encode(), value) for name, value in fields.items()]
    head.tag, head.content_length = tag, body
    return Search(found, Asked(head, lambda _: "10.0.0.1"), lambda: b"drawn")


def went(one: Search) -> str | None:
    ref = one.advance()
    assert not isinstance(ref, Look)
    return None if ref is None else ref.backend.name


class TestRules:
    def test_the_first_that_holds_takes_the_request(self) -> None:
        """The others take turns, undisturbed."""
        steered = route(Steering(rules=(Rule(BETA, split(v3=1)), Rule(BETA, split(v2=1)))))
        chosen = [went(search(steered, x_cohort=b"beta" if i % 2 else b"x")) for i in range(20)]
        assert chosen[1::2] == ["v3"] * 10
        assert sorted(map(str, chosen[::2])) == ["v1"] * 9 + ["v2"]

    def test_a_rules_own_split_is_exact(self) -> None:
        """Over any window of its cycle, however many other requests are between."""
        steered = route(Steering(rules=(Rule(BETA, split(v1=3, v2=1)),)))
        chosen = []
        for i in range(40):
            went(search(steered))
            chosen += [went(search(steered, x_cohort=b"beta"))] * (i >= 0)
        assert all(chosen[i : i + 4].count("v2") == 1 for i in range(36))

    def test_a_rules_turns_go_on_over_a_reload(self) -> None:
        """Where another asks for the same and has the same shares."""
        rules = [Rule(BETA, split(v1=3, v2=1)) for _ in range(2)]
        old = RouteTable([route(Steering(rules=(rules[0],)))])
        chosen = [went(search(old.routes["r"], x_cohort=b"beta")) for _ in range(2)]
        new = RouteTable(
            [route(Steering(rules=(Rule(Conditions(frozenset((b"PUT",))), split(v1=1)), rules[1])))], old
        )
        chosen += [went(search(new.routes["r"], x_cohort=b"beta")) for _ in range(2)]
        assert sorted(map(str, chosen)) == ["v1", "v1", "v1", "v2"]

    def test_a_rule_on_a_model_needs_a_look(self) -> None:
        """And is asked again with the body."""
        rule = Rule(Conditions(models=frozenset(("iris",)), look=Look(99)), split(v3=1))
        one = search(route(Steering(rules=(rule,))), body=17)
        assert one.advance() == Look(99)
        one.asked.look(b'{"model": "iris"}', scan(b'{"model": "iris"}', frozenset(("model",))))
        assert went(one) == "v3"


class TestTags:
    tags: Mapping[bytes, BackendRef] = {b"canary": REFS["v2"]}

    def test_a_tag_leads_to_its_backend_even_if_that_is_dark(self) -> None:
        """And takes nobody's turn."""
        steered = route(Steering(tags={b"dark": REFS["v3"]}), v1=1, v2=1, v3=0)
        assert [went(search(steered, tag=tag)) for tag in (b"dark", None, b"dark", None)] == [
            "v3",
            "v1",
            "v3",
            "v2",
        ]

    @pytest.mark.parametrize("tag", [None, b"", b"other"])
    def test_an_unknown_tag_means_nothing(self, tag: bytes | None) -> None:
        """The split's turn, as without."""
        assert went(search(route(Steering(tags=self.tags)), tag=tag)) == "v1"

    def test_a_rule_goes_before_a_tag(self) -> None:
        """And a tag before who is sticky."""
        steering = Steering(
            rules=(Rule(BETA, split(v3=1)),), tags=self.tags, sticky=Sticky(USER), keyed=keyed(v1=1)
        )
        assert went(search(route(steering), tag=b"canary", x_cohort=b"beta", x_user=b"u")) == "v3"
        assert went(search(route(steering), tag=b"canary", x_user=b"u")) == "v2"


class TestSticky:
    def test_one_user_stays_with_one_backend(self) -> None:
        """Of many, each backend has its share."""
        steered = route(Steering(sticky=Sticky(USER), keyed=keyed(v1=1, v2=1)))
        first = [went(search(steered, x_user=b"%d" % user)) for user in range(200)]
        assert first == [went(search(steered, x_user=b"%d" % user)) for user in range(200)]
        assert 60 < first.count("v1") < 140

    def test_whoever_has_no_key_gets_the_splits_turn(self) -> None:
        """As on a Route that is not sticky."""
        steered = route(Steering(sticky=Sticky(USER), keyed=keyed(v1=1, v2=1)), v1=1, v2=1)
        assert [went(search(steered)) for _ in range(4)] == ["v1", "v2", "v1", "v2"]

    def test_whoever_has_no_cookie_goes_where_the_new_one_leads(self) -> None:
        """The answer brings it; with it nothing more is set."""
        cookie = Cookie(b"tg", b"; Path=/")
        steering = Steering(sticky=Sticky(Source("cookie", b"tg"), cookie), keyed=keyed(v1=1, v2=1))
        first = search(route(steering))
        assert first.advance() is keyed(v1=1, v2=1).choose(b"drawn")
        assert first.cookie == b"set-cookie: tg=drawn; Path=/\r\n"
        second = search(route(steering), cookie=b"tg=drawn")
        assert second.advance() is keyed(v1=1, v2=1).choose(b"drawn")
        assert second.cookie == b""

    def test_a_rules_split_is_sticky_too(self) -> None:
        """Sticky means sticky, in a cohort as well."""
        steering = Steering(
            rules=(Rule(BETA, split(v1=1, v2=1), keyed(v1=1, v2=1)),), sticky=Sticky(USER), keyed=keyed(v3=1)
        )
        chosen = {went(search(route(steering), x_cohort=b"beta", x_user=b"u")) for _ in range(10)}
        assert chosen in ({"v1"}, {"v2"})


class TestModels:
    aliases: Mapping[str, str] = {"gpt-4o": "iris"}

    @pytest.mark.parametrize(("name", "alias"), [("gpt-4o", "iris"), ("iris", None), ("x", None)])
    def test_an_alias_stands_for_another_name(self, name: str, alias: str | None) -> None:
        """Of a body, once that was looked into."""
        one = search(route(Steering(aliases=self.aliases, look=Look(99))), body=9)
        assert one.advance() == Look(99)
        body = b'{"model": "%b"}' % name.encode()
        one.asked.look(body, scan(body, frozenset(("model",))))
        assert went(one) == "v1"
        assert one.alias_for == alias

    def test_a_name_in_the_path_needs_no_look(self) -> None:
        """Whatever the body is."""
        one = search(
            route(Steering(aliases=self.aliases, look=Look(99))), b"/v1/models/gpt-4o:predict", body=9
        )
        assert went(one) == "v1"
        assert one.alias_for == "iris"


class TestCandidates:
    def test_the_route_that_is_found_decides_on_the_backend(self) -> None:
        """With its own steering, or without any."""
        table = RouteTable([route(Steering(tags={b"t": REFS["v2"]}), BETA), Route("open", split(v3=1))])
        found = table.match(b"", b"/")
        assert found is not None
        one = search(found, tag=b"t", x_cohort=b"beta")
        assert went(one) == "v2"
        assert one.route is table.routes["r"]
        assert went(search(found, tag=b"t")) == "v3"

    def test_no_route_may_be_found(self) -> None:
        """None asks for what the request is."""
        found = RouteTable([route(None, BETA)]).match(b"", b"/")
        assert found is not None
        assert went(search(found)) is None
        assert search(found).alias_for is None
