"""ClickHouse as a store of log lines, and syslog-ng to carry them there; both are Debian's."""

import contextlib
import subprocess
from pathlib import Path

import httpx
from programs import ROOT, environ, free_port, unpacked, until

EXAMPLES = ROOT / "ops" / "logs"

CONFIG = """<yandex>
<logger><level>warning</level><log>{folder}/log</log><errorlog>{folder}/errors</errorlog></logger>
<http_port>{port}</http_port><listen_host>127.0.0.1</listen_host>
<path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path>
<users_config>users.xml</users_config><default_profile>default</default_profile>
<default_database>default</default_database><mark_cache_size>67108864</mark_cache_size>
</yandex>"""

USERS = """<yandex><profiles><default/></profiles><quotas><default/></quotas><users><default>
<password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>
<quota>default</quota></default></users></yandex>"""


class Store:
    """One ClickHouse on a free port of loopback; killed and started again as often as one likes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._root = unpacked("clickhouse")
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "config.xml").write_text(CONFIG.format(folder=folder, port=port))
        (folder / "users.xml").write_text(USERS)

    def start(self) -> None:
        """Return when it answers."""
        with (self._folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [
                    self._root / "usr/sbin/clickhouse-server",
                    f"--config-file={self._folder / 'config.xml'}",
                ],
                env=environ(self._root),
                stdout=out,
                stderr=out,
            )
        until(self.answers, "ClickHouse answers", 60)

    def answers(self) -> bool:
        """Whether it is there."""
        with contextlib.suppress(httpx.HTTPError):
            return self.query("SELECT 1") == "1\n"
        return False

    def query(self, sql: str) -> str:
        """The answer as text."""
        answer = httpx.post(self.url, content=sql.encode(), timeout=60)
        assert 200 == answer.status_code, answer.text
        return answer.text

    def kill(self) -> None:
        """Without a word; returns when it is gone, for its files are locked until then."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


class Shipper:
    """syslog-ng with the example's configuration."""

    def __init__(self, folder: Path, log: Path, store: Store) -> None:
        folder.mkdir()
        self._folder = folder
        self._root = unpacked("syslog-ng")
        self._environ = {
            **environ(self._root),
            "SUSSURRO_LOG": str(log),
            "STORE_URL": store.url,
            "BUFFER_DIR": str(folder),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, *more: str) -> list[str]:
        """As Debian starts it, with all of its files in a folder of ours."""
        folder = self._folder
        return [
            str(self._root / "usr/sbin/syslog-ng"),
            "--foreground",
            "--no-caps",
            f"--cfgfile={EXAMPLES / 'syslog-ng.conf'}",
            f"--module-path={self._root / 'usr/lib/syslog-ng/3.38'}",
            *(f"--{name}={folder / name}" for name in ("persist-file", "pidfile", "control")),
            *more,
        ]

    def check(self) -> "subprocess.CompletedProcess[str]":
        """What it says of the configuration."""
        return subprocess.run(
            self.command("--syntax-only"),
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self) -> None:
        """Begin, or go on where the last one stopped."""
        with (self._folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                self.command(), env=self._environ, stdout=out, stderr=out
            )

    def kill(self) -> None:
        """Without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
