"""The server's settings as the operator's commands see them.

Knows: how wrong settings end a command: every problem on standard error, exit code 78.
Must not know: what a setting is used for.
"""

import os
import sys
from collections.abc import Mapping

import click

from server.settings import EXIT_CONFIG, Settings, SettingsError


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in the environment, or the end of the command."""
    try:
        return Settings.from_env(environ)
    except SettingsError as error:
        click.echo(f"{error}\nThe settings are listed in docs/settings.md.", err=True)
        sys.exit(EXIT_CONFIG)
