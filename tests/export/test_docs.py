"""What docs/export.md says runs."""

import re
import sys
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "export.md"


def test_the_python_on_the_page_about_exports_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/export.md", "exec"), names)  # noqa: S102 - our own page
    assert len(blocks) == 6
    table, classifier = names["adult"].tail(5), names["classifier"]
    expected = classifier.predict_proba(table)
    for own in (names["probabilities"], names["same"].numpy(), names["again"]):
        np.testing.assert_allclose(own, expected, rtol=0, atol=1e-5)
    assert names["labels"].tolist() == names["answers"] == classifier.predict(table).tolist()
    row = dict.fromkeys(classifier.feature_names_in_) | names["row"]
    alone = classifier.predict_proba({name: [cell] for name, cell in row.items()})[0, 1]
    assert abs(names["probability"] - alone) <= 1e-5
    for module in ("adult_torch", "adult_numpy"):
        sys.modules.pop(module)
