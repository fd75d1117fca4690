"""Make notebooks of pages, run them, and keep what they print and draw: examples/*.ipynb.

Run it as ``python docs/notebooks.py``; ``make docs`` does.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
#: Each notebook and the page it is made of.
NOTEBOOKS = {
    "first_network": "docs/tutorial/first-network.md",
    "real_table": "docs/tutorial/real-table.md",
    "many_networks": "docs/how-to/many-networks.md",
}
BLOCK = re.compile(r"^```python\n(.*?)^```\n?", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def cells_of(page: str) -> list[tuple[str, str]]:
    """Return the cells of a page, in order: ('markdown' or 'code', source). Links are turned to be right from examples/."""

    def turned(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link[1]))
        return f"]({posixpath.relpath(target, 'examples')}"

    parts = BLOCK.split((ROOT / page).read_text(encoding="utf-8"))
    kinds = [("markdown", LINK.sub(turned, part)) if i % 2 == 0 else ("code", part) for i, part in enumerate(parts)]
    return [(kind, source.strip()) for kind, source in kinds if source.strip()]


def notebook_of(page: str) -> Any:
    """Return the notebook of a page, not yet run."""
    from nbformat import v4

    make = {"markdown": v4.new_markdown_cell, "code": v4.new_code_cell}
    cells = [make[kind](source, id=f"cell-{i}") for i, (kind, source) in enumerate(cells_of(page))]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def run(notebook: Any, folder: Path) -> None:
    """Run a notebook's cells in a folder, and keep what it prints and draws."""
    from nbclient import NotebookClient

    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":  # what is printed and drawn; not progress bars, which end empty
            cell.outputs = [each for each in cell.outputs if each.output_type == "stream" or "image/png" in each.data]
    notebook.metadata["language_info"] = {"name": "python"}


def main() -> None:
    from tempfile import TemporaryDirectory

    for name, page in NOTEBOOKS.items():
        notebook = notebook_of(page)
        with TemporaryDirectory() as folder:
            run(notebook, Path(folder))
        path = ROOT / "examples" / f"{name}.ipynb"
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
