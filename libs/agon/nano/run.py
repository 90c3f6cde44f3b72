"""The training of one model: transformers' own Llama, plain torch around it, a checkpoint now and then."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agon.nano.corpus import Batch, Corpus
from agon.nano.growing import grow
from agon.nano.lanes import Lanes
from agon.nano.muon import Muon
from agon.nano.recipes import Recipe

WARM_UP = 0.03
FULL_LEVEL_AT = 0.4
"""From this share of the training on, items have their full size."""
LONG_FROM = 0.9
"""The last part of the training sees chats of many turns, so that the model holds further than one row."""
ADAM_SHARE = 0.15
CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. `done` is 0 to 1; `tokens` and `seconds` (of processor time) are those of all lanes."""

    name: str
    done: float
    tokens: int
    seconds: float
    loss: float


def bf16_is_faster() -> bool:
    """Whether a product of matrices takes less time in bfloat16 on this machine: where the CPU has no units for it,
    it takes many times more."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(1024, 256, dtype=dtype), torch.randn(256, 512, dtype=dtype)
        a @ b
        began = time.process_time()
        for _ in range(8):
            a @ b
        seconds[dtype] = time.process_time() - began
    return seconds[torch.bfloat16] < seconds[torch.float32]


def rate_at(done: float) -> float:
    """The share of the top learning rate: a short warm-up, then straight to zero."""
    return min(done / WARM_UP, (1 - done) / (1 - WARM_UP), 1.0) if done < 1 else 0.0


class Run:
    """One training run. It counts processor time, not the clock, so a busy machine makes it longer and not worse."""

    def __init__(
        self,
        recipe: Recipe,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        checkpoint: Path,
        begin_as: LlamaForCausalLM | None = None,
        lanes: Lanes | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.recipe = recipe
        self.model = LlamaForCausalLM(recipe.config(tokenizer.eos_token_id, tokenizer.pad_token_id)).train()
        self._level_from = 0.0
        if begin_as is not None:
            grow(self.model, begin_as)
            self._level_from = 1.0  # it knows the small ones
        self._lanes = lanes or Lanes()
        self._corpus = Corpus(tokenizer, f"{seed}/{recipe.name}/{self._lanes.number}")
        inner = [p for name, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in name]
        outer = [p for name, p in self.model.named_parameters() if p.ndim < 2 or "embed" in name]
        self._bf16 = bf16_is_faster()
        self._muon = Muon(inner, recipe.rate, dtype=torch.bfloat16 if self._bf16 else torch.float32)
        self._adam = torch.optim.AdamW(outer, recipe.rate * ADAM_SHARE, betas=(0.9, 0.95), weight_decay=0.0)
        self._tops = [(group, group["lr"]) for o in (self._muon, self._adam) for group in o.param_groups]
        # Compiled, a large part of the small operations around the products goes away: up to 2.8 times faster here.
        self._body = torch.compile(self.model.model, dynamic=False) if shutil.which("g++") else self.model.model
        self._checkpoint = checkpoint
        self._step, self._tokens, self._seconds = 0, 0, 0.0
        self._began = time.process_time()
        if checkpoint.is_file():
            self._load()

    def train(self, minutes: float, report: Callable[[Progress], None]) -> Progress:
        """Train until the recipe's tokens or its minutes (at most `minutes`) of processor time are spent. All lanes
        decide by the same figures, so they end together."""
        limit = 60 * min(minutes, self.recipe.minutes)
        self._began = time.process_time() - self._seconds / self._lanes.count
        saved_at, told_at = self._seconds, 0.0
        loss = float("nan")
        while (done := max(self._tokens / self.recipe.tokens, self._seconds / limit)) < 1:
            loss = self._learn(self._batch(done), rate_at(done))
            if self._seconds - saved_at > CHECKPOINT_SECONDS:
                self._save()
                saved_at = self._seconds
            if self._seconds - told_at > 20:
                report(self._progress(done, loss))
                told_at = self._seconds
        self._save()
        return self._progress(1.0, loss)

    def _progress(self, done: float, loss: float) -> Progress:
        return Progress(self.recipe.name, min(done, 1.0), self._tokens, self._seconds, loss)

    def _batch(self, done: float) -> Batch:
        level = min(1.0, self._level_from + done / FULL_LEVEL_AT)
        if done < LONG_FROM:
            return self._corpus.batch(self._step, self.recipe.rows, 512, level, going_on=0.3)
        return self._corpus.batch(self._step, max(1, self.recipe.rows // 2), 1024, level, going_on=0.8)

    def _learn(self, batch: Batch, share: float) -> float:
        for group, top in self._tops:
            group["lr"] = top * share
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            hidden = self._body(
                input_ids=batch.tokens[:, :-1], attention_mask=batch.mask, use_cache=False
            ).last_hidden_state
            logits: Tensor = self.model.lm_head(hidden[batch.learned])
        loss = functional.cross_entropy(logits.float(), batch.tokens[:, 1:][batch.learned])
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        seconds = self._lanes.mean(gradients, time.process_time() - self._began)
        self._seconds = seconds * self._lanes.count
        for optimizer in (self._muon, self._adam):
            optimizer.step()
            optimizer.zero_grad()
        self._step += 1
        self._tokens += batch.chat.numel() * self._lanes.count
        return loss.item()

    def _save(self) -> None:
        """All lanes hold the same; the first writes it."""
        if self._lanes.number:
            return
        self._checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partly = self._checkpoint.with_suffix(".part")
        state = {
            "model": self.model.state_dict(),
            "muon": self._muon.state_dict(),
            "adam": self._adam.state_dict(),
            "spent": (self._step, self._tokens, self._seconds),
        }
        torch.save(state, partly)
        partly.replace(self._checkpoint)

    def _load(self) -> None:
        state = torch.load(self._checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._muon.load_state_dict(state["muon"])
        self._adam.load_state_dict(state["adam"])
        self._step, self._tokens, self._seconds = state["spent"]
