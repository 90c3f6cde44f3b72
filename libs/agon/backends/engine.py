"""Our own engine as a backend: one transformers model, stepped by the compute thread."""

import hashlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from jinja2 import TemplateError

from agon.backends.adapters import adapter_card
from agon.backends.base import Event, Failed, Job, Load
from agon.backends.tool_guides import tool_grammar
from agon.dialects import ReasoningStyle, reasoning_style, tool_format
from agon.engine import Conversation, Guide, Limits, Request, SamplingParams
from agon.engine.engine import Engine
from agon.engine.hub import ADAPTER_CONFIG, FILES, resolve
from agon.engine.int8 import input_bits
from agon.engine.params import Prompt
from agon.engine.runner import dtype_for
from agon.errors import InvalidRequest
from agon.messages import ChatMessage, GenerationRequest, ModelCard, ToolCall, now
from agon.messages.formats import ChoiceFormat, GrammarFormat, JsonObjectFormat, JsonSchemaFormat, RegexFormat

_PRIORITIES = {"interactive": 0, "batch": 1}
_BLOCK = 1024 * 1024
_PREPARING = 0.005  # seconds until a prompt or a grammar is looked for again; other models compute meanwhile
_file_digests: dict[tuple[Path, int, int], bytes] = {}


def folder_digest(folder: Path, dtype: str) -> str:
    """`sha256:...` over everything in a model's folder that decides its answers: weights, tokenizer, template, dtype.

    Files are read in blocks, once per process as long as size and time of change stay the same.
    """
    whole = hashlib.sha256(dtype.encode())
    for file in sorted({path for pattern in FILES for path in folder.glob(pattern)}):
        whole.update(f"\0{file.name}\0".encode())
        whole.update(_file_digest(file))
    return f"sha256:{whole.hexdigest()}"


def _file_digest(file: Path) -> bytes:
    stat = file.stat()
    seen = (file.resolve(), stat.st_size, stat.st_mtime_ns)
    if seen not in _file_digests:
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        _file_digests[seen] = digest.digest()
    return _file_digests[seen]


class EngineBackend:
    """A `SteppedBackend` around an `Engine`."""

    resumable = True

    def __init__(self, engine: Engine, card: ModelCard) -> None:
        self.engine = engine
        self._card = card
        self._adapters: dict[str, ModelCard] = {}
        self._refused: deque[Failed] = deque()

    @classmethod
    def from_source(
        cls, model: str, source: str, limits: Limits | None = None, dtype: str | None = None, device: str = "cpu"
    ) -> Self:
        """Read a model under its public name. Blocks for seconds; raises `SetupError` when it cannot be served."""
        folder = resolve(source)
        dtype = dtype or dtype_for(device)
        engine = Engine.from_pretrained(folder, limits, dtype=dtype, device=device)
        temperature, top_p = engine.model.drawing_defaults
        card = ModelCard(
            model=model,
            digest=folder_digest(folder, f"int8 of {input_bits()}-bit inputs" if dtype == "int8" else dtype),
            backend="engine",
            context_length=engine.context_length,
            parameters=engine.model.parameters,
            dtype=dtype,
            tool_format=tool_format(engine.tokenizer.hf.chat_template),
            reasoning=_reasoning(engine.tokenizer.hf),
            temperature=temperature,
            top_p=top_p,
            created_at=now(),
        )
        return cls(engine, card)

    @property
    def card(self) -> ModelCard:
        return self._card

    @property
    def adapters(self) -> Mapping[str, ModelCard]:
        return self._adapters

    def load_adapter(self, name: str, source: str) -> None:
        folder = resolve(source, ADAPTER_CONFIG)
        self.engine.load_adapter(name, folder)
        self._adapters[name] = adapter_card(name, self._card, folder)

    def drop_adapter(self, name: str) -> None:
        self.engine.drop_adapter(name)
        del self._adapters[name]

    def submit(self, job: Job) -> None:
        try:
            adapter = None if job.request.model == self._card.model else job.request.model
            request = as_request(job, adapter, self._card)
        except Exception as error:  # whatever a request holds, it stops nobody else's
            self._refused.append(Failed(job.key, error))
        else:
            self.engine.submit(request)

    def cancel(self, key: str) -> None:
        self.engine.cancel(key)

    def load(self) -> Load:
        running, waiting = self.engine.counts
        done, grammars = self.engine.scheduler, self.engine.grammars
        return Load(
            running, waiting, self.engine.limits.max_sequences, self.engine.cache_used,
            done.prefix_queries, done.prefix_hits, done.preemptions,
            grammars.kept, grammars.counts.asked, grammars.counts.compiled, self.engine.lost,
        )  # fmt: skip

    def step(self) -> Sequence[Event]:
        refused = [self._refused.popleft() for _ in range(len(self._refused))]
        return [*refused, *self.engine.step()]

    def idle_for(self) -> float | None:
        if not self._refused and self.engine.preparing:
            return _PREPARING
        return 0.0 if self._refused or self.engine.busy else None


