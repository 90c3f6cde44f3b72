"""Every error that agon raises on purpose.

AgonError                      has a message for the person who caused it, and what to do about it
├── InvalidRequest         400 something in the request is wrong; `param` names it
│   ├── UnsupportedParameter 400 a known field that this server does not implement
│   ├── ContextTooLong     400 prompt and answer do not fit the model's context
│   └── TooLarge           413 more bytes than the limit
├── Unauthorized           401 no key, or one that is not known
├── Forbidden              403 the key, ticket or session may not do this
├── NotFound               404 nothing has this id (or it belongs to somebody else)
│   └── ModelNotFound      404 no model is registered under this name
├── MethodNotAllowed       405 the path exists, the method does not
├── Conflict               409 it was already done, differently
│   └── Fenced             409 another process has taken over what this one was doing
├── Gone                   410 it was there and is over
├── RateLimited            429 too much at once; `retry_after` says when to come back
│   └── OutOfBudget        429 the key's budget is spent; coming back does not help
├── Unavailable            503 a part that this needs is away; `retry_after` says when to come back
│   └── ModelNotServed     503 the model is registered, no live worker serves it
├── NotImplementedYet      501 a known part of OpenAI's API that this server does not have
├── GenerationError        500 an accepted request could not be finished
│   ├── EngineFailed       500 the model failed on this request
│   ├── WorkerLost         500 its worker died and it could not be resumed
│   ├── StreamLost         500 its tokens were lost and could not be told again the same way
│   ├── Cancelled          499 the client left
│   └── Expired            504 its deadline passed
├── UpstreamFailed         502 the server behind an upstream model failed
└── SetupError             exit code 2: the machine or the settings lack something; the message says what to do

Over HTTP an error is OpenAI's envelope (`body`), over Kafka a dead letter, on the command line one line, exit code 2.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import TypedDict


class ErrorBody(TypedDict):
    """OpenAI's error object: all four keys are always there."""

    message: str
    type: str
    param: str | None
    code: str | None


class AgonError(Exception):
    """The root. `status` is the HTTP status, `type` and `code` are OpenAI's words for it.

    `retry_after` is set where coming back later helps; clients must not retry where it is None.
    """

    status: int = 500
    type: str = "server_error"
    code: str | None = None
    retry_after: timedelta | None = None
    headers: Mapping[str, str] | None = None
    """Of the answer over HTTP, besides those that follow from the rest."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code
        if retry_after is not None:
            self.retry_after = retry_after

    def body(self) -> ErrorBody:
        """The inner object of OpenAI's envelope `{"error": ...}`."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}


class InvalidRequest(AgonError):
    status = 400
    type = "invalid_request_error"


class UnsupportedParameter(InvalidRequest):
    code = "unsupported_parameter"


class ContextTooLong(InvalidRequest):
    code = "context_length_exceeded"


class TooLarge(InvalidRequest):
    status = 413
    code = "request_too_large"


class Unauthorized(AgonError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class Forbidden(AgonError):
    status = 403
    type = "permission_error"
    code = "forbidden"


class NotFound(AgonError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(AgonError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class Conflict(AgonError):
    status = 409
    type = "invalid_request_error"
    code = "conflict"


class Fenced(Conflict):
    code = "fenced"


class Gone(AgonError):
    status = 410
    type = "invalid_request_error"
    code = "gone"


class RateLimited(AgonError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    retry_after: timedelta | None = timedelta(seconds=1)


class OutOfBudget(RateLimited):
    type = "insufficient_quota"
    code = "insufficient_quota"
    retry_after = None


class Unavailable(AgonError):
    status = 503
    type = "server_error"
    code = "unavailable"
    retry_after = timedelta(seconds=1)


class ModelNotServed(Unavailable):
    code = "model_not_served"


class NotImplementedYet(AgonError):
    status = 501
    type = "invalid_request_error"
    code = "not_implemented"


class GenerationError(AgonError):
    """An accepted request that could not be finished; never retried by a client on its own."""

    code = "generation_failed"


class EngineFailed(GenerationError):
    code = "engine_failed"


class WorkerLost(GenerationError):
    code = "worker_lost"


class StreamLost(GenerationError):
    code = "stream_lost"


class Cancelled(GenerationError):
    status = 499
    code = "cancelled"


class Expired(GenerationError):
    status = 504
    code = "deadline_exceeded"


class UpstreamFailed(AgonError):
    status = 502
    code = "upstream_failed"


class SetupError(AgonError):
    """Raised where an operator must act. The message is one line: what is missing, and what to do."""

    code = "setup"
