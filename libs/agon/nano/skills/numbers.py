"""Arithmetic. The answers show the step that a person would take in the head, which is also what makes them right."""

from random import Random

from agon.nano.skills.base import Item, comes_to, loosely, plain, user

_ADD = ("What is {a} + {b}?", "{a} + {b} =", "What is {a} plus {b}?", "Add {a} and {b}.", "How much is {a} + {b}?",
        "Calculate {a} + {b}.", "{a}+{b}", "What is the sum of {a} and {b}?", "{a} plus {b}?")  # fmt: skip
_SUBTRACT = ("What is {a} - {b}?", "{a} - {b} =", "What is {a} minus {b}?", "Subtract {b} from {a}.",
             "How much is {a} - {b}?", "Calculate {a} - {b}.", "{a}-{b}", "Take {b} away from {a}.")  # fmt: skip
_MULTIPLY = ("What is {a} x {b}?", "{a} * {b} =", "What is {a} times {b}?", "Multiply {a} by {b}.",
             "How much is {a} * {b}?", "Calculate {a} x {b}.", "{a}*{b}", "What is {a} * {b}?")  # fmt: skip


def add(rng: Random, level: float) -> Item:
    """Two numbers below 100: tens and ones apart, then together."""
    top = 99 if level > 0.3 else 40
    a, b = rng.randint(0, top), rng.randint(0, top)
    if rng.random() < 0.2:
        a, b = rng.randint(0, 9), rng.randint(0, 9)
    short = f"{a} + {b} = {a + b}."
    if a > 9 and b > 9:
        tens, ones = a // 10 * 10 + b // 10 * 10, a % 10 + b % 10
        steps = f"{a // 10 * 10} + {b // 10 * 10} = {tens} and {a % 10} + {b % 10} = {ones}"
        short = f"{steps}, so {short}"
    low, high = sorted((a, b))
    return Item(
        "add",
        f"{low}+{high}",
        user(loosely(rng, rng.choice(_ADD).format(a=a, b=b))),
        short,
        comes_to(a + b, a, b),
        drill=high < 10,
    )


def subtract(rng: Random, level: float) -> Item:
    """From a number below 100 a smaller one: the tens first, then the ones, by way of the full ten."""
    top = 99 if level > 0.3 else 40
    a, b = sorted((rng.randint(0, top), rng.randint(0, top)), reverse=True)
    if rng.random() < 0.3:
        a = rng.randint(0, 99)
        b = rng.randint(0, min(a, 9))
    parts = [b // 10 * 10, b % 10]
    if 0 < a % 10 < b % 10:
        parts[1:] = [a % 10, b % 10 - a % 10]
    parts = [part for part in parts if part]
    short = f"{a} - {b} = {a - b}."
    if len(parts) > 1:
        steps, left = [], a
        for part in parts:
            steps.append(f"{left} - {part} = {left - part}")
            left -= part
        short = f"{' and '.join(steps)}, so {short}"
    return Item(
        "subtract",
        f"{a}-{b}",
        user(loosely(rng, rng.choice(_SUBTRACT).format(a=a, b=b))),
        short,
        comes_to(a - b, a, b),
        drill=a < 10,
    )


def multiply(rng: Random, level: float) -> Item:
    """A number below 100 by a digit, from the table of ten by ten, which training sees whole."""
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    is_table = rng.random() < 0.5 - 0.3 * level
    if not is_table:
        a = rng.randint(11, 30 if level < 0.3 else 99)
    product = f"{a} x {b} = {a * b}."
    if a > 10 and a % 10:
        tens, ones = a // 10 * 10, a % 10
        products = f"{tens} x {b} = {tens * b} and {ones} x {b} = {ones * b}"
        if (ones * b) > 9 and (ones * b) % 10:
            near = tens * b + ones * b // 10 * 10
            products = f"{products} and {tens * b} + {ones * b // 10 * 10} = {near}"
        product = f"{products}, so {product}"
    low, high = sorted((a, b))
    return Item(
        "multiply",
        "table" if is_table else f"{low}x{high}",
        user(loosely(rng, rng.choice(_MULTIPLY).format(a=a, b=b))),
        product,
        comes_to(a * b, a, b),
        drill=is_table,
    )


_MORE = ("Which is bigger, {a} or {b}?", "Which number is larger, {a} or {b}?", "What is more, {a} or {b}?",
         "Is {a} or {b} the bigger number?", "Which is greater: {a} or {b}?")  # fmt: skip
_LESS = ("Which is smaller, {a} or {b}?", "Which number is smaller, {a} or {b}?", "What is less, {a} or {b}?",
         "Is {a} or {b} the smaller number?")  # fmt: skip


def compare(rng: Random, level: float) -> Item:
    """The bigger or the smaller of two different numbers below 1000."""
    top = 99 if level < 0.2 else rng.choice((99, 999, 999))
    a = rng.randint(0, top)
    near = rng.random() < 0.3
    while (b := max(0, a + rng.randint(-20, 20)) if near else rng.randint(0, top)) == a:
        pass
    wants_more = rng.random() < 0.6
    right, wrong = (max(a, b), min(a, b)) if wants_more else (min(a, b), max(a, b))
    word = "bigger" if wants_more else "smaller"
    answer = f"{right} is {word} than {wrong}."

    def check(text: str) -> bool:
        said = plain(text)
        return said == str(right) or said.startswith((f"{right} is {word}", f"{right} is the {word}"))

    return Item(
        "compare",
        f"{min(a, b)},{max(a, b)}",
        user(loosely(rng, rng.choice(_MORE if wants_more else _LESS).format(a=a, b=b))),
        answer,
        check,
    )
