"""`make monitor`: a whole Parallax, a load, and a real Prometheus with all rules, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from ops.prometheus.live import NAMED, Live
from ops.prometheus.server import Refused, missing
from parallax.core.errors import ParallaxError
from parallax.services.clock import SystemClock
from parallax.services.orders import Interrupted, Orders

#: How long each load lasts before the next one begins (seconds).
LOAD_S = 600.0


def main() -> int:
    """Run both; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.prometheus.monitor", description=__doc__)
    parser.add_argument("--port", type=int, default=9_090, help="of Prometheus")
    parser.add_argument("--rate", type=float, default=20.0, help="jobs a second; 0: no load")
    options = parser.parse_args()
    why = missing()
    if why:
        sys.stderr.write(f"{why}\n")
        return 1
    clock = SystemClock()
    with Orders() as orders, tempfile.TemporaryDirectory(prefix="parallax-monitor-") as folder:
        live = Live(Path(folder), clock, base=NAMED, prometheus_port=options.port, every_s=5)
        try:
            with live:
                return _watched(live, options.rate, orders, clock)
        except Interrupted:
            return 0
        except (ParallaxError, Refused) as error:
            sys.stderr.write(f"{error}\n")
            return 1


def _watched(live: Live, rate: float, orders: Orders, clock: SystemClock) -> int:
    url = live.prometheus.url
    sys.stdout.write(f"Prometheus: {url}/alerts and {url}/graph   (Ctrl-C ends all of it)\n")
    sys.stdout.flush()
    load = None
    while True:
        orders.check()
        if live.prometheus.ended or live.up is None or live.up.poll() is not None:
            sys.stderr.write("Parallax or Prometheus has ended\n")
            return 1
        if rate > 0 and (load is None or load.poll() is not None):
            load = live.load(rate, LOAD_S)
        clock.wait(0.5)


if __name__ == "__main__":
    sys.exit(main())
