"""For each alert: series under which it fires after some minutes, and near ones that are well.

In promtool's notation: `a+bxn` is a, then n more values each b higher; one value a minute.
"""

from dataclasses import dataclass

ROUTE = 'route="/v1/audio/transcriptions"'
SERVER = 'instance="a",job="sussurro"'


def series(name: str, values: str, labels: str = "") -> tuple[str, str]:
    """One series of the server `a`."""
    return f"{name}{{{SERVER}{',' if labels else ''}{labels}}}", values


def requests(values: str) -> tuple[str, str]:
    """Transcriptions that are over."""
    return series("sussurro_requests_total", values, f'{ROUTE},method="POST",status="200"')


def errors(code: str, values: str) -> tuple[str, str]:
    """Failures of a kind."""
    return series("sussurro_errors_total", values, f'code="{code}"')


def buckets(name: str, labels: str, *upto: tuple[str, str]) -> list[tuple[str, str]]:
    """A histogram: the values of each of its bounds."""
    return [series(f"{name}_bucket", values, f'{labels},le="{bound}"') for bound, values in upto]


@dataclass(frozen=True, slots=True)
class Case:
    """`fires` must fire at `minute`; none of `silent` may, at any minute up to that."""

    minute: int
    fires: list[tuple[str, str]]
    silent: list[list[tuple[str, str]]]


MODEL = 'model="base"'

