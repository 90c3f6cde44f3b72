"""The public contract, generated from the message classes: `python -m agon.messages.schemas` writes `schemas/`.

A command's schema says what is accepted, an event's what is sent. `schemas/released/` has the schemas that people rely
on; `--release` copies the present ones there, and a test compares the two: a change may only add (`breaks` says what
may not happen). What can't be said that way is a new type on a new topic, both written for a while.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agon.messages.base import Message
from agon.messages.battles import BattleCommitted, BattleTurnFinished
from agon.messages.completions import GenerationCompleted
from agon.messages.models import ModelCard
from agon.messages.ratings import RatingPublished
from agon.messages.requests import GenerationRequest
from agon.messages.votes import VoteCast, VoteCounted, VoteExcluded, VoteRetracted
from agon.topics import Topics

Role = Literal["command", "event"]
Schema = Mapping[str, Any]

_MODEL = "{model}"


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic, as outsiders see it: who may write to it, and what it carries."""

    name: str
    address: str
    role: Role
    key: str
    messages: tuple[type[Message], ...]
    purpose: str


def channels() -> tuple[Channel, ...]:
    """Every public topic."""
    topics = Topics()
    stem = topics.requests("x").removesuffix("x")
    batch = topics.batch_requests("x").removesuffix("x")
    many, asked = (VoteCounted, VoteExcluded, VoteRetracted), (GenerationRequest,)
    ended, pairs = (GenerationCompleted,), (BattleCommitted, BattleTurnFinished)
    return (
        Channel("requests", stem + _MODEL, "command", "conversation or none", asked, "Generate this"),
        Channel("batchRequests", batch + _MODEL, "command", "request id", asked, "Generate this when there is room"),
        Channel("completions", topics.completions, "event", "request id", ended, "A request has ended"),
        Channel("models", topics.models, "event", "model", (ModelCard,), "What exists (compacted)"),
        Channel("battles", topics.battles, "event", "battle id", pairs, "Blind battles"),
        Channel("votes", topics.votes, "command", "battle id", (VoteCast,), "Votes as they were cast"),
        Channel("acceptedVotes", topics.accepted_votes, "event", "arena", many, "Votes as they were judged, in order"),
        Channel("ratings", topics.ratings, "event", "arena/slice/model", (RatingPublished,), "Ratings (compacted)"),
    )


def file_name(message: type[Message]) -> str:
    return f"{message.__name__}.v1.json"


def schemas() -> dict[str, dict[str, Any]]:
    """Every message's schema, by file name."""
    return {
        file_name(message): {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **message.model_json_schema(mode="validation" if channel.role == "command" else "serialization"),
        }
        for channel in channels()
        for message in channel.messages
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document: channels, their messages, and what an outsider does with them."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "agon on Kafka",
            "version": "1",
            "description": "Values are JSON. CloudEvents headers are written on all we produce, required on nothing.",
        },
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel) for channel in channels()},
        "operations": {
            f"{'send' if channel.role == 'command' else 'receive'}{channel.name[0].upper()}{channel.name[1:]}": {
                # Of the application that talks to agon.
                "action": "send" if channel.role == "command" else "receive",
                "channel": {"$ref": f"#/channels/{channel.name}"},
            }
            for channel in channels()
        },
        "components": {
            "messages": {
                message.__name__: {"name": message.__name__, "payload": {"$ref": f"./{file_name(message)}"}}
                for channel in channels()
                for message in channel.messages
            }
        },
    }


def _channel(channel: Channel) -> dict[str, Any]:
    described: dict[str, Any] = {
        "address": channel.address,
        "description": f"{channel.purpose}. Key: {channel.key}.",
        "messages": {
            message.__name__: {"$ref": f"#/components/messages/{message.__name__}"} for message in channel.messages
        },
    }
    if _MODEL in channel.address:
        described["parameters"] = {"model": {"description": "The model's name as a topic may carry it: its slug."}}
    return described


