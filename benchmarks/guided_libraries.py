"""Which library bounds what a model may say: llguidance and xgrammar on the same schemas, one thread.

    python benchmarks/guided_libraries.py [--vocabulary 32000] [--json FILE]

Needs both in an environment of its own: `pip install llguidance==1.9.1 xgrammar==0.2.8` (xgrammar brings triton). The
tokenizer is a byte-level BPE, trained here on Python's own library; a document of each schema is walked token by token.
Nothing is cached between compilations; a mask is timed at each token.
"""

import argparse
import importlib
import json
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SCHEMAS: dict[str, tuple[Any, str]] = {
    "person": (
        {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
         "required": ["name", "age"], "additionalProperties": False},
        '{"name": "Ada Lovelace", "age": 36}',
    ),
    "calls": (
        {"type": "array", "items": {"type": "object", "properties": {
            "function": {"enum": ["search", "add", "weather"]}, "arguments": {"type": "object"}},
            "required": ["function", "arguments"], "additionalProperties": False}},
        '[{"function": "weather", "arguments": {"city": "Paris", "days": 3, "units": ["C", "mm"]}}]',
    ),
    "formats": (
        {"type": "object", "properties": {"id": {"type": "string", "format": "uuid"},
         "at": {"type": "string", "format": "date-time"}, "mail": {"type": "string", "format": "email"}},
         "required": ["id", "at", "mail"], "additionalProperties": False},
        '{"id": "123e4567-e89b-12d3-a456-426614174000", "at": "2026-11-27T12:00:00Z", "mail": "ada@example.org"}',
    ),
    "bounds": (
        {"type": "object", "properties": {"score": {"type": "number", "minimum": 0, "maximum": 100},
         "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}, "minItems": 1, "maxItems": 5}},
         "required": ["score", "tags"], "additionalProperties": False},
        '{"score": 97.5, "tags": ["quick", "brown", "fox"]}',
    ),
    "200 properties": (
        {"type": "object", "properties": {f"field_{i}": {"type": "string"} for i in range(200)}},
        json.dumps({f"field_{i}": f"value {i}" for i in range(0, 200, 20)}),
    ),
    "recursive": (
        {"$defs": {"node": {"type": "object", "properties": {"value": {"type": "integer"}, "children": {
            "type": "array", "items": {"$ref": "#/$defs/node"}}}, "required": ["value", "children"],
            "additionalProperties": False}}, "$ref": "#/$defs/node"},
        '{"value": 1, "children": [{"value": 2, "children": []}, {"value": 3, "children": []}]}',
    ),
}  # fmt: skip
# What each keyword forbids: a library that takes the schema and lets this through has ignored it.
WRONG: dict[str, tuple[Any, str]] = {
    "minimum": ({"type": "integer", "minimum": 10}, "3"),
    "maximum (number)": ({"type": "number", "maximum": 1.5}, "2.5"),
    "multipleOf": ({"type": "integer", "multipleOf": 7}, "15"),
    "maxLength": ({"type": "string", "maxLength": 3}, '"abcdef"'),
    "pattern": ({"type": "string", "pattern": "^[a-c]+$"}, '"abd"'),
    "format date": ({"type": "string", "format": "date"}, '"2026-13-77"'),
    "enum": ({"enum": ["a", 2]}, '"b"'),
    "maxItems": ({"type": "array", "items": {"type": "integer"}, "maxItems": 1}, "[1, 2]"),
    "uniqueItems": ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, "[1, 1]"),
    "allOf": ({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]}, "9"),
    "oneOf": ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "1"),
    "required": ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, "{}"),
    "dependentRequired": ({"type": "object", "properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]},
                           "additionalProperties": False}, '{"a": 1}'),
    "not": ({"type": "integer", "not": {"const": 4}}, "4"),
}  # fmt: skip


def train(vocabulary: int) -> Any:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    backend.train_from_iterator((file.read_text("utf-8", "replace") for file in files), trainer)
    return importlib.import_module("transformers").PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


