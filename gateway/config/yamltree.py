"""YAML text to a tree of Nodes that know their lines, safely and with every fault in one pass.

Composed from the parser's flat events rather than by PyYAML's composer, because a configuration may come from a stranger:
depth and size after aliases are bounded before anything is built. Plain scalars follow YAML 1.2's core schema: `on`,
`yes` and `1:30` are text. Keys are always text. Merge keys (`<<`) work; duplicate keys are faults.
Beside it: `load` reads the file and asks the tree for lines; `explain` words what the models refuse.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from gateway.config.problems import KeyPath, show

DEEPEST = 64
"""Levels of nesting; a configuration uses seven."""
LARGEST = 1_000_000
"""Values, each alias counted with all that it stands for; 1,000 routes and backends make 30,000."""

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")
_KEYWORDS = {"": None, "~": None} | {
    form: value
    for word, value in {"null": None, "true": True, "false": False}.items()
    for form in (word, word.title(), word.upper())
}
_NUMBER = re.compile(
    r"(?P<octal>0o[0-7]+)|(?P<hex>0x[0-9a-fA-F]+)|(?P<int>[-+]?[0-9]+)"
    r"|(?P<inf>[-+]?\.(?:inf|Inf|INF))|(?P<nan>\.(?:nan|NaN|NAN))"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
)
_LONGEST_NUMBER = 60
"""Characters of a number; what is longer is text, so that nobody spends time on turning it into digits."""


class YamlError(Exception):
    """Text that is not YAML, or not YAML that we take; nothing after `line` was read."""

    def __init__(self, line: int, text: str) -> None:
        self.line = line
        super().__init__(text)


@dataclass(slots=True, eq=False)
class Node:
    """A value of the file: a scalar, a list of Nodes, or a dict of (the key's line, Node)."""

    value: Any
    line: int
    size: int = 1
    height: int = 1

    def plain(self) -> Any:  # noqa: ANN401 - what YAML can hold
        """The value in plain Python. Keys without a value are left out; `blanks` names them."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, (_, node) in self.value.items() if node.value is not None}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def blanks(self, path: KeyPath = ()) -> Iterator[KeyPath]:
        """The paths of keys without a value."""
        if isinstance(self.value, dict):
            for key, (_, node) in self.value.items():
                if node.value is None:
                    yield (*path, key)
                yield from node.blanks((*path, key))
        elif isinstance(self.value, list):
            for i, node in enumerate(self.value):
                yield from node.blanks((*path, i))

    def line_of(self, path: KeyPath) -> int:
        """The line of the key at `path`, or of the nearest thing above it that exists."""
        node, line = self, self.line
        for part in path:
            if isinstance(node.value, dict) and part in node.value:
                line, node = node.value[part]
            elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.line
            else:
                break
        return line


def compose(text: str) -> tuple[Node | None, list[tuple[int, KeyPath, str]]]:
    """The tree of the only document in `text` (None when it is empty) and its faults: (line, path, what is wrong).

    YamlError when the rest of the text cannot be made sense of.
    """
    try:
        composer = _Composer(text)
        return composer.document(), composer.faults
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(line, "not text: it holds a control character") from error
    except yaml.MarkedYAMLError as error:
        lines = text.splitlines() or [""]
        mark = error.problem_mark or error.context_mark
        line, column = (min(mark.line, len(lines) - 1), mark.column) if mark else (0, 0)
        raise YamlError(
            line + 1, f"not YAML: {_plain_words(error, lines[line][column : column + 1])}"
        ) from error


def _plain_words(error: yaml.MarkedYAMLError, at: str) -> str:
    problem = error.problem or "it cannot be read"
    if "tab character" in problem or ("cannot start any token" in problem and at == "\t"):
        return "a tab stands where spaces should indent"
    begun = f" from line {error.context_mark.line + 1}" if error.context_mark else ""
    return f"{problem} {error.context}{begun}" if error.context else problem


class _Composer:
    """One pass over the events of one document."""

    def __init__(self, text: str) -> None:
        self.faults: list[tuple[int, KeyPath, str]] = []
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self._anchors: dict[str, Node | None] = {}
        """None while the anchored value is still being read."""
        self._values = 0

    def document(self) -> Node | None:
        root = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise YamlError(_line(event), "a second document begins; a file holds one")
                root = self._node(next(self._events), ())
        return root

    def _node(self, event: Any, path: KeyPath) -> Node:  # noqa: ANN401 - events are untyped
        if len(path) > DEEPEST:
            raise YamlError(_line(event), f"nested deeper than {DEEPEST} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._count(1, event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = Node(self._scalar(event, path), _line(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, path)
        else:
            node = self._mapping(event, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        if event.anchor not in self._anchors:
            raise YamlError(_line(event), f"alias *{event.anchor} stands for nothing above it")
        node = self._anchors[event.anchor]
        if node is None:
            raise YamlError(_line(event), f"alias *{event.anchor} stands inside of what it stands for")
        self._count(node.size, event)
        return node

    def _count(self, values: int, event: Any) -> None:  # noqa: ANN401
        self._values += values
        if self._values > LARGEST:
            raise YamlError(_line(event), f"more than {LARGEST:,} values, counting what aliases stand for")

    def _sequence(self, start: Any, path: KeyPath) -> Node:  # noqa: ANN401
        self._refuse_tag(start, path, "seq")
        nodes: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            nodes.append(self._node(event, (*path, len(nodes))))
        return _measured(Node(nodes, _line(start)), nodes)

    def _mapping(self, start: Any, path: KeyPath) -> Node:  # noqa: ANN401
        self._refuse_tag(start, path, "map")
        entries: dict[str, tuple[int, Node]] = {}
        merged: dict[str, tuple[int, Node]] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            node = self._node(next(self._events), (*path, key))
            if key == "<<" and event.implicit[0]:
                self._merge(merged, node, path)
            elif key in entries:
                self.faults.append(
                    (_line(event), path, f"key {show(key)} is given twice, first on line {entries[key][0]}")
                )
            else:
                entries[key] = (_line(event), node)
        for key, entry in merged.items():
            entries.setdefault(key, entry)
        return _measured(Node(entries, _line(start)), [node for _, node in entries.values()])

    def _key(self, event: Any, path: KeyPath) -> str:  # noqa: ANN401
        if isinstance(event, yaml.AliasEvent):
            node = self._alias(event)
            if isinstance(node.value, str):
                return node.value
        elif isinstance(event, yaml.ScalarEvent):
            if event.anchor is not None:
                self._anchors[event.anchor] = Node(event.value, _line(event))
            return str(event.value)
        raise YamlError(
            _line(event), f"a key must be text ({len(path)} levels deep)" if path else "a key must be text"
        )

    def _merge(self, merged: dict[str, tuple[int, Node]], node: Node, path: KeyPath) -> None:
        for source in node.value if isinstance(node.value, list) else [node]:
            if isinstance(source.value, dict):
                for key, entry in source.value.items():
                    merged.setdefault(key, entry)
            else:
                self.faults.append((source.line, path, "`<<` merges a mapping, or a list of mappings"))

    def _scalar(self, event: Any, path: KeyPath) -> Any:  # noqa: ANN401
        if event.tag is not None or not event.implicit[0]:
            if event.tag not in _TEXT_TAGS:
                self._refuse_tag(event, path, "str")
            return event.value
        text = event.value
        if text in _KEYWORDS:
            return _KEYWORDS[text]
        match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
        if match is None:
            return text
        return _number(text, match.lastgroup)

    def _refuse_tag(self, event: Any, path: KeyPath, usual: str) -> None:  # noqa: ANN401
        if event.tag not in (None, "!", f"tag:yaml.org,2002:{usual}"):
            self.faults.append(
                (_line(event), path, f"tag {show(event.tag)} is not supported; write the value without it")
            )


def _number(text: str, kind: str | None) -> int | float:
    match kind:
        case "octal":
            return int(text, 8)
        case "hex":
            return int(text, 16)
        case "int":
            return int(text)
        case _:
            return float(text.replace(".", "") if kind in ("inf", "nan") else text)


def _measured(node: Node, children: list[Node]) -> Node:
    """`node` with its measures, or YamlError when aliases made it too deep."""
    node.size += sum(child.size for child in children)
    node.height += max((child.height for child in children), default=0)
    if node.height > DEEPEST:
        raise YamlError(node.line, f"nested deeper than {DEEPEST} levels, counting what aliases stand for")
    return node


def _line(event: Any) -> int:  # noqa: ANN401
    return int(event.start_mark.line) + 1
