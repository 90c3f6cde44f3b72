"""What to run, as a worker's settings spell it, and the one place that makes a backend of it.

| spelled                                    | runs                                                        |
|--------------------------------------------|-------------------------------------------------------------|
| `MODEL=PATH_OR_HUB_ID[,dtype=TYPE][,device=cuda]` | our engine on a transformers folder or a hub id      |
| `MODEL=embedding:[PATH_OR_HUB_ID]`         | an encoder; without a path the one of the extra `embeddings` |
| `MODEL=PATH_OR_HUB_ID,adapter-of=BASE`     | a LoRA adapter as peft saves it, on BASE, an engine's model |
| `MODEL=scripted:OPTION=VALUE,...`          | a script (options in `agon.backends.scripted`)              |
| `MODEL=upstream:URL[#REMOTE_NAME][,OPTION=VALUE,...]` | any OpenAI-compatible server (options in `upstream`) |

TYPE is float32 (the default), float64, bfloat16, float16, or int8: 8-bit linear layers, the fastest on a CPU.
A comma inside a value is written `\\,`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from pydantic import TypeAdapter, ValidationError

from agon.backends.base import Backend
from agon.engine.params import Limits
from agon.errors import SetupError
from agon.messages.base import ModelName
from agon.messages.models import BackendKind

_MODEL = TypeAdapter(ModelName)


def parse_options(text: str, what: str) -> dict[str, str]:
    """`a=1,b=two\\, three` as a dict. Raises `SetupError` for a part without `=` and for a name given twice."""
    options: dict[str, str] = {}
    for part in filter(None, re.split(r"(?<!\\),", text)):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise SetupError(f"{what}: `{part}` is no OPTION=VALUE (a comma inside a value is written `\\,`)")
        if name in options:
            raise SetupError(f"{what}: the option {name} is given twice")
        options[name] = value.replace("\\,", ",")
    return options


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """One model to serve: its public name, what runs it, where that is, and options."""

    model: str
    kind: BackendKind | Literal["embedding"]
    source: str
    """A folder or hub id, an upstream's base URL, or empty for a script."""
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str | None:
        """The model that this one is an adapter of."""
        return self.options.get("adapter-of")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `MODEL=SOURCE`. Raises `SetupError` that names what is wrong."""
        model, equals, source = text.partition("=")
        what = f"the model `{text}`"
        if not equals or not source:
            raise SetupError(f"{what} is no MODEL=SOURCE, such as tiny=./models/tiny or demo=scripted:text=Hello")
        try:
            _MODEL.validate_python(model)
        except ValidationError as error:
            raise SetupError(f"{what}: its name must be 1 to 200 characters without spaces") from error
        kind, colon, rest = source.partition(":")
        if colon and kind == "scripted":
            return cls(model, "scripted", "", parse_options(rest, what))
        if colon and kind == "embedding":
            return cls(model, "embedding", rest)
        if colon and kind == "upstream":
            url, _, tail = rest.partition("#")
            if not tail:
                url, _, tail = rest.partition(",")
                tail = f",{tail}" if tail else ""
            remote, _, options = tail.partition(",")
            if not url.startswith(("http://", "https://")):
                raise SetupError(f"{what}: an upstream needs a URL, such as upstream:http://127.0.0.1:8000/v1#name")
            return cls(model, "upstream", url, {**({"name": remote} if remote else {}), **parse_options(options, what)})
        path, _, rest = source.partition(",")
        given = parse_options(rest, what)
        if unknown := sorted(set(given) - {"dtype", "device", "adapter-of"}):
            raise SetupError(f"{what}: the engine has no option {unknown[0]}; it takes dtype, device or adapter-of")
        if "adapter-of" in given and len(given) > 1:
            raise SetupError(f"{what}: an adapter runs in the dtype of its base, and where that is; leave the rest out")
        return cls(model, "engine", path, given)


def load(spec: BackendSpec, limits: Limits | None = None) -> Backend:
    """Make the backend; an engine reads its weights here, which blocks for seconds (call it off the event loop).

    `limits` bound an engine's memory and batch. Raises `SetupError` when the model cannot be served here.
    """
    match spec.kind:
        case "scripted":
            from agon.backends.scripted import ScriptedBackend

            return ScriptedBackend.from_options(spec.model, spec.options)
        case "upstream":
            from agon.backends.upstream import UpstreamBackend

            return UpstreamBackend.from_options(spec.model, spec.source, spec.options)
        case "embedding":
            from agon.backends.embedding import EmbeddingBackend

            return EmbeddingBackend.from_source(spec.model, spec.source)
        case "engine":
            from agon.backends.engine import EngineBackend

            return EngineBackend.from_source(spec.model, spec.source, limits, **spec.options)
