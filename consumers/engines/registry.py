"""Engines by name: registering, finding and building them.

An engine is a file below `consumers/engines/` with a builder that is registered under its name.
The first line of the builder's docstring says what it does; the command line, the docs and the
conformance tests iterate over the registry.

    @ENGINES.register("clock")
    def build(options: Options) -> ClockEngine:
        '''Waits the modelled time.'''

Other distributions bring engines, too: each module that they name as an entry point of the group
`parallax.engines` is imported as if it stood here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from parallax.consumers.engines.interface import Engine
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput
from parallax.core.extensions import Extensions
from parallax.core.model import check_int, check_number
from parallax.core.settings import PolicyChoice
from parallax.engine.batch import BatchingPolicy
from parallax.engine.profiles import Profile
from parallax.policies.registry import BATCHING
from parallax.sim.calibration.profiles import known_profile

#: What an engine does by itself.
CONTINUOUS = PolicyChoice("continuous")


@dataclass(frozen=True, slots=True)
class Options:
    """The inputs of an engine's builder."""

    profile: Profile  # with `slots` in place of its own number of sequences, if that was given
    slots: int | None  # requests that run at once, if that was given
    speed: float  # how many times faster than the profile
    clock: Clock
    batching: BatchingPolicy | None  # a batching policy; None: the engine's own
    backend: str = ""  # the server that an engine stands for, as `--backend` has it


Builder = Callable[[Options], Engine]


@dataclass(slots=True)
class Engines:
    """The builders by name."""

    _builders: dict[str, Builder] = field(default_factory=dict)

    def register(self, name: str) -> Callable[[Builder], Builder]:
        """Return a decorator that makes an engine known under `name`."""

        def add(builder: Builder) -> Builder:
            known = self._builders.setdefault(name, builder)
            if known.__module__ != builder.__module__:
                raise ValueError(f"two engines are called {name!r}")
            return builder

        return add

    def __iter__(self) -> Iterator[str]:
        EXTENSIONS.discover()
        return iter(sorted(self._builders))

    def __getitem__(self, name: str) -> Builder:
        EXTENSIONS.discover()
        if name not in self._builders:
            raise InvalidInput(
                "--engine", name, "; ".join([f"known: {', '.join(self)}", *EXTENSIONS.broken()])
            )
        return self._builders[name]

    def summary(self, name: str) -> str:
        """Return the first line of the builder's docstring, without the full stop."""
        return (self[name].__doc__ or "").strip().partition("\n")[0].rstrip(".")


ENGINES = Engines()
EXTENSIONS = Extensions(
    "parallax.consumers.engines", "parallax.engines", lambda: [ENGINES._builders]
)


def build_engine(
    kind: str,
    *,
    profile: str,
    slots: int | None,
    speed: float,
    clock: Clock,
    batching: PolicyChoice = CONTINUOUS,
    backend: str = "",
) -> Engine:
    """Return a new engine.

    Raises InvalidInput for an unknown kind, profile or number, UnknownPolicy for a batching policy
    or parameter that does not exist.
    """
    check_number("--speed", speed, 0.001, 10_000.0)
    if slots is not None:
        check_int("--slots", slots, 1, 100_000)
    chosen = known_profile("--profile", profile)
    if slots is not None:
        chosen = replace(chosen, max_seqs=slots)
    policy = None
    if batching.name != CONTINUOUS.name:
        policy = BATCHING.build(batching.name, batching.parameters)
    return ENGINES[kind](Options(chosen, slots, speed, clock, policy, backend))
