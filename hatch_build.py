"""A wheel with compiled modules, if PARALLAX_COMPILE=1; else there is nothing to do."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileHook(BuildHookInterface[Any]):
    """See the module's docstring. The sources stay in the wheel: other Pythons use them."""

    def dependencies(self) -> list[str]:
        """Return what the build needs besides hatchling."""
        return ["mypy==2.4.1", "setuptools>=80", "click>=8.2"] if _wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the libraries; an editable install runs the sources as they are edited."""
        if not _wanted() or version == "editable":
            return
        sys.path.insert(0, self.root)
        from ops.compile.build import compiled_into

        stage = Path(self.root) / "build" / "prepared"
        for library in compiled_into(stage, Path(self.root)):
            build_data["force_include"][str(library)] = library.relative_to(stage).as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def _wanted() -> bool:
    return os.environ.get("PARALLAX_COMPILE", "0") not in {"", "0"}
