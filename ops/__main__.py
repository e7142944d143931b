"""`python -m ops`: the operator's commands.

Knows: which commands there are.
Must not know: what they do.
"""

import click

from ops.accuracy.command import accuracy
from ops.bench.command import bench
from ops.demo import demo
from ops.doctor.command import doctor
from ops.engines.command import engines
from ops.keys import keys
from ops.serve import serve
from ops.tokens import tokens
from ops.weights.command import weights


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Operate Sussurro: keys, tokens, weights, engines, a demo, and measurements."""


main.add_command(keys)
main.add_command(tokens)
main.add_command(weights)
main.add_command(engines)
main.add_command(doctor)
main.add_command(demo)
main.add_command(serve)
main.add_command(accuracy)
main.add_command(bench)

if __name__ == "__main__":
    main(prog_name="ops")
