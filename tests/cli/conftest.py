"""The command line in the tests' own process."""

import sys

import pytest

from plainnet.cli.cli import main


@pytest.fixture
def command_line(monkeypatch, capsys):
    """Run the command line on a wide, plain terminal: arguments -> (exit code, output, errors)."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("warnings.showwarning", None)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["plainnet", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
            raise SystemExit(0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(stopped.value.code or 0), out, err

    return run
