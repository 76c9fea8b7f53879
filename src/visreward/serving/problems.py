"""The fixed catalogue of what a request can be told when it fails.

No text of an exception, no path and no address ever leaves the server: a response carries a code
of this list and its sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Code(StrEnum):
    """Every error code."""

    INVALID_REQUEST = "invalid_request"
    UNKNOWN_FIELD = "unknown_field"
    NOT_HTTP = "not_http"
    NOT_JSON = "not_json"
    NOT_MSGPACK = "not_msgpack"
    NOT_MULTIPART = "not_multipart"
    NOT_PLAIN_PICKLE = "not_plain_pickle"
    UNSUPPORTED_CONTENT_TYPE = "unsupported_content_type"
    URL_NOT_ALLOWED = "url_not_allowed"
    URL_REFUSED = "url_refused"
    URL_FAILED = "url_failed"
    UNAUTHORISED = "unauthorised"
    FORBIDDEN_HOST = "forbidden_host"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNKNOWN_MODEL = "unknown_model"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TOO_SLOW = "body_too_slow"
    HEADERS_TOO_LARGE = "headers_too_large"
    TOO_MANY_IMAGES = "too_many_images"
    NO_CANDIDATES = "no_candidates"
    PROMPT_TOO_LONG = "prompt_too_long"
    PROMPT_REQUIRED = "prompt_required"
    SOURCE_REQUIRED = "source_required"
    SOURCE_NOT_WANTED = "source_not_wanted"
    IMAGE_NOT_BASE64 = "image_not_base64"
    IMAGE_EMPTY = "image_empty"
    IMAGE_FORMAT_UNSUPPORTED = "image_format_unsupported"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_UNREADABLE = "image_unreadable"
    IMAGE_DECODER_FAILED = "image_decoder_failed"
    IMAGE_REFUSED_BY_MODEL = "image_refused_by_model"
    SCORE_NOT_FINITE = "score_not_finite"
    OUT_OF_MEMORY = "out_of_memory"
    QUEUE_FULL = "queue_full"
    CLIENT_QUEUE_FULL = "client_queue_full"
    MODEL_NOT_READY = "model_not_ready"
    MODEL_RESTARTED = "model_restarted"
    SHUTTING_DOWN = "shutting_down"
    TIMEOUT_PASSED = "timeout_passed"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CANCELLED = "cancelled"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the catalogue.

    Attributes:
        status: HTTP status of a response that this code stands for as a whole.
        message: What people read.
        is_retryable: Whether the same request may succeed later.
    """

    status: int
    message: str
    is_retryable: bool = False


