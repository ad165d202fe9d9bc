"""How far an inbox was read, and when it is cut back."""

from __future__ import annotations

from parallax.broker.store.results import Notice
from parallax.producers.client.bookmark import READ, Bookmark

PLAIN, APART = Notice("j1", "answer", b""), Notice("j2", "answer", b"", apart=True)


def test_the_inbox_is_cut_back_once_for_so_many_notices() -> None:
    mark = Bookmark()
    mark.move("1-0", [PLAIN] * (READ - 1))
    assert not mark.full
    mark.move("2-0", [PLAIN])
    assert (mark.full, mark.cursor) == (True, "2-0")
    mark.move("3-0", [PLAIN])
    assert not mark.full


def test_only_what_the_last_read_brought_apart_goes_with_the_next() -> None:
    mark = Bookmark()
    mark.move("1-0", [PLAIN, APART])
    assert mark.taken == ["j2"]
    mark.move("2-0", [PLAIN])
    assert mark.taken == []
