"""How both answers of an arena's battles are drawn: `policy["sampling"]`, fields of a request that both sides get."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from agon.errors import SetupError
from agon.messages import ChatMessage, GenerationRequest
from agon.messages.sampling import Sampling

_OURS = frozenset({"model", "n", "seed", "cache_salt", "metadata"})
"""What a battle needs for itself: one answer from each side, drawn by its own seeds."""


def declared_sampling(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling parameters of an arena's policy, such as `{"temperature": 0.7, "max_tokens": 512}`.

    Raises `SetupError` naming what is wrong.
    """
    sampling = policy.get("sampling", {})
    if not isinstance(sampling, dict):
        raise SetupError('the policy\'s `sampling` must be an object, such as {"temperature": 0.7}')
    known = Sampling.model_fields.keys() - _OURS
    for name in sampling:
        if name not in known:
            raise SetupError(f"the policy's `sampling` can't set {name!r}: choose from {', '.join(sorted(known))}")
    message = ChatMessage(role="user", content="?")
    try:
        GenerationRequest(request_id="checked", model="checked", messages=(message,), **sampling)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, ("sampling", *first["loc"])))
        raise SetupError(f"the policy's `{where}`: {first['msg']}") from error
    return sampling
