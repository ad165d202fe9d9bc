"""Readers of traces: what is in a file becomes jobs; what is wrong is told with its place."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_HASH, MAX_TOKENS, Job
from parallax.sim.timed import Timed
from parallax.sim.traces.catalog import dealt, promised, read, sniffed
from parallax.sim.traces.formats import bailian, burstgpt, generic
from parallax.sim.traces.registry import FORMATS
from parallax.sim.traces.rows import LONGEST, SLACK_S, named
from parallax.sim.traces.sample import thinned, window
from parallax.sim.traces.threads import Threads
from tests.examples import examples

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:00.061930+00:00,2399,6
"""
MOONCAKE = """{"timestamp": 27000, "input_length": 1600, "output_length": 52, "hash_ids": [46, 47, 48, 2366]}
{"timestamp": 27052, "input_length": 511, "output_length": 0, "hash_ids": [46]}
"""  # noqa: E501
BURSTGPT = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5,a b/1,2.0,ChatGPT,472,18,490,Conversation log
45,,3.0,GPT-4,1087,0,1087,API log
118,,3.0,GPT-4,417,276,693,API log
"""  # noqa: E501
BAILIAN = """{"chat_id": 159, "parent_chat_id": -1, "timestamp": 61.1, "input_length": 40, "output_length": 9, "type": "text", "turn": 1, "hash_ids": [1, 2, 3]}
{"chat_id": 160, "parent_chat_id": -1, "timestamp": 61.2, "input_length": 16, "output_length": 9, "type": "text", "turn": 1, "hash_ids": [7]}
{"chat_id": 161, "parent_chat_id": 159, "timestamp": 61.5, "input_length": 64, "output_length": 9, "type": "text", "turn": 2, "hash_ids": [1, 2, 4, 5]}
{"chat_id": 162, "parent_chat_id": 161, "timestamp": 62, "input_length": 64, "output_length": 9, "type": "text", "turn": 3, "hash_ids": [1, 2, 4, 6]}
"""  # noqa: E501
VTC = """arrival_s,client,prompt_tokens,output_tokens,fcfs_ttft_s,fcfs_latency_s
0.0,13,13,199,1.18,9.4
0.207938,2,36,137,1.5,6.7
"""
GENERIC = """arrival_s,prompt_tokens,output_tokens,tenant,session,max_tokens,deadline_s,priority
0.5,100,10,acme,s1,64,2.5,-3
0.5,200,0,,,,,
"""
SAMPLES = {
    "azure": AZURE_2023,
    "bailian": BAILIAN,
    "burstgpt": BURSTGPT,
    "generic": GENERIC,
    "mooncake": MOONCAKE,
    "vtc": VTC,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trace"


def load(file: Path, text: str, form: str = "") -> list[Timed]:
    file.write_text(text, encoding="utf-8")
    return list(read(file, form))


def refusal(file: Path, text: str, form: str = "") -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load(file, text, form)
    return caught.value


def test_there_is_a_sample_of_every_format() -> None:
    assert set(SAMPLES) == set(FORMATS)


@pytest.mark.parametrize("text", [AZURE_2023, AZURE_2024])
def test_azure_of_both_years(file: Path, text: str) -> None:
    (begin, first), (later, second) = load(file, text)
    assert [begin, later] == pytest.approx([0.0, 0.052])
    assert first.prompt_tokens > 2000
    assert (second.tenant, second.session, second.prefix) == ("azure", "", ())


def test_mooncake_names_whole_blocks_of_512(file: Path) -> None:
    (_, first), (at_s, second) = load(file, MOONCAKE)
    assert at_s == pytest.approx(0.052)  # milliseconds
    assert (first.prefix, first.prefix_block) == ((46, 47, 48), 512)
    assert (second.prefix, second.output_tokens) == ((), 0)


def test_burstgpt_leaves_failures_out(file: Path) -> None:
    (_, first), (at_s, second) = load(file, BURSTGPT)
    assert at_s == 113.0
    assert (first.tenant, first.session) == ("ChatGPT", "a-b-1")
    assert (second.tenant, second.session, second.output_tokens) == ("GPT-4", "", 276)


def test_bailian_follows_the_chain_of_parents(file: Path) -> None:
    jobs = [job for _, job in load(file, BAILIAN)]
    assert [job.session for job in jobs] == ["s159", "s160", "s159", "s159"]
    assert [job.prefix for job in jobs] == [(1, 2), (7,), (1, 2, 4, 5), (1, 2, 4, 6)]
    assert {job.prefix_block for job in jobs} == {16}


def test_bailian_forgets_the_oldest_chats(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bailian, "REMEMBERED", 1)
    sessions = [job.session for _, job in load(file, BAILIAN)]
    assert sessions == ["s159", "s160", "s161", "s161"]


def test_a_client_is_a_tenant(file: Path) -> None:
    (_, first), (at_s, second) = load(file, VTC)
    assert at_s == 0.207938
    assert (first.tenant, second.tenant, second.output_tokens) == ("client-13", "client-2", 137)


def test_the_own_format_has_every_field_and_a_default_for_it(file: Path) -> None:
    (at_s, first), (_, second) = load(file, GENERIC)
    assert at_s == 0.0  # times count from the first row
    assert first == Job(
        "generic-0", "acme", 100, 64, "s1", output_tokens=10, deadline_s=2.5, priority=-3
    )
    assert second == Job("generic-1", "default", 200, LONGEST, output_tokens=0)


def test_json_lines_are_known_by_their_first_character(file: Path) -> None:
    line = {"arrival_s": 1, "prompt_tokens": 64, "output_tokens": 2, "prefix": [5, 6]}
    ((_, job),) = load(file, "\ufeff" + json.dumps(line))
    assert (job.prefix, job.prefix_block, job.tenant) == ((5, 6), 16, "default")


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_reads_back_the_same(file: Path, form: str) -> None:
    jobs = load(file, SAMPLES[form])
    copy = file.with_name("copy.jsonl")
    assert generic.write(copy, jobs) == len(jobs)
    again = list(read(copy, prefix=form))
    assert [job for _, job in again] == [
        replace(job, id=f"{form}-{n}") for n, (_, job) in enumerate(jobs)
    ]
    assert [at for at, _ in again] == pytest.approx([at for at, _ in jobs], abs=1e-6)


def test_writing_is_all_or_nothing(file: Path) -> None:
    file.write_text("old")
    unknown = Job("x", "a", 1, 1)  # nobody knows how long its answer is
    for jobs in ([], [(0.0, Job("y", "a", 1, 1, output_tokens=1)), (0.0, unknown)]):
        with pytest.raises(InvalidInput):
            generic.write(file, jobs)
        assert [path.name for path in file.parent.iterdir()] == ["trace"]
        assert file.read_text() == "old"
    with pytest.raises(InvalidInput, match="can be written"):
        generic.write(file / "below", [(0.0, Job("y", "a", 1, 1, output_tokens=1))])


@pytest.mark.parametrize("form", FORMATS)
def test_formats_are_told_apart(file: Path, form: str) -> None:
    file.write_text(SAMPLES[form])
    assert sniffed(file) == form


# -- nothing betrays the true length


@pytest.mark.parametrize("form", FORMATS)
def test_all_jobs_promise_the_same_and_no_less_than_the_longest(file: Path, form: str) -> None:
    text = SAMPLES[form].replace(",64,2.5", ",,2.5")  # the own format may say what was promised
    short = [job for _, job in load(file, text, form)]
    assert {job.max_tokens for job in short} == {LONGEST}
    long = {"azure": (",10\n", ",5000\n"), "vtc": (",199,", ",5000,"), "burstgpt": (",276,",
            ",5000,"), "generic": (",10,", ",5000,")}.get(form)  # fmt: skip
    old, new = long or ('"output_length": ', '"output_length": 500')
    jobs = [job for _, job in load(file, text.replace(old, new), form)]
    longest = max(job.output_tokens or 0 for job in jobs)
    assert longest > LONGEST
    assert {job.max_tokens for job in jobs} == {promised(longest)}


@given(st.integers(0, MAX_TOKENS))
def test_the_promise_covers_and_says_little(longest: int) -> None:
    assert promised(longest) >= longest
    assert promised(longest) in {*(LONGEST << n for n in range(12)), MAX_TOKENS}


def test_a_reader_that_is_told_less_refuses_the_longer_answer(file: Path) -> None:
    """The control: the first pass is what makes room."""
    file.write_text(BURSTGPT)
    with pytest.raises(InvalidInput, match="line 4, column Response tokens"):
        list(burstgpt.read(file, most=100))


# -- what is wrong


@pytest.mark.parametrize(
    ("form", "old", "new", "place"),
    [
        ("azure", ",3180,", ",-1,", "line 3, column ContextTokens"),
        ("azure", ",8\n", ",8.5\n", "line 3, column GeneratedTokens"),
        ("azure", "2023-11-16 18:17:04.0", "soon", "line 3, column TIMESTAMP"),
        ("azure", "04.0319600", "04+01:00", "line 3, column TIMESTAMP"),
        ("azure", "16 18:17:04", "16 18:15:04", "line 3, column TIMESTAMP"),
        ("azure", ",8\n", "\n", "line 3"),
        ("mooncake", "27052", "null", "line 2, column timestamp"),
        ("mooncake", "27052", "-1", "line 2, column timestamp"),
        ("mooncake", "27052", "true", "line 2, column timestamp"),
        ("mooncake", "27052", "NaN", "line 2, column timestamp"),
        ("mooncake", "511", str(MAX_TOKENS + 1), "line 2, column input_length"),
        ("mooncake", "511", "9" * 400, "line 2, column input_length"),
        ("mooncake", "[46]", "46", "line 2, column hash_ids"),
        ("mooncake", "[46]", '["46"]', "line 2, column hash_ids"),
        ("mooncake", "[46]", f"[{MAX_HASH + 1}]", "line 2, column hash_ids"),
        ("mooncake", "[46]", "[-1]", "line 2, column hash_ids"),
        ("mooncake", '"output_length": 0,', "", "line 2, column output_length"),
        ("mooncake", "[46]}", "[46]", "line 2"),
        ("bailian", '"chat_id": 162', '"chat_id": null', "line 4, column chat_id"),
        ("bailian", '"chat_id": 162', '"chat_id": [1]', "line 4, column chat_id"),
        ("bailian", ": 62,", ": 0,", "line 4, column timestamp"),
        ("burstgpt", "118", "x", "line 4, column Timestamp"),
        ("burstgpt", ",417,", ",,", "line 4, column Request tokens"),
        ("burstgpt", ",276,", ",2e9,", "line 4, column Response tokens"),
        ("vtc", "0.207938,2,", "0.207938,,", "line 3, column client"),
        ("vtc", ",36,", ",inf,", "line 3, column prompt_tokens"),
        ("generic", "0.5,200", "0.4,200", "line 3, column arrival_s"),
        ("generic", "acme", "a b", "line 2, column tenant"),
        ("generic", "s1", "{s}", "line 2, column session"),
        ("generic", ",64,", ",9,", "line 2, column output_tokens"),
        ("generic", ",64,", ",1.5,", "line 2, column max_tokens"),
        ("generic", ",2.5,", ",0,", "line 2, column deadline_s"),
        ("generic", ",-3", ",1.5", "line 2, column priority"),
        ("generic", ",-3", ",101", "line 2, column priority"),
    ],
)
def test_a_bad_value_is_told_with_file_line_and_column(
    file: Path, form: str, old: str, new: str, place: str
) -> None:
    assert SAMPLES[form].count(old), "the row must be there to be spoilt"
    error = refusal(file, new.join(SAMPLES[form].rsplit(old, 1)), form)
    assert error.field == f"{file}, {place}"


@pytest.mark.parametrize("line", ["[1]", "3", "{", '{"a": ' * 2000], ids=len)
def test_a_line_that_is_no_object_is_told(file: Path, line: str) -> None:
    assert refusal(file, f"{MOONCAKE}{line}\n", "mooncake").field == f"{file}, line 3"


@pytest.mark.parametrize(
    "text", ["", "\n", "a,b,c\n1,2,3\n", "{", '{"a": 1}', "[1, 2]", "\ufeff"]
)  # fmt: skip
def test_an_unknown_file_is_refused_with_the_formats_that_there_are(file: Path, text: str) -> None:
    error = refusal(file, text)
    assert error.field == f"{file}, line 1"
    told = "one JSON object a line" if text == "[1, 2]" else "azure: TIMESTAMP, ContextTokens"
    assert told in error.allowed


@pytest.mark.parametrize("form", [f for f in FORMATS if f not in ("mooncake", "bailian")])
def test_a_head_without_what_is_needed_shows_what_is(file: Path, form: str) -> None:
    error = refusal(file, "a,b\n1,2\n", form)
    assert error.field == f"{file}, line 1"
    assert error.allowed.startswith("columns ")


def test_the_arguments_are_checked(file: Path) -> None:
    file.write_text(VTC)
    for words in ({"form": "nope"}, {"limit": -1}, {"tenants": 0}):
        with pytest.raises(InvalidInput):
            read(file, **words)
    with pytest.raises(InvalidInput, match="missing"):
        read(file.with_name("missing"))
    file.write_bytes(VTC.encode() + b"\xff")
    with pytest.raises(InvalidInput, match="readable"):
        read(file)


def test_what_lies_beyond_the_limit_does_not_matter(file: Path) -> None:
    file.write_text(VTC + "junk\n")
    assert len(list(read(file, limit=2))) == 2
    with pytest.raises(InvalidInput, match="line 4"):
        read(file, limit=3)


def test_time_does_not_run_backwards_and_a_file_out_of_order_is_refused(file: Path) -> None:
    rows = [(0.0, "a"), (30.0, "b"), (30.0 - SLACK_S / 2, "c"), (31.0, "d")]
    head = "arrival_s,client,prompt_tokens,output_tokens\n"
    text = head + "".join(f"{100 + at},{who},1,1\n" for at, who in rows)
    assert [at for at, _ in load(file, text)] == [0.0, 30.0, 30.0, 31.0]
    late = f"{text}{300 + SLACK_S},e,1,1\n299,f,1,1\n"
    assert refusal(file, late).field == f"{file}, line 7, column arrival_s"


@settings(max_examples=examples(150), deadline=None)
@given(
    form=st.sampled_from(sorted(FORMATS)),
    at=st.integers(0, 200),
    noise=st.text(st.sampled_from('0129-: .,"\n{}[]nulltrue+Zx'), max_size=12),
)
def test_any_spoilt_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, form: str, at: int, noise: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "spoilt"
    text = SAMPLES[form]
    file.write_text(text[:at] + noise + text[at:])
    with contextlib.suppress(InvalidInput):
        times = [at for at, _ in read(file, form)]
        assert times == sorted(times)


@given(st.text(max_size=100))
def test_any_text_becomes_a_name(text: str) -> None:
    Job("x", named(text), 1, 1)


# -- dealing, conversations, samples


def chats(count: int, turns: int = 3) -> list[Timed]:
    """Return conversations whose prompts all share a first block, and grow by a block a turn."""
    rows = []
    for turn in range(turns):
        for chat in range(count):
            names = (0, *(1000 * (chat + 1) + n for n in range(turn + 1)))
            job = Job(
                f"{turn}-{chat}", "t", 16 * len(names), 9, output_tokens=1, prefix=names
            )  # fmt: skip
            rows.append((float(turn * count + chat), job))
    return rows


def test_tenants_are_dealt_in_turn_but_sessions_stay_together(file: Path) -> None:
    file.write_text(AZURE_2023)
    assert [job.tenant for _, job in read(file, tenants=2)] == ["tenant-0", "tenant-1"]
    jobs = [job for _, job in dealt(load(file, BAILIAN), [f"t{n}" for n in range(50)])]
    assert jobs[0].tenant == jobs[2].tenant == jobs[3].tenant != jobs[1].tenant


def test_conversations_are_found_without_sessions() -> None:
    threads = Threads()
    found = [threads.of(job) for _, job in chats(4)]
    assert found == [f"0-{chat}" for chat in range(4)] * 3


def test_what_shares_only_the_first_block_is_no_conversation() -> None:
    threads = Threads()
    jobs = [Job(f"j{n}", "t", 32, 9, output_tokens=1, prefix=(0, 10 + n)) for n in range(5)]
    assert [threads.of(job) for job in jobs] == [job.id for job in jobs]


def test_a_sample_keeps_conversations_whole_and_every_seed_another_one() -> None:
    jobs = chats(200)
    part = list(thinned(jobs, 0.3, seed=1))
    kept = {job.id.partition("-")[2] for _, job in part}
    assert len(part) == 3 * len(kept)  # all turns of those that are kept
    assert 35 <= len(kept) <= 85  # 60, give or take four standard deviations
    assert part == list(thinned(jobs, 0.3, seed=1))
    assert part != list(thinned(jobs, 0.3, seed=2))
    assert list(thinned(jobs, 1.0)) == jobs


def test_the_control_a_sample_of_single_jobs_tears_conversations_apart() -> None:
    jobs = chats(200)
    alone = [(at, Job(j.id, j.tenant, j.prompt_tokens, 9, output_tokens=1)) for at, j in jobs]
    part = list(thinned(alone, 0.3, seed=1))
    kept = {job.id.partition("-")[2] for _, job in part}
    assert len(part) < 2 * len(kept)


def test_a_window_starts_its_own_time() -> None:
    jobs = chats(10)
    assert [at for at, _ in window(jobs, 5.0, 3.0)] == [0.0, 1.0, 2.0]
    assert list(window(jobs)) == jobs
    for begin, seconds in ((-1.0, 1.0), (0.0, 0.0), (float("nan"), 1.0)):
        with pytest.raises(InvalidInput):
            list(window(jobs, begin, seconds))