def _reasoning(tokenizer: Any) -> ReasoningStyle | None:
    """How the model reasons, by its template and by a prompt that this makes."""
    if not tokenizer.chat_template:
        return None
    try:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True
        )
    except (TemplateError, ValueError, TypeError):
        prompt = ""
    return reasoning_style(tokenizer.chat_template, prompt)


def as_request(job: Job, adapter: str | None = None, card: ModelCard | None = None) -> Request:
    """A job in the engine's words; `card` says how the model writes calls and reasoning.

    Raises `InvalidRequest` for what an engine cannot do.
    """
    asked = job.request
    if asked.kind == "embedding":
        raise InvalidRequest("this model generates text, it has no embeddings", param="kind")
    params = SamplingParams(
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        min_p=asked.min_p,
        typical_p=asked.typical_p,
        presence_penalty=asked.presence_penalty,
        frequency_penalty=asked.frequency_penalty,
        repetition_penalty=asked.repetition_penalty,
        logit_bias=asked.logit_bias or {},
        seed=asked.seed,
        max_tokens=asked.limit,
        min_tokens=asked.min_tokens,
        n=asked.n,
        best_of=asked.best_of,
        stop=asked.stop,
        stop_token_ids=asked.stop_token_ids,
        ignore_eos=asked.ignore_eos,
        guide=_guide(asked, card),
        logprobs=asked.top_logprobs or 0 if asked.logprobs else None,
        prompt_logprobs=asked.prompt_logprobs,
        echo=asked.echo,
    )
    return Request(
        key=job.key,
        prompt=_prompt(asked),
        params=params,
        emitted=job.emitted,
        ended=job.ended,
        deadline=asked.deadline.timestamp() if asked.deadline else None,
        priority=_PRIORITIES[asked.priority],
        adapter=adapter,
        # A tenant's name holds no slash: no salt of one tenant is another's.
        salt=f"{asked.tenant}/{asked.cache_salt or ''}",
    )


def _guide(asked: GenerationRequest, card: ModelCard | None) -> Guide | None:
    """What form the answer must have: of calls where tools may be called, else the one that was asked for."""
    if card is not None and (grammar := tool_grammar(asked, card.tool_format, card.reasoning)) is not None:
        return Guide.grammar(grammar)
    match asked.response_format:
        case JsonObjectFormat():
            return Guide.json_object()
        case JsonSchemaFormat(json_schema=named):
            return Guide.json_schema(named.schema_)
        case RegexFormat(pattern=pattern):
            return Guide.regex(pattern)
        case ChoiceFormat(choices=choices):
            return Guide.choice(*choices)
        case GrammarFormat(grammar=grammar):
            return Guide.grammar(grammar)
        case _:
            return None


def _prompt(asked: GenerationRequest) -> Prompt:
    if asked.kind == "completion":
        return asked.prompt or ""
    offered = () if asked.tool_choice == "none" else asked.tools or ()
    tools = tuple(tool.model_dump(mode="json", exclude_none=True) for tool in offered)
    messages = [_message(message) for message in asked.messages or ()]
    return Conversation(messages, tools, asked.chat_template_kwargs or {}, asked.truncate, asked.limit)


def _message(message: ChatMessage) -> dict[str, Any]:
    """A message as chat templates know it."""
    # `developer` is OpenAI's newer word for what they know as `system`.
    told: dict[str, Any] = {
        "role": "system" if message.role == "developer" else message.role,
        "content": message.text(),
    }
    if message.name is not None:
        told["name"] = message.name
    if message.tool_call_id is not None:
        told["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        told["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": _arguments(call)}}
            for call in message.tool_calls
        ]
    return told


def _arguments(call: ToolCall) -> Any:
    """Templates write arguments as JSON themselves; what is no JSON they get as it is."""
    try:
        return json.loads(call.function.arguments)
    except (ValueError, RecursionError):
        return call.function.arguments
