"""The language of a question, detected from its words; nothing is guessed from what a browser sends.

py3langid (BSD) is a naive Bayes classifier over byte n-grams (Lui and Baldwin, ACL 2012) whose probabilities are
calibrated. Its model takes 1.3 s and 90 MB to load, once per process, at the first question.
"""

from functools import cache
from typing import Any

SURE = 0.5
"""A language less probable than this is unknown: a greeting, a formula, a line of code have none of their own."""
MOST_CHARACTERS = 4000
"""More text tells no more."""
_CODES = (
    "ar bg bn ca cs da de el en es et fa fi fr gu he hi hr hu hy id it ja ka kk km kn ko lo lt lv mk ml mn mr ms my ne "
    "nl no pa pl pt ro ru si sk sl sq sr sv sw ta te th tl tr uk ur uz vi zh"
)
LANGUAGES = frozenset(_CODES.split())
"""ISO 639-1 codes that are told apart; the others are unknown."""
_NO_LANGUAGE = "zxx"


def detect(text: str) -> str | None:
    """The language as an ISO 639-1 code, None where nobody can tell. Blocks for the time above when first called."""
    language, probability = _identifier().classify(text[:MOST_CHARACTERS])
    return str(language) if probability >= SURE and language != _NO_LANGUAGE else None


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(sorted(LANGUAGES | {_NO_LANGUAGE}))
    return identifier
