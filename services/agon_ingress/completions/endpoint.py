"""`POST /v1/completions`."""

from agon.messages import GenerationRequest
from agon_ingress.asking.endpoint import Ask, Endpoint
from agon_ingress.asking.mapping import able, generation
from agon_ingress.completions.telling import CompletionStream, Listening, WholeCompletion
from agon_ingress.completions.types import DEFAULT_MAX_TOKENS, Completion, CompletionChunk, CompletionRequest


def _generations(asked: CompletionRequest, ask: Ask) -> tuple[GenerationRequest, ...]:
    able(ask.card, "completion")
    same = {
        "kind": "completion",
        "max_tokens": DEFAULT_MAX_TOKENS if asked.max_tokens is None else asked.max_tokens,
        "best_of": asked.best_of,
        "echo": asked.echo,
        "logprobs": asked.logprobs is not None,
        "top_logprobs": asked.logprobs,
        "prompt_logprobs": asked.logprobs if asked.echo else None,
        "response_format": asked.form,
        "store": False,
    }
    count = len(asked.prompts)
    return tuple(
        generation(asked, ask, ask.name(index, count), {**same, "prompt": prompt})
        for index, prompt in enumerate(asked.prompts)
    )


def _whole(asked: CompletionRequest, ask: Ask) -> WholeCompletion:
    return WholeCompletion(ask.head, _listening(asked))


def _streamed(asked: CompletionRequest, ask: Ask) -> CompletionStream:
    usage = asked.stream_options is not None and asked.stream_options.include_usage
    return CompletionStream(ask.head, _listening(asked), include_usage=usage)


def _listening(asked: CompletionRequest) -> Listening:
    choices = len(asked.prompts) * asked.n
    return Listening(choices, asked.n, asked.logprobs, echo=asked.echo)


COMPLETIONS = Endpoint(
    path="/v1/completions",
    prefix="cmpl-",
    asks=CompletionRequest,
    gives=Completion,
    event=CompletionChunk,
    about="Text or token ids that go on; the older API, which evaluation harnesses use.",
    generations=_generations,
    whole=_whole,
    streamed=_streamed,
)