CASES: dict[str, Case] = {
    "SussurroDown": Case(
        5,
        [series("up", "1 1 0x10")],
        [[series("up", "1x10")], [series("up", "1 0 0 1x10")], [('up{job="other"}', "0x10")]],
    ),
    "SussurroEngineFailed": Case(
        3,
        [series("sussurro_engine_healthy", "1 1 0 0", MODEL)],
        [[series("sussurro_engine_healthy", "1x10", MODEL)]],
    ),
    "SussurroRestarting": Case(
        20,
        [series("process_start_time_seconds", "100x4 200x4 300x4 400x10")],
        [[series("process_start_time_seconds", "100x4 200x4 300x12")]],
    ),
    "SussurroModelNotReady": Case(
        25,
        [series("sussurro_model_ready", "0x30", MODEL)],
        [[series("sussurro_model_ready", "0x15 1x15", MODEL)]],
    ),
    "SussurroMediaLoaderDown": Case(
        6,
        [series("sussurro_media_loader_healthy", "1 1 0x10")],
        [[series("sussurro_media_loader_healthy", "1 1 0 0 1x10")]],
    ),
    "SussurroSandboxViolation": Case(
        5,
        [series("sussurro_media_failures_total", "0 0 1x10", 'reason="sandbox_violation"')],
        [
            [series("sussurro_media_failures_total", "0+1x10", 'reason="not_media"')],
            [series("sussurro_media_failures_total", "7x10", 'reason="sandbox_violation"')],
        ],
    ),
    "SussurroErrors": Case(
        20,
        [requests("0+60x30"), errors("engine_error", "0+2x30")],
        [
            [requests("0+60x30"), errors("engine_error", "0+1x30")],
            [
                requests("0+60x30"),
                errors("invalid_audio", "0+30x30"),
                errors("internal_error", "0x30"),
            ],
        ],
    ),
    "SussurroMediaFaults": Case(
        5,
        [series("sussurro_media_failures_total", "0 0 1x10", 'reason="spool_full"')],
        [[series("sussurro_media_failures_total", "0+5x10", 'reason="unsupported_codec"')]],
    ),
    "SussurroOverloaded": Case(
        25,
        [errors("overloaded", "0+1x30")],
        [[errors("overloaded", "0 5x30")], [errors("rate_limit_exceeded", "0+9x30")]],
    ),
    "SussurroWaiting": Case(
        25,
        buckets(
            "sussurro_stage_seconds",
            'stage="wait"',
            ("5", "0+80x30"),
            ("10", "0+90x30"),
            ("30", "0+100x30"),
            ("+Inf", "0+100x30"),
        ),
        [
            buckets(
                "sussurro_stage_seconds",
                'stage="wait"',
                ("5", "0+90x30"),
                ("10", "0+97x30"),
                ("30", "0+100x30"),
                ("+Inf", "0+100x30"),
            ),
            buckets(
                "sussurro_stage_seconds",
                'stage="compute"',
                ("5", "0x30"),
                ("10", "0x30"),
                ("30", "0+100x30"),
                ("+Inf", "0+100x30"),
            ),
        ],
    ),
    "SussurroSlow": Case(
        40,
        buckets(
            "sussurro_real_time_factor",
            MODEL,
            ("0.5", "0+5x60"),
            ("1", "0+8x60"),
            ("2", "0+10x60"),
            ("+Inf", "0+10x60"),
        ),
        [
            buckets(
                "sussurro_real_time_factor",
                MODEL,
                ("0.5", "0+9x60"),
                ("1", "0+10x60"),
                ("2", "0+10x60"),
                ("+Inf", "0+10x60"),
            )
        ],
    ),
    "SussurroFallbacks": Case(
        70,
        [
            series("sussurro_fallbacks_total", "0+15x90", MODEL),
            series("sussurro_windows_total", "0+10x90", MODEL),
        ],
        [
            [
                series("sussurro_fallbacks_total", "0+5x90", MODEL),
                series("sussurro_windows_total", "0+10x90", MODEL),
            ],
            [
                series("sussurro_fallbacks_total", "0x90", MODEL),
                series("sussurro_windows_total", "0x90", MODEL),
            ],
        ],
    ),
    "SussurroClientsLeave": Case(
        35,
        [requests("0+10x60"), errors("client_disconnected", "0+2x60")],
        [
            [requests("0+10x60"), errors("client_disconnected", "0x10 0+1x5 5x45")],
            [requests("0+100x60"), errors("client_disconnected", "0+5x60")],
        ],
    ),
    "SussurroLimitsHit": Case(
        35,
        [requests("0+10x60"), errors("insufficient_quota", "0+2x60")],
        [[requests("0+100x60"), errors("insufficient_quota", "0+2x60")]],
    ),
    "SussurroBadKeys": Case(
        5,
        [errors("too_many_failures", "0 0 3x10")],
        [[errors("invalid_api_key", "0+9x10"), errors("too_many_failures", "4x10")]],
    ),
    "SussurroRedisLost": Case(
        5,
        [series("sussurro_redis_up", "1 1 0x10")],
        [[series("sussurro_redis_up", "1 0 1x10")], [series("sussurro_draining", "0x10")]],
    ),
    "SussurroJobsDatabaseLost": Case(
        5,
        [series("sussurro_jobs_database_up", "1 1 0x10")],
        [[series("sussurro_jobs_database_up", "1 0 1x10")]],
    ),
    "SussurroJobsWaiting": Case(
        25,
        [series("sussurro_jobs_oldest_queued_seconds", "3000+60x30")],
        [[series("sussurro_jobs_oldest_queued_seconds", "4000x5 100x30")]],
    ),
    "SussurroJobsFail": Case(
        25,
        [
            series("sussurro_jobs_ended_total", "0+4x30", 'state="succeeded"'),
            series("sussurro_jobs_ended_total", "0+1x30", 'state="failed"'),
        ],
        [
            [
                series("sussurro_jobs_ended_total", "0+20x30", 'state="succeeded"'),
                series("sussurro_jobs_ended_total", "0+1x30", 'state="failed"'),
            ],
            [
                series("sussurro_jobs_ended_total", "0+1x30", 'state="succeeded"'),
                series("sussurro_jobs_ended_total", "0+9x30", 'state="cancelled"'),
            ],
        ],
    ),
    "SussurroWebhooksLate": Case(
        25,
        [series("sussurro_webhooks_oldest_pending_seconds", "3000+60x30")],
        [[series("sussurro_webhooks_oldest_pending_seconds", "4000x5 0x30")]],
    ),
    "SussurroWebhooksDead": Case(
        4,
        [series("sussurro_webhooks_dead", "0 0 1x10")],
        [[series("sussurro_webhooks_dead", "0x10"), series("sussurro_webhooks_pending", "9x10")]],
    ),
    "SussurroOpenFiles": Case(
        8,
        [series("process_open_fds", "900x10"), series("process_max_fds", "1000x10")],
        [[series("process_open_fds", "700x10"), series("process_max_fds", "1000x10")]],
    ),
    "SussurroKvCacheFull": Case(
        20,
        [series("sussurro_kv_cache_used_ratio", "0.97x30", MODEL)],
        [[series("sussurro_kv_cache_used_ratio", "0.97x10 0.5x20", MODEL)]],
    ),
    "SussurroGpuHot": Case(
        8,
        [series("sussurro_gpu_temperature_celsius", "88x10", 'gpu="0"')],
        [[series("sussurro_gpu_temperature_celsius", "84x10", 'gpu="0"')]],
    ),
}
