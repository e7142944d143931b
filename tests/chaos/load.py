"""Clients that submit jobs and do not give up: any server will do, the key stays the same.

Knows: the API of jobs, which answers mean «again».
Must not know: what is killed, or when.
"""

import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

import httpx
from ledger import Ledger, Submission

ROUTE = "/v1/audio/transcriptions"
AGAIN = {409, 429, 502, 503, 504}
"""Asked too early, or somebody is just not there: anything else is no answer to good requests."""

PAUSE = (0.2, 1.2)
AT_ONCE, TWICE = 0.2, 0.2
"""So many want no job but the text; so many ask the same once more when they have their answer."""

LOOK_SECONDS = 0.4


class Trouble(Exception):
    """A promise is broken, or nothing happens any more."""


class Client:
    """One caller, one job at a time."""

    def __init__(
        self,
        urls: Sequence[str],
        headers: Mapping[str, str],
        ledger: Ledger,
        hook: str,
        seed: int,
        patience: float,
    ) -> None:
        """`hook`: where the ends of its jobs are to be told."""
        self._urls = urls
        self._http = httpx.Client(headers=dict(headers), timeout=httpx.Timeout(20, read=60))
        self._hook = hook
        self._ledger = ledger
        self._chance = random.Random(seed)
        self._patience = patience

    def work(
        self, clips: Mapping[str, bytes], weights: Sequence[float], stop: threading.Event
    ) -> None:
        """Job after job, until told to stop; the last one to its end."""
        with self._http:
            while not stop.is_set():
                clip = self._chance.choices(list(clips), weights)[0]
                key = str(uuid.UUID(int=self._chance.getrandbits(128)))
                submission = Submission(key, clip, at_once=self._chance.random() < AT_ONCE)
                self._ledger.open(submission)
                started = time.monotonic()
                try:
                    one = self._text if submission.at_once else self._job
                    one(submission, clips[clip], started + self._patience)
                except Trouble as trouble:
                    submission.trouble = str(trouble)
                submission.seconds = time.monotonic() - started

    def _text(self, submission: Submission, audio: bytes, until: float) -> None:
        form = {"response_format": "text"}
        first, *more = self._submit(submission, audio, form, 200, until)
        submission.state, submission.text = "answered", first.text
        for again in more:
            if again.text != first.text or again.headers.get("idempotent-replayed") != "true":
                raise Trouble(f"asked the same again, and was told {again.text!r}")

    def _job(self, submission: Submission, audio: bytes, until: float) -> None:
        form = {"background": "true", "webhook_url": self._hook}
        for answer in self._submit(submission, audio, form, 202, until):
            path = answer.headers["location"]
            submission.ids.add(path.rpartition("/")[2])
        submission.state = "accepted"
        job = self._ask(lambda url: self._http.get(url + path), until, _ended, LOOK_SECONDS)
        submission.state = job.json()["status"]
        if submission.state == "succeeded":
            text = path + "/transcript?response_format=text"
            submission.text = self._ask(
                lambda url: self._http.get(url + text), until, lambda a: a.status_code == 200
            ).text

    def _submit(
        self, submission: Submission, audio: bytes, form: dict[str, str], status: int, until: float
    ) -> list[httpx.Response]:
        """The answer; and a second one of some, as if they had been cut off before the first."""
        headers = {"Idempotency-Key": submission.key}
        files = {"file": (submission.clip, audio)}
        return [
            self._ask(
                lambda url: self._http.post(url + ROUTE, files=files, data=form, headers=headers),
                until,
                lambda answer: answer.status_code == status,
            )
            for _ in range(2 if self._chance.random() < TWICE else 1)
        ]

    def _ask(
        self,
        send: Callable[[str], httpx.Response],
        until: float,
        good: Callable[[httpx.Response], bool],
        look: float | None = None,
    ) -> httpx.Response:
        """The first good answer of any server; `look`: seconds after a 200 that is not good yet."""
        while time.monotonic() < until:
            try:
                answer = send(self._chance.choice(self._urls))
            except httpx.TransportError as error:
                self._ledger.asked_again(type(error).__name__)
            else:
                if good(answer):
                    return answer
                if look is not None and answer.status_code == 200:
                    time.sleep(look)
                    continue
                if answer.status_code not in AGAIN:
                    raise Trouble(f"{answer.status_code}: {answer.text[:300]}")
                self._ledger.asked_again(_reason(answer))
            time.sleep(self._chance.uniform(*PAUSE))
        raise Trouble(f"nothing for {self._patience:.0f} s")


def _ended(answer: httpx.Response) -> bool:
    return answer.status_code == 200 and answer.json()["status"] not in ("queued", "running")


def _reason(answer: httpx.Response) -> str:
    try:
        return f"{answer.status_code} {answer.json()['error']['code']}"
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)
