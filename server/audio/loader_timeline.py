"""Where a container's time stamps want silence: sound that starts late, and gaps in it.

Knows: seconds.
Must not know: FFmpeg, samples, files.

A film's subtitles have to fit its picture, and a recorder that does not send pauses leaves them
out. Time stamps are hostile and often poor: they tremble, run at a wrong rate, start anew. So
silence is put in only where a single frame jumps, and never more than the recording is late.
"""

MIN_GAP = 0.1
"""Seconds that one frame must jump: FFmpeg's own bound for filling (`min_hard_comp`)."""

MAX_GAP = 600.0
"""Seconds: what jumps further, or goes back by a second, is a clock that was set anew."""

MAX_STEP_BACK = 1.0


class Timeline:
    """Follows one track's frames and says how much silence belongs before each."""

    def __init__(self, start: float | None) -> None:
        """`start` is the time stamp at which the film begins; None if it is not known."""
        self._start = start
        self._expected = start
        self._passed = 0.0
        self.late_start = 0.0

    def silence_before(self, time: float | None, duration: float) -> float:
        """Seconds of silence to put before a frame.

        Args:
            time: the frame's time stamp in seconds; None if it has none.
            duration: its length in seconds.
        """
        if time is None:
            time = self._expected or 0.0
        if self._start is None or self._expected is None:
            self._start = self._expected = time
        jump = time - self._expected
        silence = 0.0
        if not -MAX_STEP_BACK <= jump <= MAX_GAP:
            self._start += jump
        elif jump >= MIN_GAP:
            missing = min(jump, time - self._start - self._passed)
            silence = missing if missing >= MIN_GAP else 0.0
        if not self._passed:
            self.late_start = silence
        self._expected = time + duration
        self._passed += silence + duration
        return silence
