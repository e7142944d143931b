"""Options that commands share.

Knows: their names and help.
Must not know: what a command does with them.
"""

import click

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""What a program reads goes to standard output; failures stay on standard error."""
