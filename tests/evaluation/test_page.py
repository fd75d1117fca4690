"""The Python of docs/evaluation.md runs, and says what it promises."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"


def test_the_python_on_the_page_runs(capsys) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)  # noqa: S102 - our own page
    assert len(blocks) == 2
    shown = capsys.readouterr().out
    assert "AUC: 0." in shown
    assert "calibration error: 0." in shown
    assert len(names["found"].folds) == 3