def documents() -> dict[str, str]:
    """Everything that is generated, by file name."""
    import yaml

    texts = {name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in schemas().items()}
    texts["asyncapi.yaml"] = yaml.safe_dump(asyncapi(), sort_keys=False, width=120)
    return texts


def breaks(old: Schema, new: Schema, role: Role) -> list[str]:
    """What a change takes from those who rely on the old schema; empty where it only adds."""
    return list(_breaks(old, new, role, old, new, "message"))


def _breaks(old: Schema, new: Schema, role: Role, olds: Schema, news: Schema, where: str) -> Iterator[str]:
    old, new = _resolved(old, olds), _resolved(new, news)
    was, now = _alternatives(old, olds), _alternatives(new, news)
    # Who writes commands may go on writing what was accepted; who reads events gets nothing that it does not know.
    # A place that could only be null was kept free: what fills it comes to those alone who ask for it.
    known = now if was == {"null"} else was
    lost, what = (was - now, "no longer accepted") if role == "command" else (now - known, "not known to readers")
    for alternative in sorted(lost):
        yield f"{where}: {alternative} is {what}"
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in before.keys() - after.keys():
        yield f"{where}.{name} is gone"
    must, must_now = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(must_now - must if role == "command" else must - must_now):
        yield f"{where}.{name} is {'newly required' if role == 'command' else 'no longer always there'}"
    for name in before.keys() & after.keys():
        yield from _breaks(before[name], after[name], role, olds, news, f"{where}.{name}")
    if "items" in old and "items" in new:
        yield from _breaks(old["items"], new["items"], role, olds, news, f"{where}[]")
    for one, other in zip(_objects(old, olds), _objects(new, news), strict=False):
        yield from _breaks(one, other, role, olds, news, where)
    if role == "command":
        for bound in ("minimum", "exclusiveMinimum", "minLength", "minItems"):
            if new.get(bound, float("-inf")) > old.get(bound, float("-inf")):
                yield f"{where}: {bound} has risen"
        for bound in ("maximum", "exclusiveMaximum", "maxLength", "maxItems"):
            if new.get(bound, float("inf")) < old.get(bound, float("inf")):
                yield f"{where}: {bound} has fallen"
        if new.get("pattern") != old.get("pattern"):
            yield f"{where}: the pattern has changed"


def _resolved(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    return root["$defs"][reference.rsplit("/", 1)[1]] if reference else schema


def _alternatives(schema: Schema, root: Schema) -> set[str]:
    """The types or values that a schema allows."""
    if "anyOf" in schema:
        return {name for part in schema["anyOf"] for name in _alternatives(_resolved(part, root), root)}
    if "enum" in schema:
        return {json.dumps(value) for value in schema["enum"]}
    if "const" in schema:
        return {json.dumps(schema["const"])}
    kind = schema.get("type", "anything")
    return {"number", "integer"} if kind == "number" else {kind}


def _objects(schema: Schema, root: Schema) -> list[Schema]:
    """The parts of an `anyOf` that say more than a bare type."""
    parts: Iterable[Schema] = (_resolved(part, root) for part in schema.get("anyOf", ()))
    return [part for part in parts if part.get("type") not in ("null", None)]


def main() -> None:
    """`python -m agon.messages.schemas [--release] [FOLDER]`."""
    parser = argparse.ArgumentParser("agon.messages.schemas", description="Write the published schemas.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("schemas"))
    parser.add_argument("--release", action="store_true", help="people rely on these from now on")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (given.folder / name).write_text(text, encoding="utf-8")
        if given.release and name.endswith(".json"):
            (given.folder / "released").mkdir(exist_ok=True)
            shutil.copy(given.folder / name, given.folder / "released" / name)
    sys.stdout.write(f"wrote {len(documents())} files to {given.folder}\n")


if __name__ == "__main__":
    main()
