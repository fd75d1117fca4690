"""What the documents say runs: README's Python, the pictures and pages they point to."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_python_in_the_readme_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - our own page
    assert len(blocks) == 4
    assert len(names["history"].losses) == 5000
    assert names["probabilities"].shape == (48842, 2)
    assert names["between"].shape == (5, 2)
    assert names["spread"].predict(names["adult"].head(3)).shape == (3, 3)


def test_the_python_of_the_page_on_explanations_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "explain.md").read_text(), re.DOTALL):
        exec(compile(block, "explain.md", "exec"), names)  # noqa: S102 - our own page
    assert len(names["importance"].columns) == 14
    assert (tmp_path / "explained.png").exists()
    assert names["roc"].roc_auc > 0.8


def test_the_python_of_the_page_on_large_tables_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "large_tables.md").read_text(), re.DOTALL):
        exec(compile(block, "large_tables.md", "exec"), names)  # noqa: S102 - our own page
    assert names["classifier"].schema_.n_rows == 3000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_contributing_stays_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 50
