"""The audio of jobs that are not done, in an object store: one object of samples each.

Knows: fsspec's file systems, by URL, and what their failures mean. The only file that imports
    fsspec, itself imported where `SUSSURRO_JOBS_AUDIO_URL` is set alone.
Must not know: jobs, databases. Everything here blocks.
"""

import contextlib
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import fsspec
import numpy as np
from fsspec.asyn import AsyncFileSystem, sync

from server import texts
from server.errors import JobsUnavailable
from server.types import Audio

PATIENCE = 20.0
LEAST_BYTES_PER_SECOND = 1 << 20
"""A store that is slower is taken for dead."""

WRITTEN_AT = ("LastModified", "last_modified", "mtime", "updated", "created")
"""What file systems call the instant; an object is never changed."""

S3_PATIENCE = {"connect_timeout": 5, "read_timeout": 10, "retries": {"max_attempts": 0}}
S3_TRIES = 2
"""botocore tries again, and s3fs around it: together a caller would wait for minutes."""

OURS = "job_"
"""What else lies in the same place is not ours to free."""


class AudioObjects:
    """int16 samples at 16 kHz. Secrets and the like are where the URL's library looks for them."""

    def __init__(self, url: str, copies: Path) -> None:
        """Find the library for `url`, and write something there.

        Raises:
            OSError: not so; the message names no part of the URL.
        """
        try:
            self._files, self._root = _file_system(url)
            probe = self._path(f"probe_{uuid.uuid4().hex}")
            self._call("pipe_file", probe, b"?")
            self._call("rm_file", probe)
        except ImportError:
            raise OSError("the library for such a URL is not installed") from None
        except ValueError:
            raise OSError("no URL that fsspec knows") from None
        except Exception as error:  # noqa: BLE001 - each library has its own
            raise OSError(f"cannot be reached ({type(error).__name__})") from None
        self._copies = copies

    def write(self, job_id: str, audio: Audio) -> None:
        """Write a recording; the store has taken it when this returns.

        What a failure leaves behind is no job's, and freed by the sweep.

        Raises:
            JobsUnavailable: the store failed, or there is no room for the copy that it reads.
        """
        with _answering(), tempfile.TemporaryFile(dir=self._copies) as copy:
            audio.pcm.tofile(copy)
            copy.flush()
            self._call("put_file", _name(copy), self._path(job_id), n_bytes=audio.pcm.nbytes)

    def read(self, job_id: str, warnings: tuple[str, ...]) -> Audio:
        """A recording, as a map of a copy without a name.

        Raises:
            FileNotFoundError: it is not there.
            JobsUnavailable: the store failed, or there is no room for the copy.
        """
        with _answering(), tempfile.TemporaryFile(dir=self._copies) as copy:
            found = self._call("info", self._path(job_id))
            self._call("get_file", self._path(job_id), _name(copy), n_bytes=found["size"])
            return Audio(np.memmap(copy, dtype="<i2", mode="r"), warnings)

    def delete(self, job_id: str) -> None:
        """Free it; nothing if it is gone. If the store does not answer, the sweep does it later."""
        with contextlib.suppress(FileNotFoundError, JobsUnavailable), _answering():
            self._call("rm_file", self._path(job_id))

    def older_than(self, seconds: float) -> list[str]:
        """Names of objects that were written so long ago.

        Raises:
            JobsUnavailable: the store failed.
        """
        limit = datetime.now(UTC) - timedelta(seconds=seconds)
        with _answering():
            found = self._call("find", self._root, maxdepth=1, detail=True)
            return [
                name
                for path, detail in found.items()
                if (name := path.rpartition("/")[2]).startswith(OURS)
                and self._written(path, detail) < limit
            ]

    def _call(self, name: str, *args: Any, n_bytes: int = 0, **kwargs: Any) -> Any:  # noqa: ANN401
        """Call the file system, but not for ever: a request may be taken and never answered."""
        if not isinstance(self._files, AsyncFileSystem):
            return getattr(self._files, name)(*args, **kwargs)
        most = PATIENCE + n_bytes / LEAST_BYTES_PER_SECOND
        return sync(
            self._files.loop, getattr(self._files, f"_{name}"), *args, timeout=most, **kwargs
        )

    def _path(self, job_id: str) -> str:
        return f"{self._root}/{job_id}"

    def _written(self, path: str, detail: dict[str, Any]) -> datetime:
        found = (detail[name] for name in WRITTEN_AT if detail.get(name))
        at: datetime | float = next(found, None) or self._files.modified(path)
        if not isinstance(at, datetime):
            return datetime.fromtimestamp(at, UTC)
        return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _name(copy: IO[bytes]) -> str:
    """A path for libraries that want one, to a file that has none."""
    return f"/proc/self/fd/{copy.fileno()}"


def _file_system(url: str) -> tuple[Any, str]:
    scheme = url.partition("://")[0]
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in {"s3", "s3a"}:
        options["config_kwargs"] = S3_PATIENCE
    if scheme == "file":
        options["auto_mkdir"] = True
    files, root = fsspec.url_to_fs(url, **options)
    if "config_kwargs" in options:
        files.retries = S3_TRIES
    return files, root.rstrip("/")


@contextmanager
def _answering() -> Iterator[None]:
    """Each library has errors of its own; one that says that nothing is there means it."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        text = texts.JOBS_UNAVAILABLE
        raise JobsUnavailable(text, retry_after=5, reason="audio_store") from error
