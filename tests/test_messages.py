"""Every error and warning has a test that quotes it: three words in a row of each message stand somewhere in the tests.

python -m tests.test_messages       every message in the source, to be read in one sitting
"""

import ast
import errno
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from plainnet import MissingExtraError, NetClassifier, RunError, SettingError, TableError, errors, scan_table
from plainnet.cli.serve import serve
from plainnet.networks.layers import PiecewiseLinearEncoding
from plainnet.packs.shards import writing
from plainnet.runs.resume import _check_facts
from plainnet.service.listen import listen
from plainnet.studio.keep import script_of
from plainnet.studio.state import Studio
from plainnet.studio.studio import MOST_JSON, _file
from plainnet.studio.tryout import row_of
from tests.helpers import people
from tests.studio.helpers import Client

SOURCE = Path(errors.__file__).parent


class Place(NamedTuple):
    """A call in the source that makes an error, or gives a warning."""

    where: str
    text: str
    words: set[str]


def in_a_row(text: str) -> set[str]:
    """Every three words in a row, without the signs around them."""
    words = re.findall(r"\w+(?:['./_-]\w+)*", text.lower())
    return {" ".join(words[first : first + 3]) for first in range(len(words) - 2)}


def places() -> Iterator[Place]:
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            names = {node.func.id} if isinstance(node.func, ast.Name) else set()
            if isinstance(node.func, ast.Attribute) and node.func.attr == "warn":
                names = {name.id for each in node.args for name in ast.walk(each) if isinstance(name, ast.Name)}
            if names & set(errors.__all__):
                parts = [
                    each.value
                    for each in ast.walk(node)
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                ]
                words = set().union(*map(in_a_row, parts)) if parts else set()
                where = f"{path.relative_to(SOURCE).as_posix()}:{node.lineno}"
                yield Place(where, ast.get_source_segment(text, node) or "", words)


def not_quoted() -> list[Place]:
    tests = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("*.py")]
    quoted = set().union(*(in_a_row(re.sub(r"\\(.)", r"\1", text)) for text in tests))
    return [each for each in places() if each.words and not each.words & quoted]


def test_every_message_is_quoted_by_a_test() -> None:
    assert not_quoted() == []


# Those that are quoted nowhere else.


@pytest.mark.parametrize(
    ("error", "match", "act"),
    [
        (
            SettingError,
            r"monotone\['age'\] is 1, where predictions never fall with it, .* not 2",
            lambda _: NetClassifier(monotone={"age": 2}).fit(people(60), "rich"),
        ),
        (SettingError, "bins are whole numbers from 1, .* not .0. and 2", lambda _: PiecewiseLinearEncoding(2, [0])),
        (SettingError, "port 70000 is none: choose --port 1024", lambda _: listen("127.0.0.1", 70_000)),
        (RunError, "a script is 'plainnet' or 'pytorch', not 'r'", lambda _: script_of(None, "r")),
        (RunError, "the run '.*' has no report.html. `plainnet report` writes", lambda path: _file(path, "report.html")),
        (
            SettingError,
            "scan_table has no setting 'rows': it has",
            lambda path: people(10).write_parquet(path / "t.parquet") or scan_table(path / "t.parquet", rows=1),
        ),
        (RunError, "checkpoint in '.*' is not of a run: its source is none of ours", lambda path: _check_facts(path, {})),
    ],
)  # fmt: skip
def test_a_message(error, match: str, act, tmp_path: Path) -> None:
    with pytest.raises(error, match=match):
        act(tmp_path)


def test_a_port_that_needs_rights_and_a_server_that_is_not_installed(monkeypatch) -> None:
    def refuse(*_) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(SettingError, match="port 80 is not allowed for this user. Choose --port 1024"):
        listen("127.0.0.1", 80)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for each in ("service", "listen"):
        monkeypatch.delitem(sys.modules, f"plainnet.service.{each}", raising=False)
    with pytest.raises(MissingExtraError, match="Serving over HTTP needs uvicorn"):
        serve([])


def test_a_disk_without_room_for_encoded_rows(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    layout = SimpleNamespace(n_features=4, dtype=SimpleNamespace(itemsize=16))
    with (
        pytest.raises(RunError, match="1,000 encoded rows take 0.0 GB in .* name another folder in .*TMPDIR"),
        writing(layout, 1000, 2**20),
    ):
        pass


def test_what_the_studio_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="the work folder '.*' cannot be made: .* Choose --work"):
        Studio(tmp_path / "file")
    client = Client(tmp_path)
    assert "no training is under way: start one first" in client.post("/api/train/stop").text
    assert "the request is larger than" in client.post("/api/train", content=b"1" * (MOST_JSON + 1)).text
    column = SimpleNamespace(name="age", kind="number")
    with pytest.raises(TableError, match="'age' is a number, and 'old' is none: write one, or leave it empty"):
        row_of(SimpleNamespace(schema_=SimpleNamespace(used=[column])), {"age": "old"})


if __name__ == "__main__":
    for each in places():
        print(f"{each.where}: {each.text}\n")
