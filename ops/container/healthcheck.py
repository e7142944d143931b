"""A container's health check: exit code 0 if the server beside it is ready, else 1.

Knows: the port setting, and that /readyz answers 200 when work can be done. Nothing but Python's
own library, so that it starts in milliseconds and needs no curl.
Must not know: why a server is not ready; Docker shows the one line that is printed.
"""

import http.client
import os
import sys

TIMEOUT_SECONDS = 5.0
"""A second below the timeout of the images' HEALTHCHECK, so that the reason is printed."""


def check(port: int) -> tuple[int, str]:
    """The exit code, and what to show."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return 1, f"no answer: {type(error).__name__}"
    finally:
        connection.close()
    return (0, "ready") if status == http.HTTPStatus.OK else (1, f"not ready: {status}")


if __name__ == "__main__":
    code, reason = check(int(os.environ.get("SUSSURRO_PORT", "9005")))
    print(reason)  # noqa: T201 - Docker keeps it with the check's result
    sys.exit(code)
