"""Following a format: a numbered list, JSON, a tool call."""

import json
import re
from random import Random
from typing import Any

from agon.nano.skills.base import Item, Message, politely, user
from agon.nano.skills.words import CATEGORIES, NAMES

_NUMBERS = ("two", "three", "four", "five", "six")
_LIST = ("Name {n} {category}.", "List {n} {category}.", "Give me {n} {category}.", "Tell me {n} {category}.",
         "Write a list of {n} {category}.", "Give me a list of {n} {category}.")  # fmt: skip
_CITIES = ("Rome", "Paris", "Berlin", "Tokyo", "London", "Madrid", "Oslo", "Cairo", "Lima", "Delhi", "Vienna", "Athens")
_SONGS = ("Moonlight", "Summer Rain", "Blue River", "Little Star", "Golden Days", "Silent Snow")


def numbered_list(rng: Random, level: float) -> Item:
    """Two to six different things of a kind, numbered."""
    category = rng.choice(tuple(CATEGORIES))
    things = CATEGORIES[category]
    n = rng.randint(2, 3 if level < 0.2 else 6)
    start = rng.randrange(len(things))
    chosen = [things[(start + k) % len(things)] for k in range(n)]
    template = rng.choice(_LIST)
    said = rng.choice((str(n), _NUMBERS[n - 2]))

    def check(text: str) -> bool:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        found = [re.sub(r"^\d+[.)] ", "", line).rstrip(".").lower() for line in lines]
        numbers = [line.split(".")[0] for line in lines]
        return numbers == [str(k) for k in range(1, n + 1)] and len(set(found)) == n and set(found) <= set(things)

    return Item(
        "list",
        f"{template}/{category}/{n}",
        user(politely(rng, template.format(n=said, category=category))),
        "\n".join(f"{k}. {thing}" for k, thing in enumerate(chosen, 1)),
        check,
    )


def json_object(rng: Random, level: float) -> Item:
    """An object of one to three fields."""
    fields: dict[str, Any] = {
        "name": rng.choice(NAMES),
        "age": rng.randint(2, 99),
        "city": rng.choice(_CITIES),
        "color": rng.choice(CATEGORIES["colors"]),
        "pet": rng.choice(CATEGORIES["animals"]),
        "fruit": rng.choice(CATEGORIES["fruits"]),
    }
    count = rng.randint(1, 2 if level < 0.2 else 3)
    value = {key: fields[key] for key in rng.sample(tuple(fields), count)}
    if rng.random() < 0.3:
        told = ", ".join(f"{key}={inner}" for key, inner in value.items())
    else:
        parts = [f"{key} {inner}" for key, inner in value.items()]
        told = " and ".join((", ".join(parts[:-1]), parts[-1])) if count > 1 else parts[0]
    asked = rng.choice(("Give me JSON with {told}.", "Write JSON with {told}.", "Make a JSON object with {told}.",
                        "As JSON: {told}", "Write this as JSON: {told}"))  # fmt: skip

    def check(text: str) -> bool:
        try:
            return bool(json.loads(text) == value)
        except ValueError:
            return False

    text = asked.format(told=told)
    return Item("json", told, user(text if text.startswith("As") else politely(rng, text)), json.dumps(value), check)


_TOOLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "get_weather": ("city", ("What is the weather in {x}?", "How is the weather in {x}?", "Is it raining in {x}?",
                             "Will it be sunny in {x} today?")),
    "get_time": ("city", ("What time is it in {x}?", "How late is it in {x}?", "Tell me the time in {x}.")),
    "set_timer": ("minutes", ("Set a timer for {x} minutes.", "Wake me in {x} minutes.",
                              "Start a timer of {x} minutes.")),
    "play_song": ("title", ("Play the song {x}.", "Play {x}.", "I want to hear {x}.")),
    "call_person": ("name", ("Call {x}.", "Phone {x}, please.", "I want to talk to {x}.")),
    "turn_on_light": ("room", ("Turn on the light in the {x}.", "Make some light in the {x}.")),
}  # fmt: skip
_ROOMS = ("kitchen", "garage", "hall", "bedroom", "cellar", "bathroom", "garden", "office")


def tools_line(names: list[str]) -> str:
    """The system message that offers tools, as the chat template writes it for a request's `tools`."""
    return "Tools: " + ", ".join(f"{name}({_TOOLS[name][0]})" for name in names)


def call(name: str, arguments: dict[str, Any]) -> str:
    """A call as Hermes models write it."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def parse_call(text: str) -> Any:
    """The object inside the only tool call that the text is; None if it is something else."""
    found = re.fullmatch(r"<tool_call>\s*(.*?)\s*</tool_call>", text.strip(), re.DOTALL)
    try:
        return json.loads(found[1]) if found else None
    except ValueError:
        return None


def tool_call(rng: Random, level: float) -> Item:
    """One of the offered tools, with the right argument."""
    name = rng.choice(tuple(_TOOLS))
    parameter, templates = _TOOLS[name]
    values: dict[str, tuple[Any, ...]] = {
        "city": _CITIES, "minutes": tuple(range(1, 60)), "title": _SONGS, "name": NAMES, "room": _ROOMS,
    }  # fmt: skip
    value = rng.choice(values[parameter])
    offered = list({name, *rng.sample(tuple(_TOOLS), rng.randint(0, 3))})
    rng.shuffle(offered)
    asked = rng.choice(templates).format(x=value)
    system: Message = {"role": "system", "content": tools_line(offered)}
    arguments = {parameter: value}
    return Item(
        "tool_call",
        asked,
        (system, *user(asked)),
        call(name, arguments),
        lambda text: parse_call(text) == {"name": name, "arguments": arguments},
    )
