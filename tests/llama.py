"""A real llama.cpp with random weights, in a process of its own: `python -m tests.llama MODEL`.

Its text is word salad; its API, its queueing, its cache and its crashes are the real ones.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
NAME, SLOTS, CONTEXT = "random-llama", 2, 8192
_HEADS, _KV_HEADS, _LAYERS, _DIM, _FF = 8, 4, 8, 256, 688
_WORDS = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "was", "with", "be", "have")


def write_model(path: Path, layers: int = _LAYERS) -> None:
    """Write a model of the llama architecture: a vocabulary of bytes and a few words."""
    import gguf

    tokens, kinds = _vocabulary(gguf.TokenType)
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_name(NAME)
    out.add_context_length(CONTEXT)
    out.add_embedding_length(_DIM)
    out.add_block_count(layers)
    out.add_feed_forward_length(_FF)
    out.add_head_count(_HEADS)
    out.add_head_count_kv(_KV_HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(_DIM // _HEADS)
    out.add_vocab_size(len(tokens))
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_tokenizer_model("llama")
    out.add_tokenizer_pre("default")
    out.add_token_list(tokens)
    out.add_token_scores([-float(n) for n in range(len(tokens))])
    out.add_token_types(kinds)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    out.add_add_bos_token(True)
    out.add_add_space_prefix(True)
    out.add_chat_template("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    for name, tensor in _tensors(len(tokens), layers):
        out.add_tensor(name, tensor)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _vocabulary(kind: Any) -> tuple[list[bytes], list[int]]:
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    kinds = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * 256]
    blank = "\u2581"
    pieces = dict.fromkeys([blank, *map(chr, range(33, 127))])
    for word in _WORDS:  # each beginning of a word, too: they are merged from left to right
        pieces |= dict.fromkeys(blank + word[:end] for end in range(1, len(word) + 1))
    tokens += [piece.encode() for piece in pieces]
    return tokens, [int(one) for one in (*kinds, *[kind.NORMAL] * len(pieces))]


def _tensors(vocabulary: int, layers: int) -> Iterator[tuple[str, Any]]:
    random = np.random.default_rng(0)

    def drawn(*shape: int) -> Any:
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    ones, narrow = np.ones(_DIM, np.float32), _DIM // _HEADS * _KV_HEADS
    yield "token_embd.weight", drawn(vocabulary, _DIM)
    yield "output_norm.weight", ones
    output = drawn(vocabulary, _DIM)
    output[:259] = 0.0  # neither control tokens nor single bytes
    yield "output.weight", output
    shapes = {"q": (_DIM, _DIM), "k": (narrow, _DIM), "v": (narrow, _DIM), "output": (_DIM, _DIM)}
    for n in range(layers):
        yield f"blk.{n}.attn_norm.weight", ones
        yield f"blk.{n}.ffn_norm.weight", ones
        for name, shape in shapes.items():
            yield f"blk.{n}.attn_{name}.weight", drawn(*shape)
        yield f"blk.{n}.ffn_gate.weight", drawn(_FF, _DIM)
        yield f"blk.{n}.ffn_up.weight", drawn(_FF, _DIM)
        yield f"blk.{n}.ffn_down.weight", drawn(_DIM, _FF)


@contextmanager
def running(model: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Yield a server of this model, and its port."""
    command = [sys.executable, "-m", "tests.llama", str(model), str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            found = next((line for line in process.stdout if line.startswith("listening ")), "")
            assert found, "llama.cpp did not start"
            threading.Thread(target=process.stdout.read, daemon=True).start()  # it logs
            yield process, int(found.rpartition(":")[2].strip(" /\n"))
        finally:
            process.kill()


def serve(arguments: Sequence[str]) -> None:
    """Serve a model until somebody kills this."""
    import xllamacpp

    model, port = arguments
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = model, [NAME]
    params.hostnames, params.port = ["127.0.0.1"], int(port)
    params.n_parallel, params.n_ctx = SLOTS, CONTEXT
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.endpoint_metrics = params.endpoint_slots = True
    params.warmup = params.fit_params = params.ui = False
    params.n_gpu_layers = 0
    server = xllamacpp.Server(params)
    print("listening", server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    serve(sys.argv[1:])