class LLGuidance:
    name = "llguidance"

    def __init__(self, hf: Any) -> None:
        self.library = importlib.import_module("llguidance")
        self.view = importlib.import_module("llguidance.hf").from_tokenizer(hf, n_vocab=len(hf))
        self.words = np.zeros((len(hf) + 31) // 32, dtype=np.int32)

    def compile(self, schema: Any) -> Any:
        grammar = self.library.LLMatcher.grammar_from_json_schema(schema)
        matcher = self.library.LLMatcher(self.view, grammar, log_level=0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def mask(self, matcher: Any) -> None:
        matcher.unsafe_compute_mask_ptr(self.words.ctypes.data, self.words.nbytes)

    def push(self, matcher: Any, token: int) -> bool:
        return bool(matcher.consume_token(token))

    def complete(self, matcher: Any) -> bool:
        return bool(matcher.is_accepting())


class XGrammar:
    name = "xgrammar"

    def __init__(self, hf: Any) -> None:
        self.library = importlib.import_module("xgrammar")
        info = self.library.TokenizerInfo.from_huggingface(hf, vocab_size=len(hf))
        self.compiler = self.library.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.words = self.library.allocate_token_bitmask(1, len(hf))

    def compile(self, schema: Any) -> Any:
        compiled = self.compiler.compile_json_schema(json.dumps(schema), strict_mode=False)
        return self.library.GrammarMatcher(compiled, terminate_without_stop_token=False)

    def mask(self, matcher: Any) -> None:
        matcher.fill_next_token_bitmask(self.words)

    def push(self, matcher: Any, token: int) -> bool:
        return bool(matcher.accept_token(token))

    def complete(self, matcher: Any) -> bool:
        return bool(matcher.is_completed()) if hasattr(matcher, "is_completed") else matcher.accept_token(0)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def walked(library: Any, matcher: Any, tokens: list[int]) -> Iterator[float]:
    """Seconds of each mask on the way. Raises `ValueError` where a token does not fit."""
    for token in tokens:
        yield timed(partial(library.mask, matcher))[0]
        if not library.push(matcher, token):
            raise ValueError("a valid document is refused")


def figures(library: Any, hf: Any) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, (schema, document) in SCHEMAS.items():
        tokens = hf.encode(document)
        try:
            compiled = [timed(partial(library.compile, schema)) for _ in range(5)]
            masks = [seconds for _, matcher in compiled for seconds in walked(library, matcher, tokens)]
        except (ValueError, RuntimeError) as error:
            told[name] = " ".join(str(error).split())[:80]
            continue
        told[name] = {
            "compile_ms": round(1e3 * statistics.median(seconds for seconds, _ in compiled), 3),
            "mask_us_median": round(1e6 * statistics.median(masks), 1),
            "mask_us_p99": round(1e6 * sorted(masks)[int(len(masks) * 0.99)], 1),
        }
    return told


def verdict(library: Any, hf: Any, schema: Any, document: str) -> str:
    """What becomes of a keyword: followed, refused with an error, or ignored without a word."""
    try:
        matcher = library.compile(schema)
    except (ValueError, RuntimeError):
        return "refused"
    fits = all(library.push(matcher, token) for token in hf.encode(document))
    return "ignored" if fits and library.complete(matcher) else "followed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    hf = train(given.vocabulary)
    told: dict[str, Any] = {"vocabulary": len(hf)}
    for kind in (LLGuidance, XGrammar):
        seconds, library = timed(partial(kind, hf))
        told[kind.name] = {
            "version": metadata.version(kind.name),
            "needs": [
                need.split(";")[0].strip() for need in metadata.requires(kind.name) or () if "extra ==" not in need
            ],
            "tokenizer_ms": round(1e3 * seconds, 1),
            "schemas": figures(library, hf),
            "keywords": {name: verdict(library, hf, *wrong) for name, wrong in WRONG.items()},
        }
    text = json.dumps(told, indent=2)
    sys.stdout.write(text + "\n")
    if given.json:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
