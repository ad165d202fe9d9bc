"""What the compiler is given means the same as the sources, line by line."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import parallax
from ops.compile.hot import COLD, ORDINARY, hot_modules
from ops.compile.prepare import CannotPrepare, prepared
from parallax.core.build import compiled
from parallax.policies.registry import REGISTRIES

PACKAGE = Path(parallax.__file__).parent
MODULES = list(hot_modules(PACKAGE))

POLICY = '''"""A module."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@ROUTING.register("mine")
@dataclass(slots=True)
class Mine:
    """What it does."""

    size: int
    names: list[str] = field(default_factory=list)
    limit: ClassVar[int] = 7
    _last: float = field(default=0.5, init=False, repr=False)

    def __post_init__(self) -> None:
        self.names.append("new")


class Plain:
    """Has no fields."""
'''


class Known:
    """A registry that notes who is registered."""

    def __init__(self) -> None:
        self.names: dict[str, type] = {}

    def register(self, name: str) -> Any:
        return lambda kind: self.names.setdefault(name, kind)


def run(patch: pytest.MonkeyPatch, text: str, **names: object) -> ModuleType:
    """Run what the compiler would be given, interpreted."""
    module = ModuleType("parallax.made")
    patch.setitem(sys.modules, module.__name__, module)
    vars(module).update(names, mypyc_attr=lambda **_: lambda kind: kind)
    exec(compile(text, "made", "exec"), vars(module))  # noqa: S102
    return module


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.sampled(12)
def test_lines_keep_their_numbers(name: str) -> None:
    text = (PACKAGE / name).read_text("utf-8")
    made = prepared(text, name, ORDINARY.get(name, frozenset()))
    before = {n.name: n.lineno for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef)}
    after = {n.name: n.lineno for n in ast.walk(ast.parse(made)) if isinstance(n, ast.ClassDef)}
    assert before == after
    for was, now in zip(text.splitlines(), made.splitlines(), strict=False):
        mine = not was.strip() or was.strip().startswith("@") or "(self" in was or "ClassVar" in was
        assert was == now or mine or was.startswith("from __future__")


def test_a_policy_is_built_and_registered_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Known()
    module = run(monkeypatch, prepared(POLICY, "mine.py"), ROUTING=known)
    mine = module.Mine(3)
    assert known.names == {"mine": module.Mine}
    assert module.Mine.__doc__ == "What it does."
    assert (mine.size, mine.names, mine._last) == (3, ["new"], 0.5)
    assert [f.name for f in dataclasses.fields(mine) if f.init] == ["size", "names"]
    assert module.Mine.limit == 7
    assert module.Mine(size=1, names=["a"]).names == ["a", "new"]
    assert module.Mine(1).names is not module.Mine(1).names


@pytest.mark.interpreted("signatures of compiled classes are not there to be compared with")
@pytest.mark.parametrize("name", MODULES)
def test_what_is_written_out_takes_what_the_dataclass_takes(name: str) -> None:
    made = ast.parse(prepared((PACKAGE / name).read_text("utf-8"), name))
    module = __import__(f"parallax.{name.removesuffix('.py').replace('/', '.')}", fromlist=["x"])
    for node in made.body:
        kind: Any = getattr(module, node.name) if isinstance(node, ast.ClassDef) else None
        if not hasattr(kind, "__dataclass_fields__"):
            continue
        (init,) = (n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")  # type: ignore[attr-defined]
        wanted = list(inspect.signature(kind).parameters)
        assert [argument.arg for argument in init.args.args][1:] == wanted


def test_a_class_that_stays_ordinary_is_under_a_decorator_and_knows_no_types() -> None:
    made = prepared(POLICY, "mine.py", frozenset({"Mine"}))
    assert "def __init__" not in made
    assert "def __post_init__(self: Any)" in made
    assert '@ROUTING.register("mine")' in made


@pytest.mark.parametrize(
    "text",
    [
        POLICY.replace("class Mine:", "class Mine(Other):"),
        POLICY.replace("default=0.5", "kw_only=True"),
        POLICY.replace("from __future__ import annotations", ""),
    ],
    ids=["a base", "an option that is not known", "annotations that are run"],
)
def test_what_there_is_no_rule_for_is_refused(text: str) -> None:
    with pytest.raises(CannotPrepare, match=r"mine\.py"):
        prepared(text, "mine.py")


def test_what_is_left_out_is_there_to_be_left_out() -> None:
    assert all((PACKAGE / name).exists() for name in COLD)
    assert set(ORDINARY) <= set(MODULES)


def test_policies_are_the_same_kind_of_thing_in_both_builds() -> None:
    hot = {f"parallax.{name.removesuffix('.py').replace('/', '.')}" for name in MODULES}
    kinds = [registry[name] for registry in REGISTRIES for name in registry]
    assert any(kind.__module__ in hot for kind in kinds)
    for kind in kinds:
        path = inspect.getfile(__import__(kind.__module__, fromlist=["x"]))
        assert path.endswith(".py") is not (compiled() and kind.__module__ in hot)
