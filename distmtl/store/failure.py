"""What an error of an object store's client means: its cause in a few words, what to do, and whether it may pass.

obstore has few classes of errors and tells the rest in text: the server's status and the code in its answer, or what
the network did. Only these are repeated here; addresses, request identifiers and headers are not.
"""

import re
from dataclasses import dataclass

from obstore.exceptions import BaseError

_STATUS = re.compile(r"status code: (\d{3})([A-Za-z '-]*)")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_NETWORK = re.compile(r'(?:message|error): "((?:[^"\\]|\\.)+)"')
_METADATA = re.compile(r"//(169\.254\.169\.254|169\.254\.170\.\d+|metadata\.google\.internal)\b")
NO_CREDENTIALS = "NoCredentials"
"""Our code for a machine that was asked for its role's credentials, and gave none."""

_FORBIDDEN = {401, 403}
_PASSING = {408, 429}

_REMEDIES = {
    "NoSuchBucket": "Create the bucket, or check its name.",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not the secret of AWS_ACCESS_KEY_ID; check both.",
    "InvalidAccessKeyId": "The server does not know AWS_ACCESS_KEY_ID; check it and the endpoint.",
    "ExpiredToken": "Renew the credentials in the environment.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "AuthorizationHeaderMalformed": "Set AWS_REGION to the bucket's region.",
    "PermanentRedirect": "Set AWS_REGION to the bucket's region.",
    "InvalidRange": "The object was cut short; restore it.",
}
_RIGHTS = "Check the credentials in the environment and their rights on this bucket."
_NETWORK_REMEDY = "Check the network, the endpoint and the bucket's name."
_CREDENTIALS = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or what your cloud calls them), or give this machine a role."
)


@dataclass(frozen=True)
class Failure:
    """What an error means.

    Attributes:
        cause: A few words, to end a sentence with.
        remedy: What to do about it.
        passing: Whether the same request may succeed later.
        code: What the server calls it, or ``NO_CREDENTIALS``; "" where nobody says.
    """

    cause: str
    remedy: str
    passing: bool = False
    code: str = ""


def explain(error: Exception) -> Failure:
    """Read an error that obstore raised."""
    text = str(error)
    if _METADATA.search(text):
        return Failure("no credentials were found", _CREDENTIALS, code=NO_CREDENTIALS)
    if status := _STATUS.search(text):
        code = _CODE.search(text)
        return _of_status(int(status[1]), status[2].strip(), code[1] if code else "")
    if isinstance(error, BaseError) and "HttpError" in text:
        return Failure(_of_network(text), _NETWORK_REMEDY, passing=True)
    return Failure(text.split("\n", 1)[0].rstrip("."), _NETWORK_REMEDY)


def _of_status(status: int, name: str, code: str) -> Failure:
    remedy = _REMEDIES.get(code, _RIGHTS if status in _FORBIDDEN else _NETWORK_REMEDY)
    said = f"{status} {name}".strip() + (f" ({code})" if code else "")
    return Failure(f"the server answered {said}", remedy, passing=status >= 500 or status in _PASSING, code=code)


def _of_network(text: str) -> str:
    if "TimedOut" in text or "kind: Timeout" in text:
        return "the server did not answer in time"
    if "IncompleteBody" in text or "IncompleteMessage" in text:
        return "the connection was closed in the middle of an answer"
    found = _NETWORK.search(text)
    return found[1][0].lower() + found[1][1:] if found else "the connection failed"
