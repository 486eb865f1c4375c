"""What is said of an error of obstore: the cause and nothing else of its text."""

from typing import Any

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from distmtl.store.failure import NO_CREDENTIALS, Failure, explain

SAID = (
    "Error performing GET http://10.1.2.3:7480/bucket/key?X-Amz-Credential=hunter2 in 5ms, after 3 retries - Server "
    "returned non-2xx status code: {}: <?xml version='1.0'?><Error>{}<RequestId>hunter2</RequestId></Error>"
)
NETWORK = "Generic S3 error: HTTP error: error sending request\n\nDebug source:\nHttp(HttpError {{ {} }})"


@pytest.mark.parametrize(
    ("status", "code", "cause", "remedy", "passing"),
    [
        ("503 Service Unavailable", "SlowDown", "503 Service Unavailable (SlowDown)", "network", True),
        ("500 Internal Server Error", "", "500 Internal Server Error", "network", True),
        ("429 Too Many Requests", "", "429 Too Many Requests", "network", True),
        ("408 Request Timeout", "RequestTimeout", "408 Request Timeout (RequestTimeout)", "network", True),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "(AuthorizationHeaderMalformed)", "AWS_REGION", False),
        ("403 Forbidden", "AccessDenied", "403 Forbidden (AccessDenied)", "rights", False),
        ("403 Forbidden", "RequestTimeTooSkewed", "(RequestTimeTooSkewed)", "clock", False),
        ("401 Unauthorized", "", "401 Unauthorized", "credentials", False),
        ("404 Not Found", "NoSuchBucket", "404 Not Found (NoSuchBucket)", "bucket", False),
    ],
)
def test_what_the_server_says(status: str, code: str, cause: str, remedy: str, passing: bool) -> None:
    failure = explain(GenericError(SAID.format(status, f"<Code>{code}</Code>" if code else "")))
    assert failure.cause.startswith("the server answered ")
    assert failure.cause.endswith(cause)
    assert remedy in failure.remedy
    assert (failure.passing, failure.code) == (passing, code)
    assert "hunter2" not in str(failure)


@pytest.mark.parametrize(
    ("debug", "cause"),
    [
        ('kind: Connect, Os { code: 111, message: "Connection refused" }', "connection refused"),
        ('ConnectError("dns error", Custom { error: "failed to lookup address" })', "failed to lookup address"),
        ("kind: Timeout, source: TimedOut", "the server did not answer in time"),
        ("kind: UnexpectedEof, error: IncompleteBody", "the connection was closed in the middle of an answer"),
        ("hyper::Error(IncompleteMessage)", "the connection was closed in the middle of an answer"),
        ("", "the connection failed"),
    ],
)
def test_what_the_network_did(debug: str, cause: str) -> None:
    failure = explain(GenericError(NETWORK.format(debug)))
    assert (failure.cause, failure.passing) == (cause, True)


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.170.2", "metadata.google.internal"])
@pytest.mark.parametrize("said", ["status code: 503 Unavailable", "HttpError { kind: Connect }"])
def test_a_machine_without_a_role_has_no_credentials(host: str, said: str) -> None:
    failure = explain(GenericError(f"Error performing PUT http://{host}/latest/api/token - {said}"))
    assert failure.cause == "no credentials were found"
    assert "AWS_ACCESS_KEY_ID" in failure.remedy
    assert (failure.passing, failure.code) == (False, NO_CREDENTIALS)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such option\nand more."),
        OSError("no such option"),
        GenericError("no such option\n\nDebug source:\nGeneric"),
        PermissionDeniedError("no such option"),
    ],
)
def test_anything_else_is_its_first_line_and_does_not_pass(error: Any) -> None:
    assert explain(error) == Failure("no such option", explain(error).remedy)
