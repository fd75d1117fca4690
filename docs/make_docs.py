"""Write what is generated: docs/cli.md from ``--help``, docs/loss.png from the tutorial."""

import os
import re
import sys
from pathlib import Path

os.environ |= {"COLUMNS": "110", "TERMINAL_WIDTH": "110", "NO_COLOR": "1", "TERM": "dumb"}

DOCS = Path(__file__).parent


def cli_page() -> str:
    """Return docs/cli.md: the help of every verb."""
    from typer.testing import CliRunner

    from plainnet.cli.cli import app

    verbs = [command.callback.__name__ for command in app.registered_commands if command.callback]
    lines = ["# The command line", "", "Written by `make docs` from `--help`.", ""]
    for verb in ((), *((verb,) for verb in verbs)):
        result = CliRunner().invoke(app, [*verb, "--help"], prog_name="plainnet")
        text = re.sub(r"[ \t]+$", "", result.output, flags=re.MULTILINE).strip("\n")
        lines += [f"## plainnet {' '.join(verb)}".rstrip(), "", "```", text, "```", ""]
    return "\n".join(lines)


def loss_picture() -> None:
    """Draw docs/loss.png: the tutorial's loss curve, seed 0."""
    sys.path.insert(0, str(DOCS.parent / "examples"))
    import first_network

    from plainnet.runs.runs import draw_losses

    draw_losses(first_network.main(), DOCS / "loss.png")


if __name__ == "__main__":
    (DOCS / "cli.md").write_text(cli_page(), encoding="utf-8")
    loss_picture()
    print("wrote docs/cli.md and docs/loss.png")
