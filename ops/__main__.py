"""`python -m ops`: the operator's commands.

Knows: which commands there are, and where.
Must not know: what they do. Each is imported when it is asked for: together they take seconds.
"""

import importlib

import click

COMMANDS = {
    "keys": "ops.keys:keys",
    "tokens": "ops.tokens:tokens",
    "webhooks": "ops.webhooks:webhooks",
    "weights": "ops.weights.command:weights",
    "engines": "ops.engines.command:engines",
    "backup": "ops.backup.command:backup",
    "restore": "ops.backup.command:restore",
    "plan": "ops.plan.command:command",
    "doctor": "ops.doctor.command:doctor",
    "transcribe": "ops.transcribe.command:transcribe",
    "smoke": "ops.smoke.command:smoke",
    "demo": "ops.demo:demo",
    "serve": "ops.serve:serve",
    "accuracy": "ops.accuracy.command:accuracy",
    "completion": "ops.completion:completion",
    "bench": "ops.bench.command:bench",
}


class Commands(click.Group):
    """The commands above."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Their names."""
        return sorted(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """One of them."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Operate Sussurro: keys, weights, engines, transcripts, checks, and measurements."""


if __name__ == "__main__":
    main(prog_name="ops")
