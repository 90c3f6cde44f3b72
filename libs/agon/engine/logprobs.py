"""What a model thinks of tokens: their log-probabilities and the best alternatives, before anything shapes them."""

from collections.abc import Sequence as Rows

import torch
from torch import Tensor

from agon.engine.events import Alternative, TokenLogprob
from agon.engine.sequence import Sequence
from agon.engine.tokenizer import Tokenizer

_LEAST = -9999.0  # what OpenAI writes for a token that is practically impossible; JSON has no infinity


def token_logprobs(
    logits: Tensor, rows: Rows[int], tokens: Rows[int], tops: Rows[int], tokenizer: Tokenizer
) -> list[TokenLogprob]:
    """Of one token for each of these `rows` of `logits` (rows x vocabulary), with so many alternatives each.

    A number is the natural logarithm of the softmax.
    """
    if not rows:
        return []
    whole = logits[torch.tensor(rows, device=logits.device)].log_softmax(-1)
    chosen = whole.gather(-1, torch.tensor(tokens, device=logits.device)[:, None])[:, 0].tolist()
    most = min(max(tops), whole.shape[-1])
    best, ids = whole.topk(most, dim=-1) if most else (whole[:, :0], whole[:, :0].long())
    told = []
    for token, value, top, some, their in zip(tokens, chosen, tops, best.tolist(), ids.tolist(), strict=True):
        alternatives = tuple(
            Alternative(text, max(each, _LEAST), data)
            for (text, data), each in zip(map(tokenizer.label, their[:top]), some[:top], strict=True)
        )
        text, data = tokenizer.label(token)
        told.append(TokenLogprob(text, max(value, _LEAST), data, alternatives))
    return told


def unscored(token: int, tokenizer: Tokenizer) -> TokenLogprob:
    """A prompt's first token: nothing came before that could have told of it."""
    text, data = tokenizer.label(token)
    return TokenLogprob(text, None, data)


def answer_logprobs(
    logits: Tensor, drawing: Rows[Sequence], tokens: Rows[int], tokenizer: Tokenizer
) -> list[tuple[TokenLogprob, ...] | None]:
    """Of the token drawn for each sequence, None for those that did not ask, or whose output is no number (-1)."""
    wanted = [
        (row, token, sequence.drawing.logprobs)
        for row, (sequence, token) in enumerate(zip(drawing, tokens, strict=True))
        if sequence.drawing.logprobs is not None and token >= 0
    ]
    told: list[tuple[TokenLogprob, ...] | None] = [None] * len(drawing)
    if wanted:
        rows, ids, tops = zip(*wanted, strict=True)
        for row, scored in zip(rows, token_logprobs(logits, rows, ids, tops, tokenizer), strict=True):
            told[row] = (scored,)
    return told


def score_prompt(logits: Tensor, sequence: Sequence, top: int, tokenizer: Tokenizer) -> None:
    """Add to the sequence's prompt scores what these rows say of the tokens that come next in its prompt."""
    scores = sequence.prompt_scores
    assert scores is not None
    rows = range(logits.shape[0])
    tokens = sequence.tokens[len(scores) : len(scores) + len(rows)]
    scores += token_logprobs(logits, rows, tokens, [top] * len(rows), tokenizer)
