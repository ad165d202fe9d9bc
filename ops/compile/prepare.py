"""Sources as the compiler wants them, made from sources as people want them.

Two things that are good to write are slow when compiled, or keep a class from being compiled at
all. Both have another form that means the same, and nobody should have to write it:

* The `__init__` that `@dataclass` makes is interpreted, and it is what costs most. Here it is
  written out.
* `@ROUTING.register("name")` is an unknown decorator, and a class under one stays an ordinary one.
  Here it is a call at the end of the file.

A few classes do stay ordinary (`hot.ORDINARY`): their own checks come first, whatever the types.

Every line keeps its number, so that tracebacks point into the sources as they are: what is new
stands in lines that were empty.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TypeGuard

#: A native class cannot have interpreted subclasses unless it says so; policies of others may.
_OPEN = "@mypyc_attr(allow_interpreted_subclasses=True)"
#: And any decorator that is unknown keeps a class as it is.
_ORDINARY = "@(lambda kind: kind)"
_FUTURE = "from __future__ import annotations"


class CannotPrepare(Exception):
    """A source is written in a way for which there is no rule here."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a dataclass. `default` and `factory` are expressions, '' where there is none."""

    name: str
    kind: str
    default: str = ""
    factory: str = ""
    init: bool = True

    @property
    def parameter(self) -> str:
        if self.factory:
            return f"{self.name}: {self.kind} | None = None"
        return f"{self.name}: {self.kind}" + (f" = {self.default}" if self.default else "")

    @property
    def assignment(self) -> str:
        if not self.init:
            made = f"{self.factory}()" if self.factory else self.default
            return f"self.{self.name} = {made}" if made else ""
        made = f"{self.factory}() if {self.name} is None else " if self.factory else ""
        return f"self.{self.name} = {made}{self.name}"


@dataclass(slots=True)
class _Source:
    """A module in the making: its lines, and the lines to append."""

    path: str
    lines: list[str]
    after: list[str] = field(default_factory=list)

    def replace(self, line: int, text: str) -> None:
        self.lines[line - 1] = text

    def fill(self, first: int, last: int, text: str) -> None:
        """Write into the first empty line of some."""
        for number in range(first, last + 1):
            if not self.lines[number - 1].strip():
                self.replace(number, text)
                return
        raise CannotPrepare(f"{self.path}: no empty line from {first} to {last} for: {text}")


def prepared(text: str, path: str, ordinary: frozenset[str] = frozenset()) -> str:
    """Return a module's source for the compiler; classes named in `ordinary` are not compiled."""
    tree = ast.parse(text, path)
    source = _Source(path, text.splitlines())
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            _prepare_class(node, source, ordinary)
    _import(source)
    return "\n".join([*source.lines, *source.after]) + "\n"


def _prepare_class(node: ast.ClassDef, source: _Source, ordinary: frozenset[str]) -> None:
    if node.name in ordinary:
        _keep(node, source)
        return
    for decorator in node.decorator_list:
        if not isinstance(decorator, ast.Call):
            continue
        if isinstance(decorator.func, ast.Attribute) and decorator.func.attr == "register":
            source.replace(decorator.lineno, _OPEN)
            source.after.append(f"{ast.unparse(decorator)}({node.name})")
            source.after.append(f"setattr({node.name}, '__doc__', {ast.get_docstring(node)!r})")
        elif ast.unparse(decorator.func) in {"dataclass", "value"}:
            _write_init(node, source)


def _keep(node: ast.ClassDef, source: _Source) -> None:
    """Let a class stay ordinary, and let nothing be known of its fields' types."""
    first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
    source.fill(first - 2, first - 1, _ORDINARY)
    for method in node.body:
        if isinstance(method, ast.FunctionDef):
            line = source.lines[method.lineno - 1]
            source.replace(method.lineno, line.replace("(self", "(self: Any", 1))


def _write_init(node: ast.ClassDef, source: _Source) -> None:
    methods = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
    if node.bases:
        raise CannotPrepare(f"{source.path}: {node.name} is a dataclass with a base")
    if "__init__" in methods:
        return
    fields = [found for part in node.body if (found := _field(part, source.path)) is not None]
    parameters = ["self", *(f.parameter for f in fields if f.init)]
    does = [assigned for f in fields if (assigned := f.assignment)]
    if "__post_init__" in methods:
        does.append("self.__post_init__()")
    for part in node.body:
        if _is_class_var(part) and part.value is not None:  # else it would be taken for a field
            source.replace(part.lineno, "")
            named, made = ast.unparse(part.target), ast.unparse(part.value)
            source.after.append(f"setattr({node.name}, {named!r}, {made})")
    start = node.body[0].end_lineno or node.lineno
    init = f"def __init__({', '.join(parameters)}) -> None: {'; '.join(does) or 'pass'}"
    source.fill(start, node.end_lineno or start, f"    {init}  # type: ignore")


def _field(part: ast.stmt, path: str) -> _Field | None:
    if not isinstance(part, ast.AnnAssign) or not isinstance(part.target, ast.Name):
        return None
    if _is_class_var(part):
        return None
    name, kind, value = part.target.id, ast.unparse(part.annotation), part.value
    if not isinstance(value, ast.Call) or ast.unparse(value.func) != "field":
        return _Field(name, kind, "" if value is None else ast.unparse(value))
    options = {keyword.arg: keyword.value for keyword in value.keywords}
    if value.args or not set(options) <= {"default", "default_factory", "init", "repr", "compare"}:
        raise CannotPrepare(f"{path}:{part.lineno}: {ast.unparse(value)}")
    default, factory, init = map(options.get, ("default", "default_factory", "init"))
    return _Field(
        name,
        kind,
        ast.unparse(default) if default is not None else "",
        _called(factory) if factory is not None else "",
        init is None or ast.unparse(init) != "False",
    )


def _is_class_var(part: ast.stmt) -> TypeGuard[ast.AnnAssign]:
    return isinstance(part, ast.AnnAssign) and "ClassVar" in ast.unparse(part.annotation)


def _called(factory: ast.expr) -> str:
    """Return what can be called; a lambda only in brackets."""
    text = ast.unparse(factory)
    return f"({text})" if isinstance(factory, ast.Lambda) else text


def _import(source: _Source) -> None:
    """Name what the new lines need; at run time there is no module of the compiler's."""
    line = next((n + 1 for n, text in enumerate(source.lines) if text == _FUTURE), 0)
    if not line:
        raise CannotPrepare(f"{source.path}: {_FUTURE} is missing")
    source.replace(line, f"{_FUTURE}; from typing import Any, TYPE_CHECKING")
    source.fill(line + 1, line + 1, "if TYPE_CHECKING: from mypy_extensions import mypyc_attr")
