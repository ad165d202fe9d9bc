"""Run by `build` in the folder of prepared sources: compiles the modules that are named."""

from __future__ import annotations

import sys

from mypyc.build import mypycify
from setuptools import setup

#: Types are checked by `make lint`, over the sources as they are.
OPTIONS = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]

if __name__ == "__main__":
    extensions = mypycify([*OPTIONS, *sys.argv[2:]], debug_level="0", group_name=sys.argv[1])
    setup(name="parallax-hot", packages=[], ext_modules=extensions,
          script_args=["--quiet", "build_ext", "--inplace"])  # fmt: skip
