"""What pydantic refuses, in plain words: its errors become Faults that say what was found and what to write instead.

Beside `models`, whose validators word their own faults (type `tidegate`); everything here is about the generic ones.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.problems import UP, Fault, KeyPath, shorten, show

_KEY = "[key]"
_FEW, _MANY = 12, 200
"""Names that are listed; names that are searched for the nearest (a thousand would take milliseconds per fault)."""
MOST_HINTS = 50
"""Unknown names that get a hint: to search for the nearest takes 0.1 ms, which 200,000 keys would make 20 s."""

_WORDS: Mapping[str, str] = {
    "model_type": "must be a mapping of keys to values, got {input}",
    "model_attributes_type": "must be a mapping of keys to values, got {input}",
    "dict_type": "must be a mapping of keys to values, got {input}",
    "tuple_type": "must be a list, got {input}",
    "string_type": "must be text, got {input}{quote}",
    "int_type": "must be a whole number, got {input}",
    "int_from_float": "must be a whole number, got {input}",
    "int_parsing_size": "{input} is too large",
    "float_type": "must be a number, got {input}",
    "bool_type": "must be true or false, got {input}",
    "literal_error": "must be {expected}, got {input}",
    "greater_than": "must be more than {gt:g}, got {input}",
    "greater_than_equal": "must be at least {ge}, got {input}",
    "less_than": "must be less than {lt:g}, got {input}",
    "less_than_equal": "must be at most {le}, got {input}",
    "finite_number": "must be a finite number, got {input}",
    "string_too_short": "must not be empty",
    "string_unicode": "{input} holds characters that are none",
}

_PATTERNS: Mapping[str, str] = {
    r"^[A-Za-z0-9]": "{input} is not a name: use up to 127 letters, digits, `.`, `_` and `-`, the first a letter or a digit",
    r"^[A-Za-z0-9!": "{input} is neither a host nor a word: letters, digits and !#$%&'*+.^_`|~- make one",
    r"^[a-zA-Z_:]": "{input} is not a metric's name: letters, digits, `_` and `:` make one, the first no digit",
    r"^[!-~](": "{input} is not a name: up to 63 printable ASCII characters make one",
    r"^[^\x00]": "{input} holds a NUL character",
    r"^/": "{input} is not a path: it must begin with `/` and be written as clients send it",
}


def blank(path: KeyPath) -> Fault:
    """A key stands there without a value."""
    if path[-1] == "port" and "command" in path[:-1]:
        return Fault(path[:-1], 'must be in quotes: "{port}"; without them YAML reads a mapping')
    return Fault(path, "has no value: give one, or remove the key")


OF_SEVERAL_KINDS = ("autoscaler", "gateways")
"""The key that takes URLs, or a mapping."""
METRICS = ("scale", "metrics")
"""Below a backend: the list of mappings that each have a `type`."""


def explain(error: ValidationError, model: type[BaseModel], blanks: Iterable[KeyPath]) -> Iterator[Fault]:
    """A Fault for each thing that is wrong. `blanks` are the keys that stand there without a value."""
    empty = set(blanks)
    for path in sorted(empty, key=str):
        yield blank(path)
    seen = set()
    hints = MOST_HINTS
    for detail in error.errors(include_url=False):
        hints -= detail["type"] == "extra_forbidden"
        for fault in _faults(detail, model, hint=hints >= 0):
            if fault not in seen and _absent(detail) not in empty:
                seen.add(fault)
                yield fault


def _faults(detail: ErrorDetails, model: type[BaseModel], *, hint: bool) -> Iterator[Fault]:
    path, kind, context = _plain(tuple(detail["loc"])), detail["type"], detail.get("ctx", {})
    if path and path[-1] == _KEY:
        path = path[:-1]
    if kind == "tidegate":
        for under, text in context["faults"]:
            yield Fault(_below(path, under), text)
    elif kind == "union_tag_invalid":
        kinds = " or ".join(context["expected_tags"].rsplit(", ", 1))
        yield Fault((*path, "type"), f"must be {kinds}, got {show(context['tag'])}")
    elif kind == "union_tag_not_found":
        yield Fault(path, "required key 'type' is missing")
    elif kind == "missing":
        yield Fault(path[:-1], f"required key {show(path[-1])} is missing")
    elif kind == "extra_forbidden":
        kind_of_metric = detail["loc"][5] if path[2:4] == METRICS else None
        known, key = _keys(model, path[:-1], kind_of_metric) if hint else (), str(path[-1])
        words = nearest(key, known) or listing(known) if hint else ""
        yield Fault(path[:-1], f"unknown key {show(key)}{words}", at=path)
    else:
        yield Fault(path, _word(detail, context))


def _absent(detail: ErrorDetails) -> KeyPath | None:
    """The key that is said to be missing, which it is also when it has no value."""
    path = tuple(detail["loc"])
    return {"missing": path, "union_tag_not_found": (*path, "type")}.get(detail["type"])


def _plain(path: KeyPath) -> KeyPath:
    """Without the part by which pydantic tells of which kind a value was, where a key takes several."""
    if path[:2] == OF_SEVERAL_KINDS:
        return (*OF_SEVERAL_KINDS, *path[3:])
    return (*path[:5], *path[6:]) if path[2:4] == METRICS else path


def _below(path: KeyPath, under: KeyPath) -> KeyPath:
    return _below(path[:-1], under[1:]) if under[:1] == (UP,) else path + under


def _word(detail: ErrorDetails, context: Mapping[str, Any]) -> str:
    value = detail["input"]
    quote = f': quote it, "{show(value)}"' if isinstance(value, (int, float)) else ""
    template = _WORDS.get(detail["type"])
    if detail["type"] == "string_pattern_mismatch":
        template = next(
            (text for start, text in _PATTERNS.items() if context["pattern"].startswith(start)), None
        )
    if template is None:
        return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, got {show(value)}"
    return template.format_map({**context, "input": show(value), "quote": quote})


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing."""
    names = list(known)
    near = difflib.get_close_matches(word[:64], names, n=1) if len(names) <= _MANY else []
    return f" (did you mean {show(near[0])}?)" if near else ""


def listing(known: Iterable[str]) -> str:
    """` (there are: …)`, or nothing when there are too many."""
    names = sorted(known)
    return f" (there are: {', '.join(map(shorten, names)) or 'none'})" if len(names) <= _FEW else ""


def _keys(model: type[BaseModel], path: KeyPath, kind: str | int | None) -> Iterable[str]:
    """The keys that the mapping at `path` may hold: the way there leads through models, dicts and tuples of models.

    `kind`: the `type` that it says it is, where mappings of several kinds may stand.
    """
    annotation: Any = model
    for part in path:
        annotation = _given(annotation)
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        elif get_origin(annotation) is tuple:
            annotation = get_args(annotation)[0]
        else:
            annotation = annotation.model_fields[str(part)].annotation
    return list(_given(annotation, kind).model_fields)


def _given(annotation: Any, kind: str | int | None = None) -> Any:  # noqa: ANN401 - as types are
    """What a section that may be left out is when it is there; of several kinds the one that has keys."""
    if get_origin(annotation) is Annotated:
        return _given(get_args(annotation)[0], kind)
    if not isinstance(annotation, UnionType) and get_origin(annotation) is not Union:
        return annotation
    several = [_given(each) for each in get_args(annotation) if each is not NoneType]
    models = [each for each in several if hasattr(each, "model_fields")]
    named = (
        (each for each in models if kind in get_args(each.model_fields["type"].annotation)) if kind else ()
    )
    return next(iter(named), (models or several)[0])
