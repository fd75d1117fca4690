"""What the site does with links that leave docs/: they lead to pages it makes of them, or become plain names."""

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
#: Files outside docs/ that the site shows too, and where.
PAGES = {"benchmarks/quality/results.md": "results/quality.md"} | {
    f"examples/{path.name}": f"examples/{path.stem}.md" for path in sorted((ROOT / "examples").glob("*.py"))
}
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie outside docs/."""
    from mkdocs.structure.files import File

    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if source.endswith(".py"):
            text = f"# {posixpath.basename(source)}\n\n```python\n{text}```\n"
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links out of docs/ to a page of PAGES, or to the name of what is there."""
    here = page.file.src_uri
    source = next((path for path, shown in PAGES.items() if shown == here), f"docs/{here}")

    def turned(link: re.Match[str]) -> str:
        text, target, place = link[1], link[2], link[3] or ""
        if target.startswith(("http:", "https:", "mailto:")):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in PAGES:
            shown = PAGES[path]
        elif path.startswith("docs/") and not path.endswith(".py"):
            shown = path.removeprefix("docs/")
        else:
            name = text.strip("[]").replace("\n", " ")
            return name if path.endswith(name) else f"{name} (`{path}`)"
        return f"{text}({posixpath.relpath(shown, posixpath.dirname(here) or '.')}{place})"

    return LINK.sub(turned, markdown)
