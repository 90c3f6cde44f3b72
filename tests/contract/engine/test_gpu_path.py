"""What a GPU would run, without one: FlexAttention's tables and masks, and decodes padded to a graph's size."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

from agon.engine.attention import PagedAttention, Span
from agon.engine.batch import Inputs, build
from agon.engine.engine import Engine
from agon.engine.events import Tokens
from agon.engine.flex import Table, places, visible
from agon.engine.graphs import DecodeGraphs, PaddedDecodes, graph_sizes, size_for
from agon.engine.params import Limits, Request, SamplingParams
from agon.engine.runner import dtype_for, limits_for
from agon.engine.scheduler import Piece
from contract.engine.adapters import make_adapter
from contract.engine.tiny import make_engine, prompts_of, run, told_tokens

PROMPTS = prompts_of((1, 6, 23))
GREEDY = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
# Uncompiled, as it is here, FlexAttention warns that it is slow.
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


def flexible(family: str) -> Engine:
    engine = make_engine(family, page_size=4, max_batch_tokens=13, max_sequences=3)
    engine._runner.flex = flex_attention
    return engine


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_flex_attention_gives_the_tokens_of_the_other_one(family: str) -> None:
    expected = make_engine(family, page_size=4).generate(PROMPTS, GREEDY)
    answers = flexible(family).generate(PROMPTS, GREEDY)
    assert [answer.token_ids for answer in answers] == [answer.token_ids for answer in expected]


def decoding(engine: Engine) -> Inputs:
    """The inputs of a step in which all prompts are decodes."""
    for index, prompt in enumerate(PROMPTS):
        engine.submit(Request(str(index), prompt, GREEDY))
    told: set[str] = set()
    while len(told) < len(PROMPTS):
        told |= {event.key for event in engine.step() if isinstance(event, Tokens)}
    return build([Piece(sequence, 1) for sequence in engine.scheduler.running], 4).inputs


@pytest.mark.parametrize("family", ["llama", "mistral"])
@torch.inference_mode()
def test_decodes_padded_to_a_graphs_size_compute_the_same(family: str) -> None:
    engine = make_engine(family, page_size=4)
    inputs, cache, model = decoding(engine), engine._runner.cache, engine.model
    assert inputs.decodes
    attention = PagedAttention(cache, inputs.slots, inputs.lanes, inputs.spans)
    expected, _ = model.forward(inputs.tokens, inputs.positions, inputs.keep, attention)
    padded = PaddedDecodes(8, 64, cache, flex_attention)
    for _ in range(2):  # again, as a replay would
        padded.fill(inputs)
        logits, finite = padded.forward(model)
        assert torch.allclose(logits[:3], expected, atol=1e-9)
        assert finite[:3].all()


class Recomputed(DecodeGraphs):
    """Graphs as far as they can be had without a GPU: a replay reads the same memory and writes to the same memory."""

    def __init__(self, engine: Engine, most: int) -> None:
        cache = engine._runner.cache
        super().__init__(engine.model, cache, most, -(-engine.context_length // cache.page_size), flex_attention)
        self.replays = 0

    def _capture(self, size: int, inputs: Inputs) -> Any:
        padded = PaddedDecodes(size, self._width, self._cache, self._compiled)
        padded.fill(inputs)
        logits, finite = padded.forward(self._model)

        def replay() -> None:
            self.replays += 1
            for static, told in zip((logits, finite), padded.forward(self._model), strict=True):
                static.copy_(told)

        return SimpleNamespace(inputs=padded, logits=logits, finite=finite, graph=SimpleNamespace(replay=replay))


def test_an_engine_with_graphs_says_what_it_says_without_and_adapted_steps_go_without(tmp_path: Path) -> None:
    plain, graphed = make_engine(page_size=4), flexible("llama")
    graphs = graphed._runner._graphs = Recomputed(graphed, 2)
    for engine in (plain, graphed):
        engine.load_adapter("poet", make_adapter(tmp_path, 1))
    asked = [Request(str(i), prompt, GREEDY, adapter="poet" if i == 2 else None) for i, prompt in enumerate(PROMPTS)]
    expected, told = run(plain, *asked), run(graphed, *asked)
    assert {key: told_tokens(events) for key, events in told.items()} == {
        key: told_tokens(events) for key, events in expected.items()
    }
    assert graphs.replays == 0, "one of the three is adapted, in every step"
    answers = graphed.generate(PROMPTS[:2], GREEDY)
    assert [answer.token_ids for answer in answers] == [told_tokens(expected[key]) for key in ("0", "1")]
    assert graphs.replays >= 10


def test_graphs_have_a_few_sizes_and_the_smallest_that_fits_is_taken() -> None:
    assert graph_sizes(64) == [1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64]
    assert graph_sizes(1) == [1]
    assert graph_sizes(20) == [1, 2, 4, 8, 16, 20]
    sizes = graph_sizes(20)
    assert [size_for(rows, sizes) for rows in (1, 3, 8, 17, 20, 21)] == [1, 4, 8, 20, 20, None]


def test_a_table_names_the_pages_that_a_row_sees() -> None:
    # Two rows of one token each, at positions 9 and 2, in pages of four tokens.
    table = Table.of(Span(0, 1, (9, 2), ([7, 3, 5], [6])), torch.device("cpu"))
    counts, pages = visible(table, 4, None)
    assert [row[:count] for row, count in zip(pages.tolist(), counts.tolist(), strict=True)] == [[7, 3, 5], [6]]
    counts, pages = visible(table, 4, 3)  # 9 sees 7, 8 and 9
    assert [row[:count] for row, count in zip(pages.tolist(), counts.tolist(), strict=True)] == [[3, 5], [6]]
    assert places(table.pages, 9).tolist() == [[-1, -1, -1, 1, -1, 2, -1, 0, -1], [-1] * 6 + [0, -1, -1]]


def test_a_gpu_gets_large_pages_and_bfloat16() -> None:
    assert limits_for("cuda", Limits(page_size=16)).page_size == 128
    assert limits_for("cuda", Limits(page_size=200)).page_size == 256
    assert limits_for("cpu", Limits(page_size=16)).page_size == 16
    assert (dtype_for("cuda"), dtype_for("cuda:1"), dtype_for("cpu")) == ("bfloat16", "bfloat16", "float32")
