"""What a release has to pass beyond the tests; some minutes. `make release-check` runs it on the wheel in dist/.

The wheel is built again from a copy of the tree and compared byte by byte; its size and what is in it are checked; it is installed
into two empty environments, without extras and with all of them, and the first steps of a user are walked through in each.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from urllib.request import HTTPCookieProcessor, build_opener

ROOT = Path(__file__).parents[1]
DIST, BUILD = ROOT / "dist", ROOT / "build"
MOST_BYTES = 2 * 2**20
#: All that is in the wheel beside Python's source: nothing of anybody else's but the Adult table, which has its licence beside it.
OTHER_FILES = (
    r"py\.typed|runs/report\.html\.jinja|studio/script\.py\.jinja|samples/(adult\.csv\.gz|LICENSE-adult\.txt)"
    r"|service/docs\.(css|html|js)|studio/page/\w+\.(css|html|js|svg)"
)
LICENCES = ("licenses/LICENSE", "licenses/src/plainnet/samples/LICENSE-adult.txt")

#: Commands that need an extra, and the extra.
NEED_EXTRAS = {
    ("serve", "run"): "web",
    ("studio", "--no-browser"): "web",
    ("tune", "houses.csv", "--target", "price"): "tune",
    ("export", "run", "--to", "onnx"): "onnx",
    ("track", "run", "tensorboard"): "track",
    ("track", "run", "mlflow"): "track",
    ("train", "houses.csv", "--target", "price", "--track", "mlflow"): "track",
    ("predict", "run", "houses.csv", "--out", "prices.xlsx"): "excel",
    ("predict", "run", "houses.xlsx"): "excel",
    ("predict", "run", "postgresql://localhost:1/houses"): "sql",
}
#: What they do where it is there. No database is here: that none answers is the next thing to be said.
WITH_EXTRAS = [
    ("export", "run", "--to", "onnx", "--out", "model.onnx"),
    (
        "tune",
        "houses.csv",
        "--target",
        "price",
        "--trials",
        "2",
        "--epochs",
        "3",
        "--effort",
        "quick",
        "--out",
        "tuned",
    ),
    ("track", "run", "tensorboard", "--to", "logs"),
    ("track", "run", "mlflow", "--to", "sqlite:///mlflow.db"),
    ("predict", "run", "houses.csv", "--with-input", "--out", "prices.xlsx"),
    ("predict", "run", "prices.xlsx"),
]
FIRST_STEPS = [
    ("--version",),
    ("--help",),
    ("doctor",),
    ("tutorial", "--epochs", "500"),
    ("train", "houses.csv", "--target", "price", "--out", "run", "--epochs", "5", "--effort", "quick"),
    ("predict", "run", "houses.csv", "--out", "prices.csv"),
    ("evaluate", "run", "houses.csv"),
    ("explain", "run", "houses.csv"),
    ("show", "run"),
    ("plot", "run"),
    ("report", "run"),
    ("runs", "."),
    ("compare", "run", "run"),
    ("export", "run", "--to", "torch", "--out", "as_torch.py"),
    ("export", "run", "--to", "python", "--out", "as_numpy.py"),
]  # fmt: skip


def built_again(wheel: Path) -> bytes:
    """Build the committed and staged files again, elsewhere, as somebody with other permissions and another clock."""
    listed = run("git", "ls-files", "-z", cwd=ROOT)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        for name in listed.rstrip("\0").split("\0"):
            copy = tree / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy)
            copy.chmod(stat.S_IRUSR | stat.S_IWUSR)
        run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, str(tree))
        return (Path(folder) / wheel.name).read_bytes()


def check_wheel(wheel: Path) -> None:
    assert wheel.stat().st_size <= MOST_BYTES, f"{wheel.name} has {wheel.stat().st_size:,} bytes"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    facts = f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info/"
    for name in names:
        is_ours = re.fullmatch(rf"plainnet/(?:[\w/]+\.py|{OTHER_FILES})", name) or name.startswith(facts)
        assert is_ours, f"{name} is in the wheel"
    for licence in LICENCES:
        assert facts + licence in names, f"{licence} is not in the wheel"
    assert built_again(wheel) == wheel.read_bytes(), "two builds of the wheel differ"
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {len(names)} files, the same when built again", flush=True)


def environment(name: str, wheel: Path, extras: str) -> Path:
    """Make an empty environment, install the wheel as a user would, and return the folder of its programs."""
    folder = BUILD / name
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "venv", str(folder))
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    constraints = str(ROOT / "constraints.txt")
    run(str(programs / "python"), "-m", "pip", "install", "--quiet", "--constraint", constraints, f"{wheel}{extras}")
    return programs


def run(*command: str, cwd: Path | None = None, code: int = 0, env: dict[str, str] | None = None) -> str:
    """Run a command, and return what it printed; another exit code than ``code`` is a failure."""
    done = subprocess.run(
        command, cwd=cwd, env=env, check=False, text=True, capture_output=True, encoding="utf-8", timeout=900
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, f"{' '.join(command)}: exit code {done.returncode}, not {code}\n{said}"
    assert "Traceback" not in said, f"{' '.join(command)}\n{said}"
    return said


def houses(folder: Path) -> None:
    rows = [f"{20 + i % 90},{'north' if i % 3 else 'south'},{1000 * (20 + i % 90) + 500 * (i % 7)}" for i in range(200)]
    (folder / "houses.csv").write_text("\n".join(["size,side,price", *rows]) + "\n", encoding="utf-8")
    (folder / "houses.xlsx").write_bytes(b"PK\3\4")


def walk(programs: Path, *, has_extras: bool) -> None:
    """Do what a user does first, in an empty folder, with a home and a cache of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        houses(folder)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PLAINNET"))}
        env = kept | {"HOME": name, "PLAINNET_CACHE_DIR": name, "COLUMNS": "200", "PYTHONUTF8": "1"}
        plainnet = str(programs / "plainnet")
        for step in FIRST_STEPS:
            run(plainnet, *step, cwd=folder, env=env)
            print("  plainnet", *step, flush=True)
        for script in ("as_torch.py", "as_numpy.py"):
            run(str(programs / "python"), script, "houses.csv", cwd=folder, env=env)
        assert len((folder / "prices.csv").read_text(encoding="utf-8").splitlines()) == 201
        if not has_extras:
            for command, extra in NEED_EXTRAS.items():
                said = run(plainnet, *command, cwd=folder, env=env, code=1)
                assert f"Run: pip install 'plainnet[{extra}]'" in said, f"{' '.join(command)}\n{said}"
                print("  plainnet", *command, "→", said.strip(), flush=True)
            return
        for step in WITH_EXTRAS:
            run(plainnet, *step, cwd=folder, env=env)
            print("  plainnet", *step, flush=True)
        said = run(plainnet, "predict", "run", "postgresql://127.0.0.1:1/houses", cwd=folder, env=env, code=1)
        assert "no database answers there" in said, said
        for server, page in ((("serve", "run", "--port", "0"), "/docs"), (("studio", "--no-browser"), "")):
            answers([plainnet, *server], page, folder, env)
            print("  plainnet", *server, flush=True)


def answers(command: list[str], page: str, folder: Path, env: dict[str, str]) -> None:
    """Start a server, ask for a page at the address it names, and end it."""
    with subprocess.Popen(
        command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            said = ""
            while not (found := re.search(r"http://127\.0\.0\.1:\d+[^\s)]*", said)):
                line = process.stdout.readline()
                assert line, f"{' '.join(command)} ended: {said}"
                said += line
            browser = build_opener(HTTPCookieProcessor())  # the studio's address gives a cookie
            assert b"<html" in browser.open(found[0].removesuffix(page) + page, timeout=60).read().lower()
        finally:
            process.terminate()


def main() -> None:
    (wheel,) = DIST.glob("plainnet-*.whl")
    check_wheel(wheel)
    for name, extras in (("release-bare", ""), ("release-all", "[all]")):
        print(f"pip install '{wheel.name}{extras}'", flush=True)
        walk(environment(name, wheel, extras), has_extras=bool(extras))
    print("all is well")


if __name__ == "__main__":
    main()