CATALOGUE: Final[dict[Code, Entry]] = {
    Code.INVALID_REQUEST: Entry(
        422, "The request does not fit the schema. See /openapi.json, and the field named here."
    ),
    Code.UNKNOWN_FIELD: Entry(
        422, "The request has a field of a name that is not in the schema. See /openapi.json."
    ),
    Code.NOT_HTTP: Entry(400, "The request is not valid HTTP, and the connection was closed."),
    Code.NOT_JSON: Entry(400, "The body is not valid JSON. Send one JSON object in UTF-8."),
    Code.NOT_MSGPACK: Entry(400, "The body is not valid msgpack. Send one map with text keys."),
    Code.NOT_MULTIPART: Entry(
        400,
        "The body is not valid multipart form data. Send the fields prompt and model, and the "
        "files candidates and source_images.",
    ),
    Code.NOT_PLAIN_PICKLE: Entry(
        400,
        "The body is not a pickle of plain data. Send dict, list, tuple, bytes, str, int, float, "
        "bool and None only, in protocol 2 to 5.",
    ),
    Code.UNSUPPORTED_CONTENT_TYPE: Entry(
        415,
        "The content type is not supported here. Send application/json, application/msgpack or, "
        "to /v1/score and /v1/rank, multipart/form-data.",
    ),
    Code.URL_NOT_ALLOWED: Entry(
        400, "An image is a URL or a path. Send the bytes of the image, in base64 or raw."
    ),
    Code.URL_REFUSED: Entry(
        400,
        "An image's URL is not one that is fetched here. Give http or https, the usual port and a "
        "name with public addresses only, or send the bytes of the image.",
    ),
    Code.URL_FAILED: Entry(
        422,
        "An image could not be fetched: no answer in time, a status other than 200 such as a "
        "redirect, or too many bytes. Send the bytes of the image.",
    ),
    Code.UNAUTHORISED: Entry(
        401, "The API key is missing or wrong. Send it as: Authorization: Bearer KEY"
    ),
    Code.FORBIDDEN_HOST: Entry(
        403, "The Host header names another machine. Ask for 127.0.0.1 or localhost."
    ),
    Code.NOT_FOUND: Entry(404, "There is nothing at this path. See /openapi.json."),
    Code.METHOD_NOT_ALLOWED: Entry(405, "This path takes another method. See /openapi.json."),
    Code.UNKNOWN_MODEL: Entry(404, "No model of this name is served. See /v1/models."),
    Code.BODY_TOO_LARGE: Entry(413, "The body is larger than the server's limit. Send less."),
    Code.BODY_TOO_SLOW: Entry(408, "The body did not arrive in time. Send it again.", True),
    Code.HEADERS_TOO_LARGE: Entry(431, "The headers are larger than the server's limit."),
    Code.TOO_MANY_IMAGES: Entry(
        413, "The request has more images than the server's limit. Split it."
    ),
    Code.NO_CANDIDATES: Entry(422, "The request has no candidate. Send at least one image."),
    Code.PROMPT_TOO_LONG: Entry(413, "The prompt is longer than the limit. Shorten it."),
    Code.PROMPT_REQUIRED: Entry(
        422, "The prompt is empty, but the model scores how an image fits a prompt. Give one."
    ),
    Code.SOURCE_REQUIRED: Entry(
        422, "There is no source image, but the model scores edits. Give the image before the edit."
    ),
    Code.SOURCE_NOT_WANTED: Entry(
        422, "A source image was given, but the model scores single images. Leave it out."
    ),
    Code.IMAGE_NOT_BASE64: Entry(
        400, "An image is not valid base64. Send standard base64, with padding."
    ),
    Code.IMAGE_EMPTY: Entry(422, "An image has no bytes. Send the bytes of an image file."),
    Code.IMAGE_FORMAT_UNSUPPORTED: Entry(
        415, "An image is in a format that is not read here. Send JPEG, PNG or WebP."
    ),
    Code.IMAGE_TOO_LARGE: Entry(
        413, "An image has more pixels than the server's limit. Make it smaller."
    ),
    Code.IMAGE_UNREADABLE: Entry(
        422, "An image is damaged or in a form that cannot be read. Save it again."
    ),
    Code.IMAGE_DECODER_FAILED: Entry(
        422, "Decoding an image took too much time or memory. Save it again, or smaller."
    ),
    Code.IMAGE_REFUSED_BY_MODEL: Entry(
        422, "The model cannot take this image, for example for its shape. Crop it."
    ),
    Code.SCORE_NOT_FINITE: Entry(
        500, "The model gave a score that is not finite. Tell whoever runs this server."
    ),
    Code.OUT_OF_MEMORY: Entry(
        503, "The model's memory does not hold this image. Send it smaller.", False
    ),
    Code.QUEUE_FULL: Entry(
        429, "The queue is full. Send the request again after the seconds of Retry-After.", True
    ),
    Code.CLIENT_QUEUE_FULL: Entry(
        429,
        "This client fills half of the queue, which is its share. Send the request again after "
        "the seconds of Retry-After.",
        True,
    ),
    Code.MODEL_NOT_READY: Entry(
        503, "The model is starting. Send the request again after the seconds of Retry-After.", True
    ),
    Code.MODEL_RESTARTED: Entry(
        503,
        "The model's process ended and starts again. Send the request again after the seconds of "
        "Retry-After.",
        True,
    ),
    Code.SHUTTING_DOWN: Entry(503, "The server is shutting down. Ask another one.", True),
    Code.TIMEOUT_PASSED: Entry(
        408, "The request was not done in the seconds of its timeout_s, and was dropped.", True
    ),
    Code.DEADLINE_EXCEEDED: Entry(
        504, "The request was not done in the time that the server gives, and was dropped.", True
    ),
    Code.CANCELLED: Entry(499, "The client closed the connection, and the request was dropped."),
    Code.INTERNAL_ERROR: Entry(
        500, "The server failed in a way that its log describes under this request id."
    ),
}


class Problem(Exception):  # noqa: N818 - a request's problem, not the program's
    """A request, or one candidate of it, fails.

    Attributes:
        code: Of the catalogue.
        field: Which field of the request, such as `candidates.3`, or None.
        retry_after_s: After how many seconds to try again, or None.
    """

    def __init__(
        self, code: Code, *, field: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(code.value)
        self.code = code
        self.field = field
        self.retry_after_s = retry_after_s

    @property
    def entry(self) -> Entry:
        """Return the line of the catalogue."""
        return CATALOGUE[self.code]
