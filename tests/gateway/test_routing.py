"""The routing core: which Route a request takes."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.routing import PathRule, Route, RouteTable, normalise_host
from gateway.splits import Split

ROOT = PathRule("prefix", b"/")


def split_of(**weights: int) -> Split[str]:
    return Split({name: name for name in weights}, weights)


def route(name: str, *paths: str | PathRule, hosts: tuple[bytes, ...] = ()) -> Route[str]:
    rules = tuple(PathRule("prefix", path.encode()) if isinstance(path, str) else path for path in paths)
    return Route(name, split_of(a=1), hosts=hosts, paths=rules or (ROOT,))


def matched(table: RouteTable[str], target: bytes, host: bytes = b"") -> str | None:
    found = table.match(host, target)
    return found.name if found else None


class TestPaths:
    @pytest.mark.parametrize(
        ("prefix", "target", "takes"),
        [
            pytest.param("/v1/iris", b"/v1/iris", True, id="the path's end"),
            pytest.param("/v1/iris", b"/v1/iris?x=/y", True, id="the query's start"),
            pytest.param("/v1/iris", b"/v1/iris/ready", True, id="a slash"),
            pytest.param("/v1/iris", b"/v1/iris:predict", True, id="a colon"),
            pytest.param("/v1/iris", b"/v1/iris2", False, id="inside of a word"),
            pytest.param("/v1/iris", b"/v1", False, id="a shorter path"),
            pytest.param("/v1/", b"/v1/iris", True, id="a prefix that ends in a slash"),
            pytest.param("/v1/", b"/v1/", True, id="such a prefix alone"),
            pytest.param("/v1/", b"/v1", False, id="such a prefix without its slash"),
            pytest.param("/v1/", b"/v1:x", False, id="a colon is not that slash"),
            pytest.param("/", b"/anything/at:all", True, id="the root takes everything"),
            pytest.param("/", b"*", False, id="but what is no path"),
            pytest.param("/a:", b"/a:b", False, id="a prefix that ends in a colon needs a boundary"),
            pytest.param("/a:", b"/a::b", True, id="and another colon is one"),
        ],
    )
    def test_a_prefix_ends_at_a_boundary(self, prefix: str, target: bytes, takes: bool) -> None:
        """A prefix takes a path that ends, or goes on with `/` or `:`, where the prefix does."""
        assert matched(RouteTable([route("r", prefix)]), target) == ("r" if takes else None)

    def test_the_longest_prefix_goes_first(self) -> None:
        """Of several prefixes of a path the longest wins, whatever their order."""
        table = RouteTable(
            [route("short", "/v1"), route("root", "/"), route("long", "/v1/iris"), route("open", "/v1/")]
        )
        assert [matched(table, path) for path in (b"/v1/iris/x", b"/v1/rose", b"/v1:x", b"/v2")] == [
            "long",
            "open",
            "short",
            "root",
        ]

    def test_exact_goes_before_regex_and_regex_before_prefix(self) -> None:
        """Exact paths first, then regexes in the order declared, then prefixes."""
        table = RouteTable(
            [
                route("prefix", "/v1"),
                route("regex", PathRule("regex", b"/v1/.*")),
                route("later regex", PathRule("regex", b"/v1/[a-z]*")),
                route("exact", PathRule("exact", b"/v1/iris")),
            ]
        )
        assert [matched(table, path) for path in (b"/v1/iris?q", b"/v1/rose", b"/v1")] == [
            "exact",
            "regex",
            "prefix",
        ]

    def test_a_regex_matches_the_whole_path_without_its_query(self) -> None:
        """Neither a part of the path nor the query satisfies a regex."""
        table = RouteTable([route("r", PathRule("regex", b"/v[12]"))])
        assert [matched(table, path) for path in (b"/v1?x", b"/v1/x", b"/v3?/v1")] == ["r", None, None]

    def test_long_paths_of_slashes_are_cut_no_further_than_the_longest_prefix(self) -> None:
        """A hostile path of thousands of boundaries still matches, by its first bytes."""
        table = RouteTable([route("r", "/a/b")])
        assert matched(table, b"/a/b" + b"/:" * 8000) == "r"
        assert matched(table, b"/" * 16000) is None


class TestHosts:
    def test_the_most_specific_host_goes_first(self) -> None:
        """The exact name, then the longest wildcard, then any host."""
        table = RouteTable(
            [
                route("any"),
                route("wide", hosts=(b"*.example.com",)),
                route("narrow", hosts=(b"*.eu.example.com",)),
                route("exact", hosts=(b"a.eu.example.com",)),
            ]
        )
        hosts = [b"a.eu.example.com", b"b.eu.example.com", b"x.y.example.com", b"example.com", b""]
        assert [matched(table, b"/", host) for host in hosts] == ["exact", "narrow", "wide", "any", "any"]

    def test_a_host_whose_paths_miss_gives_way_to_the_next(self) -> None:
        """A specific host does not hide what a less specific one takes."""
        table = RouteTable(
            [
                route("exact", "/v1", hosts=(b"a.example.com",)),
                route("wild", "/v2", hosts=(b"*.example.com",)),
                route("any", "/v3"),
            ]
        )
        assert [matched(table, b"/v%d" % i, b"a.example.com") for i in (1, 2, 3, 4)] == [
            "exact",
            "wild",
            "any",
            None,
        ]

    def test_a_wildcard_needs_a_label_in_front(self) -> None:
        """`*.example.com` takes neither example.com nor a name that begins with the dot."""
        table = RouteTable([route("r", hosts=(b"*.example.com",))])
        hosts = (b"a.b.example.com", b"example.com", b".example.com", b"aexample.com")
        assert [matched(table, b"/", host) for host in hosts] == ["r", None, None, None]

    @pytest.mark.parametrize(
        ("host", "name"),
        [
            (b"A.Example.COM:8080", b"a.example.com"),
            (b"a.example.com.", b"a.example.com"),
            (b"[::1]:8080", b"[::1]"),
            (b"[FE80::1]", b"[fe80::1]"),
            (b"[::1", b""),
            (b"", b""),
            (b"127.0.0.1:80", b"127.0.0.1"),
        ],
    )
    def test_a_host_header_is_reduced_to_its_name(self, host: bytes, name: bytes) -> None:
        """Case, port and the dot at the end make no difference."""
        assert normalise_host(host) == name

    def test_the_memory_of_hosts_is_bounded(self) -> None:
        """A client that sends thousands of hosts does not fill the memory; matching stays right."""
        table = RouteTable([route("any"), route("one", hosts=(b"one",))])
        for i in range(3000):
            assert matched(table, b"/", b"h%d" % i) == "any"
        assert matched(table, b"/", b"x" * 5000) == "any"
        assert matched(table, b"/", b"ONE") == "one"
        assert repr(table) == f"<RouteTable 2 routes, 1 hosts, {3001 - 2 * 1024} seen>"

    def test_targets_are_remembered_up_to_a_bound(self) -> None:
        """Of all hosts together, and no long ones: whoever invents targets cannot grow the process."""
        table = RouteTable([route("any")])
        for number in range(10_000):
            assert matched(table, b"/%d" % number, b"h%d" % (number % 7)) == "any"
        assert matched(table, b"/" + b"a" * 300, b"h") == "any"
        kept = [target for seen in table._seen.values() for target in seen.known]
        assert 1000 < len(kept) <= 4096
        assert max(map(len, kept)) < 300


class TestTable:
    def test_two_routes_may_not_claim_one_path(self) -> None:
        """A table with two owners of a path is refused, naming both."""
        with pytest.raises(ValueError, match="routes 'a' and 'b' both claim exact /x"):
            RouteTable([route("a", PathRule("exact", b"/x")), route("b", PathRule("exact", b"/x"))])

    def test_two_routes_may_not_have_one_name(self) -> None:
        """A name stands for one Route."""
        with pytest.raises(ValueError, match="two routes are named 'a'"):
            RouteTable([route("a", "/x"), route("a", "/y")])

    def test_a_route_shows_what_it_matches_and_whose_turn_it_is(self) -> None:
        """The repr says name, hosts, paths and split."""
        one = Route(
            "iris", split_of(v1=90, v2=10), hosts=(b"*.x.org",), paths=(ROOT, PathRule("regex", b"/a."))
        )
        assert one.choose() == "v1"
        assert repr(one) == "<Route iris *.x.org /,regex /a. <Split v1=9 v2=1, turn 1 of 10>>"
        assert repr(route("any")).startswith("<Route any * / ")


class TestReload:
    def test_a_split_goes_on_where_it_was(self) -> None:
        """After a reload with equal shares the windows over the reload are exact too."""
        old = RouteTable([Route("r", split_of(a=9, b=1))])
        chosen = [old.routes["r"].choose() for _ in range(4)]
        new = RouteTable([Route("r", split_of(a=90, b=10, dark=0))], old)
        chosen += [new.routes["r"].choose() for _ in range(16)]
        assert all(chosen[i : i + 10].count("b") == 1 for i in range(11))

    def test_requests_during_the_reload_count(self) -> None:
        """Turns taken on the old table after the new one was built are not taken again."""
        old = RouteTable([Route("r", split_of(a=1, b=1))])
        new = RouteTable([Route("r", split_of(a=1, b=1))], old)
        assert [old.routes["r"].choose(), new.routes["r"].choose()] == ["a", "b"]

    def test_another_split_begins_anew(self) -> None:
        """Changed shares, and routes that are gone, carry nothing over."""
        old = RouteTable([Route("r", split_of(a=1, b=1)), route("gone", "/gone")])
        old.routes["r"].choose()
        new = RouteTable([Route("r", split_of(a=1, b=2))], old)
        assert repr(new.routes["r"].split) == "<Split a=1 b=2, turn 0 of 3>"

    def test_the_new_backends_are_chosen(self) -> None:
        """The position goes on; the objects are those of the new table."""
        old = RouteTable([Route("r", Split({"a": "old"}, {"a": 1}))])
        new = RouteTable([Route("r", Split({"a": "new"}, {"a": 1}))], old)
        assert new.routes["r"].choose() == "new"


hosts = st.sampled_from([b"a.b.c", b"b.c", b"*.c", b"*.b.c", b"[::1]", b"c"])
segments = st.sampled_from(["a", "b", ":", "/", "/a", "/b", ":a"])
paths = st.lists(segments, max_size=4).map(lambda parts: ("/" + "".join(parts)).encode())
rules = st.one_of(
    st.builds(PathRule, st.sampled_from(["prefix", "exact"]), paths),
    st.builds(PathRule, st.just("regex"), st.sampled_from([b"/a.*", b"/[ab]", b".*:a"])),
)


@st.composite
def tables(draw: st.DrawFn) -> list[Route[str]]:
    """Routes that claim nothing twice."""
    claimed: set[tuple[bytes, PathRule]] = set()
    routes = []
    for i in range(draw(st.integers(0, 8))):
        names = draw(st.lists(hosts, max_size=2, unique=True))
        own = [
            rule
            for rule in draw(st.lists(rules, max_size=4, unique=True))
            if not claimed & {(h, rule) for h in names or [b""]}
        ]
        claimed |= {(host, rule) for host in names or [b""] for rule in own}
        if own:
            routes.append(Route(f"r{i}", split_of(a=1), hosts=tuple(names), paths=tuple(own)))
    return routes


def reference(routes: list[Route[str]], host: bytes, target: bytes) -> str | None:
    """The rules, said once more and slowly: the best of (host, kind, length or order) over all routes and paths."""
    name, path = normalise_host(host), target.split(b"?")[0]
    best: tuple[tuple[int, int, int], str] | None = None
    claims = [(one, own, rule) for one in routes for own in (one.hosts or (b"",)) for rule in one.paths]
    for order, (one, own, rule) in enumerate(claims):
        if not own:
            host_rank = 0
        elif own == name:
            host_rank = 1000
        elif own.startswith(b"*.") and name.endswith(own[1:]) and len(name) > len(own[1:]):
            host_rank = len(own)
        else:
            continue
        if rule.kind == "exact" and rule.value == path:
            rank = (host_rank, 3, 0)
        elif rule.kind == "regex" and re.fullmatch(rule.value, path):
            rank = (host_rank, 2, -order)
        elif rule.kind == "prefix" and path.startswith(rule.value):
            rest = path[len(rule.value) :]
            if rest and not rule.value.endswith(b"/") and rest[:1] not in b"/:":
                continue
            rank = (host_rank, 1, len(rule.value))
        else:
            continue
        if best is None or rank > best[0]:
            best = (rank, one.name)
    return best and best[1]


@settings(deadline=None)
@given(
    tables(),
    st.sampled_from([b"A.b.c:80", b"x.b.c", b"b.c", b"c.", b"[::1]:1", b"", b"x"]),
    paths,
    st.sampled_from([b"", b"?a/b"]),
)
def test_match_equals_the_reference(routes: list[Route[str]], host: bytes, path: bytes, query: bytes) -> None:
    """On random tables and requests, match finds what the rules read literally find."""
    table = RouteTable(routes)
    assert matched(table, path + query, host) == reference(routes, host, path + query)
    assert matched(table, path + query, host) == reference(
        routes, host, path + query
    )  # and when the host was seen
