"""A model as it is stored: in specs and recordings, which without one are as they always were."""

from __future__ import annotations

import pytest

from parallax.broker.store.codec import About, decode_about, decode_waiting
from parallax.broker.store.recording import Batch, decode_line, encode_line, encoded_actions
from parallax.broker.store.specs import MOST_INLINE, joined, parts_of, spec_of, ticket_of
from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_HASH, Job, JobView
from parallax.scheduling.actions import Steal
from parallax.scheduling.events import Event, JobArrived, WorkerReported

MODELS = ("", "llama3:8b", "meta-llama/Llama-3.1-8B", "/models/my model.gguf", "é" * 128)
PREFIXES = ((), tuple(range(30)), tuple(range(MAX_HASH - 900, MAX_HASH)))


def stored(job: Job) -> About:
    spec, prefix = parts_of(job)
    return decode_about(joined(f"1000 {ticket_of(job, b'', '')} ".encode() + spec, prefix))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("prefix", PREFIXES, ids=len)
def test_a_job_is_read_back_with_its_model(model: str, prefix: tuple[int, ...]) -> None:
    job = Job("j", "acme", 16_000, 5, prefix=prefix, model=model)
    spec, apart = parts_of(job)
    assert len(spec) <= MOST_INLINE
    assert bool(apart) == (len(spec_of(job)) > MOST_INLINE)
    found = stored(job).spec
    assert (found.model, found.prefix, found.prefix_block) == (model, prefix, 16)
    view, elsewhere = decode_waiting([b"j", b"j 1000 - 0 " + spec])
    assert (view.model, elsewhere) == (model, len(apart))


def test_without_a_model_nothing_is_written_of_it() -> None:
    assert spec_of(Job("j", "acme", 3, 5)) == b'[1,"acme",3,5,"",0]'
    assert spec_of(Job("j", "acme", 3, 5, model="m")) == b'[1,"acme",3,5,"",0,[],16,0,"m"]'


def test_jobs_for_two_models_are_two_jobs() -> None:
    tickets = {ticket_of(Job("j", "acme", 3, 5, model=model), b"", "") for model in ("", "a", "b")}
    assert len(tickets) == 3


@pytest.mark.parametrize(
    "name", ["a,b", 'a"', "[a", "a]", "a\\b", " a", "a\n", "x" * 257, "\ud800"]
)
def test_a_name_that_could_not_stand_in_a_list_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"^model"):
        Job("j", "acme", 1, 1, model=name)


@pytest.mark.parametrize("model", ['"a,b"', "5", '"\\n"'])
def test_so_is_one_that_somebody_wrote_by_hand(model: str) -> None:
    spec = f'[1,"acme",1,1,"",0,[],16,0,{model}]'
    with pytest.raises(InvalidInput, match="model"):
        decode_waiting([b"j", f"j 1000 - 0 {spec}".encode()])


def recorded(model: str) -> Batch:
    models = (model,) if model else ()
    events: list[Event] = [
        JobArrived(JobView("j", "acme", 1, 1, 0.0, model=model), "1-0"),
        WorkerReported("w", 1, models=models),
    ]
    return Batch("me", 1, 2.0, events, encoded_actions([Steal("j", "v", "t", 1, model)]))


@pytest.mark.parametrize("model", ["", "llama"])
def test_a_recording_is_read_back(model: str) -> None:
    batch = recorded(model)
    line = encode_line(batch)
    assert decode_line(line) == batch
    assert (b"model" in line) == bool(model)  # older ones are decided again to the same bytes
