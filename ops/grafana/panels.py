"""What the dashboard shows: rows of panels, each with its queries.

Knows: PromQL over docs/metrics.md.
Must not know: Grafana's JSON (`dashboard.py` writes it).
"""

from dataclasses import dataclass

AUDIO = 'route=~"/v1/audio/.+"'
HERE = 'instance=~"$instance"'


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a panel: PromQL, and what it is called (Grafana fills in `{{label}}`)."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel; `unit` is Grafana's name of it."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: tuple[Panel, ...]


def _rate(metric: str, by: str, match: str = "") -> str:
    selector = f"{HERE},{match}" if match else HERE
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def _quantile(share: float, metric: str, by: str = "", match: str = "") -> str:
    grouped = _rate(f"{metric}_bucket", f"le,{by}" if by else "le", match)
    return f"histogram_quantile({share}, {grouped})"


def _quantiles(metric: str, match: str = "") -> tuple[Query, ...]:
    shares = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    return tuple(Query(_quantile(share, metric, match=match), name) for share, name in shares)


ROWS: tuple[Row, ...] = (
    Row(
        "Requests",
        (
            Panel(
                "Requests",
                "reqps",
                (Query(_rate("sussurro_requests_total", "route,status"), "{{route}} {{status}}"),),
            ),
            Panel(
                "Errors",
                "reqps",
                (Query(f"{_rate('sussurro_errors_total', 'code')} > 0", "{{code}}"),),
                "By error code; what is 0 is not shown.",
            ),
            Panel(
                "Limits hit",
                "reqps",
                (
                    Query(
                        _rate(
                            "sussurro_errors_total",
                            "code",
                            'code=~"rate_limit_exceeded|insufficient_quota|too_many_failures|overloaded"',
                        ),
                        "{{code}}",
                    ),
                ),
            ),
            Panel(
                "Clients that left",
                "reqps",
                (
                    Query(
                        _rate("sussurro_errors_total", "instance", 'code="client_disconnected"'),
                        "{{instance}}",
                    ),
                ),
            ),
            Panel(
                "Media that was not decoded",
                "reqps",
                (Query(f"{_rate('sussurro_media_failures_total', 'reason')} > 0", "{{reason}}"),),
            ),
            Panel(
                "Upload",
                "Bps",
                (Query(_rate("sussurro_upload_bytes_total", "instance"), "{{instance}}"),),
            ),
        ),
    ),
    Row(
        "Time",
        (
            Panel("Transcriptions, whole", "s", _quantiles("sussurro_request_seconds", AUDIO)),
            Panel(
                "Stages, p95",
                "s",
                (Query(_quantile(0.95, "sussurro_stage_seconds", "stage"), "{{stage}}"),),
            ),
            Panel(
                "Real-time factor",
                "none",
                _quantiles("sussurro_real_time_factor"),
                "Seconds by second of audio, without the upload; 1 is as fast as speech.",
            ),
        ),
    ),
    Row(
        "Work",
        (
            Panel(
                "Audio seconds a second",
                "none",
                (Query(_rate("sussurro_audio_seconds_total", "model,task"), "{{model}} {{task}}"),),
                "Counted when a recording is done.",
            ),
            Panel(
                "Requests inside and at the door",
                "none",
                (
                    Query(f"sussurro_requests_running{{{HERE}}}", "running {{instance}}"),
                    Query(f"sussurro_requests_waiting{{{HERE}}}", "waiting {{instance}}"),
                ),
            ),
            Panel(
                "Audio still to be done",
                "s",
                (Query(f"sussurro_backlog_audio_seconds{{{HERE}}}", "{{instance}}"),),
            ),
            Panel(
                "Windows",
                "none",
                (
                    Query(
                        f"sussurro_windows_in_flight{{{HERE}}}", "in flight {{model}} {{instance}}"
                    ),
                    Query(f"sussurro_windows_waiting{{{HERE}}}", "waiting {{model}} {{instance}}"),
                ),
            ),
            Panel(
                "Windows in a batch",
                "none",
                (
                    Query(
                        f"{_rate('sussurro_engine_batched_total', 'model')} / "
                        f"{_rate('sussurro_engine_calls_total', 'model')}",
                        "{{model}}",
                    ),
                ),
            ),
            Panel(
                "Tries again, and texts left out, by window",
                "none",
                (
                    Query(
                        f"{_rate('sussurro_fallbacks_total', 'model')} / "
                        f"{_rate('sussurro_windows_total', 'model')}",
                        "fallbacks {{model}}",
                    ),
                    Query(
                        f"{_rate('sussurro_dropped_total', 'model')} / "
                        f"{_rate('sussurro_windows_total', 'model')}",
                        "left out {{model}}",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Jobs",
        (
            Panel(
                "Jobs",
                "none",
                (
                    Query(f"max(sussurro_jobs_queued{{{HERE}}})", "wait"),
                    Query(f"sum(sussurro_jobs_running{{{HERE}}})", "run"),
                ),
                "What waits is of all servers of one queue.",
            ),
            Panel(
                "Waiting for",
                "s",
                (
                    Query(f"max(sussurro_jobs_oldest_queued_seconds{{{HERE}}})", "oldest job"),
                    Query(f"max(sussurro_jobs_queued_audio_seconds{{{HERE}}})", "audio of all"),
                ),
            ),
            Panel(
                "Jobs that ended",
                "ops",
                (Query(_rate("sussurro_jobs_ended_total", "state"), "{{state}}"),),
            ),
            Panel(
                "Webhooks",
                "none",
                (
                    Query(f"max(sussurro_webhooks_pending{{{HERE}}})", "are tried"),
                    Query(f"max(sussurro_webhooks_dead{{{HERE}}})", "were given up"),
                ),
            ),
            Panel(
                "Tries of webhooks",
                "ops",
                (Query(_rate("sussurro_webhooks_total", "outcome"), "{{outcome}}"),),
            ),
        ),
    ),
    Row(
        "Server",
        (
            Panel(
                "Health",
                "bool_yes_no",
                (
                    Query(f"sussurro_model_ready{{{HERE}}}", "{{model}} warm {{instance}}"),
                    Query(f"sussurro_engine_healthy{{{HERE}}}", "{{model}} engine {{instance}}"),
                    Query(f"sussurro_media_loader_healthy{{{HERE}}}", "media {{instance}}"),
                    Query(f"sussurro_redis_up{{{HERE}}}", "Redis {{instance}}"),
                    Query(f"sussurro_jobs_database_up{{{HERE}}}", "jobs' database {{instance}}"),
                    Query(f"1 - sussurro_draining{{{HERE}}}", "takes work {{instance}}"),
                ),
            ),
            Panel(
                "Processor",
                "none",
                (
                    Query(
                        _rate("process_cpu_seconds_total", "instance", 'job="sussurro"'),
                        "{{instance}}",
                    ),
                ),
                "Cores in use, without the media process.",
            ),
            Panel(
                "Memory",
                "bytes",
                (Query(f'process_resident_memory_bytes{{{HERE},job="sussurro"}}', "{{instance}}"),),
            ),
            Panel(
                "Open files",
                "none",
                (Query(f'process_open_fds{{{HERE},job="sussurro"}}', "{{instance}}"),),
            ),
            Panel(
                "Up since",
                "s",
                (
                    Query(
                        f'time() - process_start_time_seconds{{{HERE},job="sussurro"}}',
                        "{{instance}}",
                    ),
                ),
            ),
            Panel(
                "What serves",
                "none",
                (
                    Query(
                        f"sussurro_engine_info{{{HERE}}} * on (instance) group_left (version) "
                        f"sussurro_build_info{{{HERE}}}",
                        "{{instance}} {{version}} {{model}} {{engine}} {{build}}",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "GPU (TensorRT-LLM)",
        (
            Panel(
                "KV cache in use",
                "percentunit",
                (Query(f"sussurro_kv_cache_used_ratio{{{HERE}}}", "{{model}} {{instance}}"),),
            ),
            Panel(
                "Computing",
                "percentunit",
                (Query(f"sussurro_gpu_utilization_ratio{{{HERE}}}", "GPU {{gpu}} {{instance}}"),),
            ),
            Panel(
                "Memory",
                "bytes",
                (
                    Query(f"sussurro_gpu_memory_used_bytes{{{HERE}}}", "GPU {{gpu}} {{instance}}"),
                    Query(
                        f"sussurro_gpu_memory_total_bytes{{{HERE}}}", "all of {{gpu}} {{instance}}"
                    ),
                ),
            ),
            Panel(
                "Temperature",
                "celsius",
                (Query(f"sussurro_gpu_temperature_celsius{{{HERE}}}", "GPU {{gpu}} {{instance}}"),),
            ),
            Panel(
                "Power",
                "watt",
                (Query(f"sussurro_gpu_power_watts{{{HERE}}}", "GPU {{gpu}} {{instance}}"),),
            ),
        ),
    ),
)
