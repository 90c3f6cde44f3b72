"""Training itself, small: what it learns from, its optimizer, its schedule, and that a stopped run goes on."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from agon.nano import models
from agon.nano.chat import BY_LETTER, make_tokenizer
from agon.nano.corpus import Corpus, texts
from agon.nano.growing import grow
from agon.nano.lanes import Lanes
from agon.nano.muon import Muon, orthogonal
from agon.nano.recipes import RECIPES
from agon.nano.run import Run, rate_at

TINY = replace(RECIPES["nano-0.3m"], hidden=32, inner=64, heads=2, tokens=6 * 512, rows=2)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(models()["nano-1m"])


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)


def test_only_answers_are_learned(tokenizer: Any) -> None:
    batch = Corpus(tokenizer, "0").batch(0, 2, 256, 1.0, 0.3)
    assert batch.tokens.shape == (2, 257)
    for row in range(2):
        learned = tokenizer.decode(batch.tokens[row, 1:][batch.learned[row]])
        assert "<|im_start|>" not in learned
        assert "<|im_end|>" in learned


def test_a_token_sees_its_own_chat_and_nothing_later(tokenizer: Any) -> None:
    batch = Corpus(tokenizer, "0").batch(0, 1, 256, 1.0, 0.0)
    mask = batch.mask[0, 0]
    assert batch.chat[0, -1] > 0
    for query, key in ((0, 0), (5, 3), (3, 5), (255, 0), (255, 254)):
        assert mask[query, key] == (key <= query and batch.chat[0, query] == batch.chat[0, key])


def test_a_batch_depends_on_seed_and_step_alone(tokenizer: Any) -> None:
    one, other = Corpus(tokenizer, "0"), Corpus(tokenizer, "0")
    other.batch(6, 1, 64, 1.0, 0.3)
    assert torch.equal(one.batch(7, 1, 64, 1.0, 0.3).tokens, other.batch(7, 1, 64, 1.0, 0.3).tokens)
    assert not torch.equal(one.batch(7, 1, 64, 1.0, 0.3).tokens, one.batch(8, 1, 64, 1.0, 0.3).tokens)


def test_orthogonal_evens_out_the_singular_values() -> None:
    torch.manual_seed(0)
    for shape in ((3, 32, 48), (2, 64, 24)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.4


def test_muon_goes_downhill() -> None:
    torch.manual_seed(0)
    target, matrix = torch.randn(16, 16), torch.nn.Parameter(torch.zeros(16, 16))
    optimizer = Muon([matrix], lr=0.05)
    first = last = 0.0
    for _ in range(60):
        loss = (matrix - target).square().mean()
        first, last = first or loss.item(), loss.item()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert last < first / 2


def test_the_rate_rises_shortly_and_falls_to_zero() -> None:
    assert rate_at(0.0) == 0.0
    assert rate_at(0.03) == 1.0
    assert 0.4 < rate_at(0.5) < 0.6
    assert rate_at(1.0) == 0.0


def test_a_stopped_run_goes_on_where_it_was(tokenizer: Any, tmp_path: Path) -> None:
    whole = Run(TINY, tokenizer, 0, tmp_path / "whole.pt").train(1, lambda progress: None)
    half = Run(TINY, tokenizer, 0, tmp_path / "half.pt")
    half.recipe = replace(TINY, tokens=TINY.tokens // 2)
    assert half.train(1, lambda progress: None).tokens < whole.tokens
    again = Run(TINY, tokenizer, 0, tmp_path / "half.pt")
    assert again.train(1, lambda progress: None).tokens == whole.tokens


def test_words_that_skills_spell_are_single_characters_and_common_ones_whole() -> None:
    made = make_tokenizer(texts(0, 200), 400)
    assert made.tokenize("What is the opposite of hot?") == ["What", "Ġis", "Ġthe", "Ġopposite", "Ġof", *"Ġhot?"]
    assert made.tokenize("Spell rivers: 42") == ["Spell", *"Ġrivers:Ġ42"]
    assert not BY_LETTER & {token.removeprefix("Ġ").lower() for token in made.get_vocab() if len(token) > 2}
    for text in ("Where is Zürich? 东京 🦊", " two  spaces\n", "<tool_call>"):
        assert made.decode(made.encode(text)) == text


def test_a_grown_model_says_at_first_what_it_grew_from_and_learns_in_all_layers(tokenizer: Any, tmp_path: Path) -> None:
    shallow = LlamaForCausalLM(TINY.config(2, 0))
    deeper = replace(TINY, layers=5, tokens=8 * 512)
    deep = LlamaForCausalLM(deeper.config(2, 0))
    grow(deep, shallow)
    tokens = torch.randint(0, 512, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(deep(tokens).logits, shallow(tokens).logits)
    run = Run(deeper, tokenizer, 0, tmp_path / "deep.pt", begin_as=shallow)
    run.train(1, lambda progress: None)
    assert all(layer.mlp.down_proj.weight.abs().max() > 0 for layer in run.model.model.layers)


OTHER_LANE = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from transformers import AutoTokenizer
from agon.nano import models
from agon.nano.lanes import Lanes
from agon.nano.recipes import RECIPES
from agon.nano.run import Run
torch.set_num_threads(1)
folder = Path(sys.argv[1])
lanes = Lanes(1, 2)
lanes.meet(folder / "meeting")
tiny = replace(RECIPES["nano-0.3m"], hidden=32, inner=64, heads=2, tokens=6 * 512, rows=2)
run = Run(tiny, AutoTokenizer.from_pretrained(models()["nano-1m"]), 0, folder / "run.pt", lanes=lanes)
run.train(1, lambda progress: None)
lanes.part()
torch.save(run.model.state_dict(), folder / "other.pt")
"""


def test_lanes_learn_from_rows_of_their_own_and_hold_the_same_weights(tokenizer: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER_LANE, str(tmp_path)]
    with subprocess.Popen(command, env={**os.environ, "PATH": ""}) as process:  # without a compiler, too
        lanes = Lanes(0, 2)
        lanes.meet(tmp_path / "meeting")
        run = Run(TINY, tokenizer, 0, tmp_path / "run.pt", lanes=lanes)
        spent = run.train(1, lambda progress: None)
        lanes.part()
        assert process.wait() == 0
    one, other = run.model.state_dict(), torch.load(tmp_path / "other.pt", weights_only=True)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert spent.tokens >= TINY.tokens
    rows = [Corpus(tokenizer, f"0/{TINY.name}/{number}").batch(0, 2, 512, 0.0, 0.3).tokens for number in range(2)]
    assert not torch.equal(*rows)


def test_a_model_comes_after_the_one_it_grows_from() -> None:
    names = list(RECIPES)
    assert all(names.index(one.grows) < names.index(one.name) for one in RECIPES.values() if one.grows)
