"""Events are what receivers' own libraries take for true."""

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from server.webhooks.events import event_of, headers_of, parse_secrets, secret_of

OLD, NEW = (("whsec_" + base64.b64encode(letter * 24).decode()) for letter in (b"o", b"n"))
BODY = event_of({"id": "job_1", "status": "succeeded"}, 1e9, "Olá, «mundo»")


def test_a_receiver_takes_it() -> None:
    """With the caller's secret; the body is what was signed."""
    secrets = parse_secrets(NEW)
    headers = headers_of(secrets, "n8n", "msg_1", BODY, time.time())
    found = Webhook(secret_of(secrets[0], "n8n")).verify(BODY, headers)

    assert "job.succeeded" == found["type"]
    assert "2001-09-09T01:46:40.000+00:00" == found["timestamp"]
    assert {"id": "job_1", "status": "succeeded", "text": "Olá, «mundo»"} == found["data"]
    assert found == json.loads(BODY)


def test_no_caller_can_speak_to_another() -> None:
    """Each has a secret of its own."""
    secrets = parse_secrets(NEW)
    headers = headers_of(secrets, "n8n", "msg_1", BODY, time.time())
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(secrets[0], "curl")).verify(BODY, headers)


def test_while_secrets_change_both_will_do() -> None:
    """Whichever the receiver has."""
    secrets = parse_secrets(f"{NEW}\n{OLD}")
    headers = headers_of(secrets, "n8n", "msg_1", BODY, time.time())
    for secret in secrets:
        Webhook(secret_of(secret, "n8n")).verify(BODY, headers)


def test_an_old_event_is_known_for_one() -> None:
    """The time is that of the try, and is signed."""
    secrets = parse_secrets(NEW)
    headers = headers_of(secrets, "n8n", "msg_1", BODY, time.time() - 600)
    with pytest.raises(WebhookVerificationError, match="old"):
        Webhook(secret_of(secrets[0], "n8n")).verify(BODY, headers)


@pytest.mark.parametrize("text", ["whsec_", "whsec_abc", NEW[6:], f"{NEW} x", "whsec_" + "é" * 40])
def test_a_bad_secret_is_refused(text: str) -> None:
    """Also beside a good one."""
    with pytest.raises(ValueError, match="whsec_"):
        parse_secrets(text)


@given(st.text())
def test_no_text_breaks_the_secrets(text: str) -> None:
    """Refused, or of the size that is asked for."""
    try:
        found = parse_secrets(text)
    except ValueError as error:
        assert "whsec_ and base64" in str(error)  # noqa: PT017 - and nothing of the text
    else:
        assert all(len(secret) >= 24 for secret in found)
