"""One TensorRT-LLM executor on one GPU: windows go in, finished sequences come out.

Knows: when the executor answers, how it fails, and what its statistics tell.
Must not know: Whisper's prompts, futures, other GPUs; what a request looks like
    (`executor_calls.py`), or what answers add up to (`flight.py`). The bindings are handed in;
    nothing of TensorRT-LLM is imported here.
"""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from server.engines.batching import unavailable
from server.engines.executor_calls import Bindings, WindowTask, executor_config, window_request
from server.engines.flight import Done, Flight, WindowOutcome, describe, failure, overdue
from server.engines.logits import LogitsProcessor
from server.engines.manifest import Manifest
from server.errors import ServerError

POLL = timedelta(milliseconds=100)
"""How long the reader waits for answers before it looks at deadlines and statistics."""

FATAL = "Encountered an error in forward"
"""How the executor's messages begin when a step failed: the GPU's state cannot be trusted then."""


class WindowExecutor:
    """Sequences in flight on one GPU, and the one thread that takes the executor's answers.

    A window is found by its client id alone: the executor's own ids differ between the sequences
    of a request, and an error names whichever failed.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what an executor is opened with
        self,
        bindings: Bindings,
        folder: Path,
        manifest: Manifest,
        processor: LogitsProcessor,
        device: int,
        kv_cache_fraction: float,
        window_timeout: float,
        on_change: Callable[[], None],
    ) -> None:
        """Load the engine in `folder`; blocks.

        Args:
            bindings: the executor's.
            folder: with `encoder` and `decoder`.
            manifest: what the engine is.
            processor: of this executor alone.
            device: the GPU's number.
            kv_cache_fraction: of the memory that is free after loading, for keys and values.
            window_timeout: seconds without an iteration after which it counts as stuck.
            on_change: told when places are free again, and when the executor has failed.
        """
        self._bindings = bindings
        self._processor = processor
        self._device = device
        self._window_timeout = window_timeout
        self._on_change = on_change
        self._manifest = manifest
        self._lock = threading.RLock()
        self._flights: dict[int, Flight] = {}
        self._sequences = 0
        self._broken: Exception | None = None
        self._numbers = itertools.count(1)
        self._progress = time.monotonic()
        self._measured = False
        self._closing = False
        self.places = manifest.windows
        self.healthy = True
        self.kv_cache_used: float | None = None
        """Share of the fuller of the two caches, as the last iteration left it."""
        self._executor = bindings.Executor(
            str(folder / "encoder"),
            str(folder / "decoder"),
            bindings.ModelType.ENCODER_DECODER,
            executor_config(bindings, manifest, processor, device, kv_cache_fraction),
        )
        self._reader = threading.Thread(target=self._read, name=f"trtllm-{device}", daemon=True)
        self._reader.start()

    @property
    def in_flight(self) -> int:
        """Sequences that the executor has."""
        return self._sequences

    def start(self, task: WindowTask, done: Done) -> int:
        """Hand a window over; the number to cancel it by. Failing shows in `done`."""
        number = next(self._numbers)
        with self._lock:
            flight = Flight(task, done, time.monotonic(), self._sequences + task.sequences)
            if not self._flights:
                self._progress = flight.started
            self._flights[number] = flight
            self._sequences += task.sequences
            self._processor.open(number, task.course)
            try:
                flight.request_id = self._executor.enqueue_request(
                    window_request(self._bindings, self._manifest, number, task)
                )
            except Exception as error:  # noqa: BLE001 - the bindings raise what C++ threw
                refusal = failure("The speech engine refused a window.", error)
            else:
                return number
        self._finish(number, refusal)
        return number

    def cancel(self, number: int) -> None:
        """Stop a window; its places are free when the executor has let go of it."""
        with self._lock:
            flight = self._flights.get(number)
            if flight is not None and not flight.told:
                flight.told = True
                self._drop(number, flight)

    def close(self, timeout: float) -> None:
        """Cancel what is in flight and shut down, within `timeout` seconds or not at all."""
        deadline = time.monotonic() + timeout
        with self._lock:
            self._closing = True
            for number in list(self._flights):
                self.cancel(number)
        self._reader.join(max(0.0, deadline - time.monotonic()))
        # It waits for its own loop, which a hanging kernel never ends.
        last = threading.Thread(target=self._executor.shutdown, daemon=True)
        last.start()
        last.join(max(0.0, deadline - time.monotonic()))

    def _read(self) -> None:
        """The only caller of `await_responses`: it hands out everybody's answers."""
        while not self._closing or self._flights:
            try:
                responses = self._executor.await_responses(timeout=POLL)
                statistics = self._executor.get_latest_iteration_stats()
            except Exception as error:  # noqa: BLE001 - the bindings raise what C++ threw
                self._give_up("the executor does not answer", error)
                return
            for response in responses:
                self._take(response)
            self._look(bool(responses), statistics)
            if not self.healthy:
                return

    def _take(self, response: Any) -> None:  # noqa: ANN401 - see Bindings
        number = response.client_id
        flight = self._flights.get(number)
        if flight is None:
            return  # of a window that has failed or was given up
        if response.has_error():
            message = str(response.error_msg)
            self._finish(number, failure("The speech engine failed.", message))
            if message.startswith(FATAL):
                self._give_up("a step failed", message)
            return
        result = response.result
        if result.is_sequence_final:
            answer = (tuple(result.output_token_ids[0]), result.finish_reasons[0])
            flight.answers[result.sequence_index] = answer
        # All of them, and not `is_final`: nothing says in which order they are handed out.
        if len(flight.answers) == flight.task.sequences:
            outcome = flight.outcome(
                self._bindings.FinishReason,
                partial(self._processor.finish, number),
                (flight.company + self._sequences) / 2,
            )
            self._finish(number, outcome)

    def _finish(self, number: int, outcome: WindowOutcome | ServerError) -> None:
        with self._lock:
            flight = self._flights.pop(number)
            self._sequences -= flight.task.sequences
            told, flight.told = flight.told, True
            self._processor.forget(number)
        if not told:
            flight.done(outcome)
        self._on_change()

    def _drop(self, number: int, flight: Flight) -> None:
        """Let the executor stop a window that nobody waits for."""
        self._processor.forget(number)
        try:
            self._executor.cancel_request(flight.request_id)
        except Exception as error:  # noqa: BLE001 - the bindings raise what C++ threw
            self._broken = error

    def _look(self, answered: bool, statistics: Sequence[Any]) -> None:
        """Deadlines that have passed, iterations that do not come, and what these tell."""
        now = time.monotonic()
        with self._lock:
            if answered or statistics or not self._flights:
                self._progress = now
            late = [
                (number, flight)
                for number, flight in self._flights.items()
                if not flight.told and now > (flight.task.deadline or now)
            ]
            for number, flight in late:
                # The executor counts from when it takes a window up, not from when it gets it.
                flight.told = True
                self._drop(number, flight)
        for _, flight in late:
            flight.done(overdue())
        if statistics:
            self._measure(statistics[-1])
        if self._broken is not None:
            self._give_up("a window cannot be cancelled", self._broken)
        elif now - self._progress > self._window_timeout:
            self._give_up("no iteration", f"for {self._window_timeout} s")

    def _measure(self, latest: Any) -> None:  # noqa: ANN401 - see Bindings
        """Places by the cache that was really had; and that no block of it is ever shared."""
        own, cross = latest.kv_cache_stats, latest.cross_kv_cache_stats
        if any(cache is not None and cache.reused_blocks for cache in (own, cross)):
            # Blocks are found by tokens, and the same tokens follow different recordings.
            self._give_up("cache blocks were reused", "one caller's audio may reach another")
        caches = [cache for cache in (own, cross) if cache is not None and cache.max_num_blocks]
        used = [cache.used_num_blocks / cache.max_num_blocks for cache in caches]
        self.kv_cache_used = max(used, default=None)
        if self._measured or own is None or cross is None:
            return
        self._measured = True
        holds = min(
            _sequences(own, self._manifest.max_seq_len),
            _sequences(cross, self._manifest.dims["n_audio_ctx"]),
        )
        if holds < self.places:
            structlog.get_logger().warning(
                "kv_cache_small", device=self._device, places=holds, planned=self.places
            )
            self.places = max(1, holds)

    def _give_up(self, why: str, cause: object) -> None:
        """An executor that fails is not used again: the process ends, and is started anew."""
        with self._lock:
            if self._closing or not self.healthy:
                return
            self.healthy = False
            flights = [flight for flight in self._flights.values() if not flight.told]
            self._flights.clear()
        structlog.get_logger().error(
            "engine_failed_on_gpu", device=self._device, why=why, cause=describe(cause)
        )
        for flight in flights:
            flight.done(unavailable())
        self._on_change()


def _sequences(cache: Any, tokens: int) -> int:  # noqa: ANN401 - see Bindings
    """How many sequences of so many tokens a paged cache holds."""
    return int(cache.max_num_blocks // -(-tokens // cache.tokens_per_block))
