"""A server that evicts keys would lose accepted jobs without a word: it is not worked with."""

from __future__ import annotations

import logging

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.core.errors import InvalidSettings, StoreFault, Unusable

log = logging.getLogger(__name__)


def refuse_eviction(link: Link, keys: Keys) -> None:
    """Raise InvalidSettings unless the server of the cell keeps its keys; closes the link.

    Where the user may not read the server's settings (managed servers, narrow ACLs) a warning must
    do.
    """
    try:
        link.call("EXISTS", keys.leader)  # of a cluster's nodes, this leads to the cell's own
        answer = link.call("CONFIG", "GET", "maxmemory-policy")
    except Unusable:
        raise
    except StoreFault as error:
        log.warning("cannot tell whether this server evicts keys: %s", error)
        return
    finally:
        link.close()
    policy = answer[1].decode() if answer else "unknown"
    if policy != "noeviction":
        allowed = "set it to noeviction: evicting keys would lose accepted jobs"
        raise InvalidSettings("the server's maxmemory-policy", policy, allowed)
