"""What a question is about, by rules that anybody can read: no model decides who counts where.

| category    | a question is in it if it has                                                                 |
|-------------|-----------------------------------------------------------------------------------------------|
| `code`      | a fenced block, or two signs of program text, or the name of a programming language or tool   |
| `maths`     | arithmetic, an equation, LaTeX, or a word of mathematics                                      |
| `format`    | a demand for a form: a list, table, JSON, bullets, or so many words, lines or sentences       |
| `creative`  | a demand for a poem, story, song, joke, essay, slogan, letter or role                         |
| `translate` | a demand to translate, or to say something in another language                                |
| `summarise` | a demand for a summary or a shorter text                                                      |
| `reasoning` | a demand to explain, prove, compare or go step by step                                        |
| `long`      | at least 1,000 characters                                                                     |

A question may be in several, or in none (`other`). The words are English, so questions in other languages are found by
their form alone; that is a limit of the rules, and a reason to read a category only together with the language.
"""

import re

OTHER = "other"
LONG = 1000
"""Characters from which on a question is `long`."""

_CODE_SIGN = re.compile(
    r"\b(?:def|class|import|return|function|const|let|var|public|static|void|#include|SELECT|INSERT|UPDATE)\b"
    r"[ \t]+[\w*{(]"
    r"|[{};]\s*$|=>|\w+\([^()\n]*\)\s*[:;{]|==|!=|&&|\|\|",
    re.MULTILINE,
)
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "code",
        re.compile(
            r"```|\b(?:python|javascript|typescript|java|golang|kotlin|haskell|bash|sql|regex|html|css|dockerfile|"
            r"kubernetes|pandas|numpy|pytorch|algorithm|unit tests?|stack ?trace|compiler)\b|"
            r"\bC\+\+|\bC#|\bRust code\b",
            re.IGNORECASE,
        ),
    ),
    (
        "maths",
        re.compile(
            r"\d\s*(?:[-+*/^=×÷]|plus|minus|times|divided by|modulo)\s*\d|\\(?:frac|sum|int|sqrt|begin\{)|"
            r"\b(?:equation|integral|derivative|theorem|prime|probability|matrix|polynomial|logarithm|percent(?:age)?|"
            r"square root|how much is|calculate|compute|solve for)\b",
            re.IGNORECASE,
        ),
    ),
    (
        "format",
        re.compile(
            r"\b(?:list|table|bullet(?: ?points?)?|json|yaml|csv|markdown|headings?)\b|"
            r"\b(?:in|with|exactly|at most|at least|under)\s+(?:\d+|one|two|three|four|five|ten)\s+"
            r"(?:words?|lines?|sentences?|paragraphs?|items?|points?)\b",
            re.IGNORECASE,
        ),
    ),
    (
        "creative",
        re.compile(
            r"\b(?:poem|story|song|lyrics|joke|essay|haiku|slogan|novel|tale|limerick|letter to|pretend|"
            r"role-?play|act as)\b",
            re.IGNORECASE,
        ),
    ),
    ("translate", re.compile(r"\btranslat|\bhow do you say\b|\bsay .{1,40} in [A-Z][a-z]+", re.IGNORECASE)),
    ("summarise", re.compile(r"\bsummar(?:y|ies|i[sz]e)|\btl;?dr\b|\bshorten\b|\bkey points\b", re.IGNORECASE)),
    ("reasoning", re.compile(r"\bexplain|\bprove\b|\bcompare\b|\bstep by step\b|\bwhy\b|\breason", re.IGNORECASE)),
)
CATEGORIES = (*(name for name, _ in _RULES), "long")
_MOST_CHARACTERS = 20_000


def categories(text: str) -> tuple[str, ...]:
    """The categories of a question in the order of the table; none where no rule holds. Time is linear in the text,
    of which the first 20,000 characters are read."""
    read = text[:_MOST_CHARACTERS]
    found = {name for name, rule in _RULES if rule.search(read)}
    if "code" not in found and sum(1 for _ in zip(range(2), _CODE_SIGN.finditer(read), strict=False)) == 2:
        found.add("code")
    if len(text) >= LONG:
        found.add("long")
    return tuple(name for name in CATEGORIES if name in found)
