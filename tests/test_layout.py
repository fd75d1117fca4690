"""The house: a stage imports from the stages above it, never from below."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "plainnet"
STAGES = (
    "errors",
    "settings",
    "files",
    "versions",
    "tables",
    "samples",
    "networks",
    "kernels",
    "engines",
    "training",
    "packs",
    "storage",
    "estimators",
    "evaluation",
    "export",
    "runs",
    "cluster",
    "service",
    "studio",
    "cli",
    "__main__",
)
FILES = sorted(SOURCE.rglob("*.py"))


def stage_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imported(tree: ast.AST) -> list[str]:
    """The stages a file imports from, those for type checkers alone left out."""
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("plainnet."):
            found.append(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "plainnet":
            found += [alias.name for alias in node.names]
        found += imported(node)
    return found


def test_every_folder_and_file_is_in_the_list() -> None:
    assert {stage_of(path) for path in FILES} - {"__init__"} == set(STAGES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_upstream_only(path: Path) -> None:
    if path == SOURCE / "__init__.py":
        return  # the front door names everything, and imports it late
    own = stage_of(path)
    for stage in imported(ast.parse(path.read_text())):
        assert stage == own or STAGES.index(stage) < STAGES.index(own), f"{own} imports {stage}"


def test_every_stage_has_a_front_room_and_a_docstring_alone_at_its_door() -> None:
    for folder in (path for path in SOURCE.iterdir() if (path / "__init__.py").exists()):
        assert (folder / f"{folder.name}.py").exists(), folder.name
        body = ast.parse((folder / "__init__.py").read_text()).body
        # But for the cluster's, whose function is called by the folder's name: plainnet.cluster.train.
        assert len(body) == 1 or folder.name == "cluster"
        assert isinstance(body[0], ast.Expr)


def test_files_and_functions_stay_short() -> None:
    for path in FILES:
        text = path.read_text()
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and path.parent.name != "cli":
                docstring = len((ast.get_docstring(node) or "").splitlines())
                assert node.end_lineno - node.lineno - docstring <= 75, f"{path}: {node.name}"


def test_nothing_is_unpickled_or_evaluated() -> None:
    for path in FILES:
        text = path.read_text()
        assert not any(word in text for word in ("import pickle", "torch.load(", " eval(", " exec(", "yaml.load")), path
