"""Every setting, read once from the environment.

Knows: names, types, bounds and defaults.
Must not know: what a setting is used for. `Settings.from_env` is the only reader of the
environment in `server`; an unknown `SUSSURRO_*` name is a mistake and stops the start.
"""

import tempfile
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass

PREFIX = "SUSSURRO_"
SECRETS = (
    "api_keys",
    "key_pepper",
    "token_keys",
    "denied_tokens",
    "redis_url",
    "database_url",
    "jobs_audio_url",
    "webhook_secret",
)
"""Settings with a `_FILE` twin that names a file holding the value."""

SECRET_NAMES = tuple(PREFIX + name.upper() for name in SECRETS)
"""As they are in the environment."""

EXIT_CONFIG = 78
"""sysexits.h EX_CONFIG: a supervisor should not restart us."""


class SettingsError(Exception):
    """Something in the environment is wrong; `problems` lists all of it, one line each."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems for whoever prints them."""
        super().__init__("\n".join(problems))
        self.problems = problems


def _split(value: object) -> object:
    """A comma- or newline-separated string as a tuple of its non-empty parts."""
    if not isinstance(value, str):
        return value
    return tuple(
        part for line in value.splitlines() for raw in line.split(",") if (part := raw.strip())
    )


def _not_everybody(networks: tuple[IPv4Network | IPv6Network, ...]) -> object:
    """Whoever trusts all addresses lets every caller choose its own."""
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError("a network of all addresses cannot be trusted")
    return networks


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
Languages = Annotated[tuple[Language, ...], BeforeValidator(_split)]
Numbers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_split)]
Origin = Annotated[str, StringConstraints(pattern=r"^\*$|^https?://[^/\s,*]+$")]
Origins = Annotated[tuple[Origin, ...], BeforeValidator(_split)]
Network = IPv4Network | IPv6Network
Networks = Annotated[tuple[Network, ...], BeforeValidator(_split), AfterValidator(_not_everybody)]
Collector = Annotated[str, StringConstraints(pattern=r"^(https?://[^\s/]+(/\S*)?)?$")]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(hide_input_in_errors=True))
class Settings:
    """One value a setting; `docs/settings.md` is checked against this class."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(9005, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="Port of its own for `/metrics`, which needs no key there; nothing else is "
        "answered on it. 0 takes a free one. `/metrics` is on SUSSURRO_PORT as well, for keys with "
        "the scope `metrics`.",
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="Key records (hashes only), one a line or separated by spaces; "
        "`ops keys new` prints one. Without a key or a token key the server refuses to start.",
    )
    key_pepper: SecretStr = Field(
        SecretStr(""),
        description="Secret for records whose algorithm is `hmac-sha256`; keep it apart from them.",
    )
    token_keys: SecretStr = Field(
        SecretStr(""),
        description="Public keys that tokens may be signed with, one a line or separated by "
        "spaces; `ops tokens keygen` prints one.",
    )
    denied_tokens: SecretStr = Field(
        SecretStr(""),
        description="Ids (`jti`) of tokens that are refused before they expire, one a line or "
        "separated by spaces.",
    )
    token_issuer: str = Field(
        "sussurro", min_length=1, description="The `iss` that a token must have."
    )
    token_audience: str = Field(
        "sussurro", min_length=1, description="The `aud` that a token must have."
    )
    token_max_lifetime: Seconds = Field(
        900.0, description="Longest time from a token's `iat` to its `exp`, in seconds."
    )
    requests_per_minute: int = Field(
        0,
        ge=0,
        le=10_000_000,
        description="Requests of one caller within any minute, where its key or token does not "
        "say; then 429. 0 is no limit.",
    )
    audio_minutes_per_hour: int = Field(
        0,
        ge=0,
        le=10_000_000,
        description="Minutes of audio of one caller in an hour (UTC), where its key or token does "
        "not say; then 429. 0 is no limit.",
    )
    audio_minutes_per_day: int = Field(
        0,
        ge=0,
        le=10_000_000,
        description="Minutes of audio of one caller on a day (UTC), where its key or token does "
        "not say; then 429. 0 is no limit.",
    )
    failures_per_minute: int = Field(
        30,
        ge=1,
        le=100_000,
        description="Requests without a good key from one address in a minute that get 401; "
        "further ones get 429. Good keys are never refused for it.",
    )
    redis_url: SecretStr = Field(
        SecretStr(""),
        description="Redis in which replicas share their limits, as `redis://`, `rediss://` or "
        "`unix://`; without it each server counts for itself.",
    )
    replicas: int = Field(
        1,
        ge=1,
        le=1_000,
        description="Servers that share the limits. Without Redis, or while it is away, each "
        "admits its part: the limit divided by this.",
    )
    usage_db: str = Field(
        "",
        description="SQLite file in which usage is kept; without one a restart forgets it.",
    )
    models: Names = Field(
        ("base",),
        min_length=1,
        description="Models to load, comma-separated; the first one answers for `whisper-1`.",
    )
    weights_dir: Path = Field(
        Path("~/.cache/sussurro/weights"),
        description="Folder with one sub-folder a model, as `ops weights get` fills it.",
    )
    engine: Literal["auto", "tensorrt_llm", "ctranslate2", "ray"] = Field(
        "auto",
        description="Engine of all models: `auto` takes TensorRT-LLM where a GPU and a matching "
        "engine are there, else CTranslate2 on the CPU; `ray` takes CTranslate2, or with "
        "SUSSURRO_RAY_GPUS TensorRT-LLM, on every machine of a Ray cluster; `/readyz` says which "
        "and why.",
    )
    ray_address: str = Field(
        "auto",
        min_length=1,
        description="Ray cluster of SUSSURRO_ENGINE=ray, as `host:port` of its head; `auto` is the "
        "one that a Ray node on this machine belongs to.",
    )
    ray_cpus: int = Field(
        1,
        ge=1,
        le=256,
        description="Cores of each engine of the cluster: as many windows are computed at once "
        "there, each with SUSSURRO_CPU_THREADS.",
    )
    ray_min_engines: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Engines of the cluster that have to be warm before the server is ready.",
    )
    ray_max_engines: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Engines that each model has in the cluster at most; 0 is as many as there are "
        "cores for.",
    )
    ray_gpus: int = Field(
        0,
        ge=0,
        le=16,
        description="GPUs of each engine of the cluster: with one or more they are TensorRT-LLM's, "
        "from the active build in SUSSURRO_ENGINES_DIR; 0 is CTranslate2 on the CPU.",
    )
    engines_dir: Path = Field(
        Path("~/.cache/sussurro/engines"),
        description="Folder of the engines and converted models that `ops engines` builds.",
    )
    gpus: Numbers = Field(
        (0,),
        min_length=1,
        description="Numbers of the GPUs that TensorRT-LLM uses, as CUDA counts them; every model "
        "is loaded on each.",
    )
    aligner_weights_dir: Path | None = Field(
        None,
        description="Folder of the weights that TensorRT-LLM's engines were built from: "
        "`large-v3.pt`, or `large-v3` in CTranslate2 form as in SUSSURRO_WEIGHTS_DIR. With it "
        "words are placed in time, in PyTorch on the first GPU; without it segments follow the "
        "model's own timestamps, and words are refused.",
    )
    compute_type: Literal["int8", "int8_float32", "float32"] = Field(
        "int8", description="Arithmetic of the CPU engine."
    )
    encoder: Literal["auto", "ctranslate2", "openvino"] = Field(
        "auto",
        description="Encoder of the CPU engine: CTranslate2's own, OpenVINO's, or whichever a "
        "short trial at start finds faster.",
    )
    cpu_workers: int = Field(
        0, ge=0, le=256, description="Windows computed at once on the CPU; 0 is one a core."
    )
    cpu_threads: int = Field(1, ge=1, le=64, description="Threads of each CPU worker.")
    max_batch_size: int = Field(
        4,
        ge=1,
        le=64,
        description="Most windows that one CPU worker takes as a batch. More windows a second, and "
        "a longer wait for whoever comes meanwhile with more than a short recording.",
    )
    engine_window_timeout: Seconds = Field(
        120.0,
        description="Time that the engine may take for each window of a batch, in seconds. After "
        "it the engine counts as stuck: its requests get 503, and the server ends with exit code "
        "1 for its supervisor to start it again.",
    )
    mode: Literal["fast", "accurate"] = Field(
        "fast",
        description="How long recordings are decoded where a request does not say: `fast`, windows "
        "side by side; `accurate`, one after the other, each with the text before it.",
    )
    languages: Languages = Field(
        (),
        description="Languages that detection may find, as codes; empty for all. A request may "
        "still name any language.",
    )
    default_language: Language | None = Field(
        None,
        description="Language to take where a request names none and detection is a guess (below "
        "half); without one the guess is taken.",
    )
    subtitle_max_line_chars: int = Field(
        42, ge=10, le=200, description="Longest line of srt and vtt, in characters."
    )
    subtitle_max_lines: int = Field(2, ge=1, le=4, description="Most lines of one subtitle.")
    subtitle_max_seconds: Seconds = Field(
        7.0, description="Longest time that one subtitle is shown, in seconds."
    )
    beam_size: int = Field(
        5,
        ge=1,
        le=10,
        description="Beams at temperature 0 (CPU engine); 1 is greedy, as TensorRT-LLM always is.",
    )
    max_upload_bytes: int = Field(1 << 30, ge=1, description="Largest request body, in bytes.")
    max_field_bytes: int = Field(
        # tiktoken panics at a million spaces in a row
        16_384,
        ge=256,
        le=1 << 19,
        description="Largest text field of a form, in bytes.",
    )
    max_audio_seconds: Seconds = Field(
        7_200.0, description="Longest recording, in seconds of audio."
    )
    load_timeout: Seconds = Field(
        120.0, description="Longest time to decode a file's media, in seconds."
    )
    upload_timeout: Seconds = Field(
        1_800.0, description="Longest time to receive a request's body, in seconds."
    )
    upload_idle_timeout: Seconds = Field(
        60.0, description="Longest silence of a client while it uploads, in seconds."
    )
    min_upload_rate: float = Field(
        1_000.0,
        gt=0,
        le=1e9,
        description="Least bytes a second of an upload, on average, once it has taken "
        "SUSSURRO_UPLOAD_IDLE_TIMEOUT; then 408.",
    )
    cors_origins: Origins = Field(
        (),
        description="Origins of the web pages whose scripts may call, comma-separated, such as "
        "`https://app.example.com`; `*` for all of them, empty for none.",
    )
    trusted_proxies: Networks = Field(
        (),
        description="Networks of the proxies in front, such as `10.0.1.0/24`, comma-separated. "
        "From them, and from nobody else, `X-Forwarded-For` is believed: the nearest address that "
        "is not in these networks is who bad keys are counted by, and what the log names.",
    )
    page: Literal["on", "off"] = Field(
        "on",
        description="`on`: `/` shows browsers a page that transcribes; `off`: it answers everybody "
        "with JSON.",
    )
    header_timeout: Seconds = Field(
        10.0,
        description="Longest time from a connection's or a request's first byte to the end of the "
        "request's headers, in seconds.",
    )
    connection_idle_timeout: Seconds = Field(
        120.0,
        description="Longest silence of a connection between two requests, in seconds. Keep it "
        "above the idle timeout of a proxy in front (Traefik: 90 s), so that the proxy closes "
        "first.",
    )
    stall_timeout: Seconds = Field(
        60.0,
        description="Longest time in which a client takes no byte of an answer that waits for it, "
        "in seconds.",
    )
    max_connections: int = Field(
        4_096,
        ge=8,
        le=1_000_000,
        description="Connections at once, idle ones included. For one more, the one that has been "
        "without a request longest is closed; if all serve requests, the new one is.",
    )
    discard_bytes: int = Field(
        4 << 30,
        ge=0,
        description="Most bytes of a refused upload that are read and thrown away, so that the "
        "client sees the answer instead of a broken connection.",
    )
    discard_timeout: Seconds = Field(
        30.0, description="Longest time spent on throwing a refused upload away, in seconds."
    )
    request_timeout: Seconds = Field(
        3_600.0, description="Longest time from upload to answer, in seconds."
    )
    keepalive_after: Seconds = Field(
        80.0,
        description="Time from the end of an upload, waiting for a place included, after which an "
        "answer begins before it is known, in seconds: 200, and white space (JSON), blank lines "
        "(vtt) or what is known of a text. Until then failures have a status of their own; after "
        "it they cut the connection.",
    )
    keepalive_interval: Seconds = Field(
        15.0,
        description="Longest silence within an answer that has begun, in seconds; also of a "
        "streamed one.",
    )
    max_requests: int = Field(
        64, ge=1, le=10_000, description="Transcriptions at once; then requests wait, or get 503."
    )
    max_requests_per_key: int = Field(
        48,
        ge=1,
        le=10_000,
        description="Transcriptions at once for one API key, and as many may wait; then 429.",
    )
    max_queued_audio_seconds: float = Field(
        36_000.0,
        gt=0,
        description="Audio in admitted requests that is still to be done, in seconds; then "
        "recordings wait, or get 503.",
    )
    max_queue_wait: float = Field(
        30.0,
        ge=0,
        le=3_600,
        description="Longest time that a request waits to be admitted, in seconds; 0 refuses at "
        "once.",
    )
    max_waiting: int = Field(
        256, ge=0, le=10_000, description="Requests that wait for a place; further ones get 503."
    )
    jobs_dir: Path | None = Field(
        None,
        description="Folder of jobs (`background=true`): the audio of those that are not done, "
        "and, unless SUSSURRO_DATABASE_URL is set, their table. Without it there are no jobs.",
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="PostgreSQL for the table of jobs, as `postgresql://`, where several servers "
        "share one queue; they need one SUSSURRO_JOBS_DIR or SUSSURRO_JOBS_AUDIO_URL, too. Without "
        "it the table is an SQLite file.",
    )
    jobs_audio_url: SecretStr = Field(
        SecretStr(""),
        description="Object store for the audio of jobs in place of that folder, as fsspec's "
        "`s3://bucket/folder`. Its secrets are where its library looks for them, for S3 in "
        "`AWS_ACCESS_KEY_ID` and its kin. Needs `requirements/s3.txt`.",
    )
    max_running_jobs: int = Field(
        4, ge=1, le=1_000, description="Jobs that this server works on at once."
    )
    max_queued_jobs: int = Field(
        10_000,
        ge=1,
        le=10_000_000,
        description="Jobs of all callers that are not done yet; further ones get 503.",
    )
    max_queued_jobs_per_key: int = Field(
        1_000,
        ge=1,
        le=10_000_000,
        description="Jobs of one caller that are not done yet; further ones get 429.",
    )
    max_jobs_bytes: int = Field(
        64 << 30,
        ge=1 << 20,
        description="Most bytes of audio of jobs that are not done, where it lies; further jobs "
        "get 503. An hour of audio takes 115 MB.",
    )
    job_lease: float = Field(
        15.0,
        ge=1,
        le=3_600,
        description="Time after which another server may take a job whose server was not heard "
        "of, in seconds.",
    )
    job_results_hours: float = Field(
        24.0,
        gt=0,
        le=8_760,
        description="Time that a job's transcript is kept after it was made, in hours.",
    )
    idempotency_hours: float = Field(
        24.0,
        gt=0,
        le=168,
        description="Time that the answer to a request with `Idempotency-Key` is kept, in hours.",
    )
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="Secret that webhooks are signed with, `whsec_…`; `ops webhooks keygen` prints "
        "one. A second one, separated by a space, while receivers change over. Without it there "
        "are no webhooks.",
    )
    webhook_urls: Names = Field(
        (),
        description="Where the ends of all jobs of a caller are told, as `name=https://…`, "
        "comma-separated; the field `webhook_url` goes before it.",
    )
    webhook_allow: Names = Field(
        (),
        description="Host names and networks inside, such as `n8n, 10.0.1.0/24`, where webhooks "
        "may go, also by `http://`. Elsewhere only `https://` and the internet's addresses will "
        "do.",
    )
    max_loads: int = Field(2, ge=1, le=64, description="Media files decoded at once; others wait.")
    drain_grace: float = Field(
        1.0,
        ge=0,
        le=600,
        description="Time after SIGTERM in which `/readyz` says 503 while connections are still "
        "accepted, so that a proxy can look elsewhere, in seconds.",
    )
    drain_timeout: Seconds = Field(
        30.0, description="Time that running requests get after SIGTERM, in seconds."
    )
    spool_dir: Path = Field(
        Path(tempfile.gettempdir()),
        description="Folder for uploads and decoded audio; its files are unlinked at once.",
    )
    max_spool_bytes: int = Field(
        8 << 30,
        ge=1 << 20,
        description="Most bytes of uploads and decoded audio in that folder at once; then 503. "
        "An hour of decoded audio takes 115 MB.",
    )
    sandbox: Literal["required", "available"] = Field(
        "required",
        description="`required`: refuse to start if the kernel lacks a layer of the media sandbox; "
        "`available`: warn and use the layers that are there.",
    )
    otlp_endpoint: Collector = Field(
        "",
        description="OpenTelemetry collector to which a span of each request and of its parts is "
        "sent, by OTLP over HTTP, such as `http://collector:4318`. Needs "
        "`requirements/traces.txt`.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged."
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read all settings.

        Raises:
            SettingsError: with every problem at once: unknown names, bad values, a secret given
                twice, a secret's file that cannot be read. Values are never repeated.
        """
        problems: list[str] = []
        values = _collect(environ, problems)
        try:
            settings: Settings = TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            problems += [
                f"{_name(e['loc'])}: {e['msg']}" for e in error.errors(include_input=False)
            ]
        if problems:
            raise SettingsError(problems)
        return settings


def _name(location: tuple[Any, ...]) -> str:
    return PREFIX + str(location[0]).upper() if location else PREFIX + "*"


def _collect(environ: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    """The environment's `SUSSURRO_*` entries by field name; secrets may come from files."""
    fields = set(Settings.__dataclass_fields__)
    values: dict[str, str] = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(PREFIX):
            continue
        field = name.removeprefix(PREFIX).lower()
        secret = field.removesuffix("_file")
        if field in fields:
            values[field] = value
        elif field.endswith("_file") and secret in SECRETS:
            if PREFIX + secret.upper() in environ:
                problems.append(f"{name}: set either this or {PREFIX}{secret.upper()}, not both")
                continue
            try:
                values[secret] = Path(value).read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:  # no text, or no name of a file
                problems.append(f"{name}: cannot be read ({type(error).__name__})")
        else:
            problems.append(f"{name}: no such setting")
    return values
