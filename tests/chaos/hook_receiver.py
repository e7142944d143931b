"""Receives webhooks in a process that is killed.

What came is in a file before it is answered. Now and then it does not answer, or says 503, though
it has it.

    python hook_receiver.py PORT FILE SECRET SEED
"""

import base64
import json
import os
import random
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

SILENT, REFUSED = 0.1, 0.05
"""So often it hangs up without an answer, or says 503."""


def main(port: int, path: str, secret: str, seed: int) -> None:
    """Until killed."""
    file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    hook, chance = Webhook(secret), random.Random(seed)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = chance.choices((0, 503, 200), (SILENT, REFUSED, 1 - SILENT - REFUSED))[0]
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                hook.verify(body, headers)
                signed = True
            except WebhookVerificationError:
                signed = False
            line = {
                "id": headers.get("webhook-id", ""),
                "body": base64.b64encode(body).decode(),
                "signed": signed,
                "answer": answer,
            }
            os.write(file, json.dumps(line).encode() + b"\n")
            self.close_connection = True
            if answer:
                self.send_response(answer)
                self.send_header("content-length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent."""

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
