"""How long ``import plainnet``, ``plainnet --help``, reading a model and predicting one row take.

Fresh processes, beside ``import torch`` and, for one row, beside scikit-learn's pipeline of a one-hot encoder and an MLP.
"""

import os
import platform
import subprocess
import sys
import tempfile
from ast import literal_eval
from pathlib import Path
from statistics import median
from time import perf_counter

HERE = Path(__file__).parent
COMMANDS = {
    "`python -c pass`": ["-c", "pass"],
    "`import plainnet`": ["-c", "import plainnet"],
    "`plainnet --help`": ["-m", "plainnet", "--help"],
    "`import torch`": ["-c", "import torch"],
}


def seconds(arguments):
    started = perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return perf_counter() - started


FIRST_STEP = """
import sys, time, torch
from torch import nn
model = nn.Sequential(nn.Linear(10, 15), nn.ReLU(), nn.Linear(15, 1), nn.Sigmoid())
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)  # here torch imports a second's worth of its own
started = time.perf_counter()
import plainnet
plainnet.train(model, torch.randn(100, 10), torch.rand(100, 1), loss=nn.MSELoss(), optimizer=optimizer, epochs=1, engine="fused")
print(time.perf_counter() - started)
"""


def steps():
    """Time from `import plainnet` to the end of the first fused step, with no machine code kept, and with it."""
    with tempfile.TemporaryDirectory() as folder:

        def first_step():
            environment = os.environ | {"PLAINNET_CACHE_DIR": folder}
            command = [sys.executable, "-c", FIRST_STEP]
            return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)

        cold = first_step()
        warm = median(first_step() for _ in range(5))
    what = "from `import plainnet` to the first fused step, torch being there: compiling it (once a machine; one run)"
    return [f"| {what} | {1000 * cold:.0f} |", f"| the same with the machine code kept | {1000 * warm:.0f} |"]


ONE_ROW = """
import sys, time, warnings
warnings.simplefilter("ignore")
folder = sys.argv[1]
import plainnet
from plainnet.estimators.load import load
started = time.perf_counter()
models = {name: load(f"{folder}/{name}.safetensors") for name in ("one", "pack", "array")}
seconds = {"read": (time.perf_counter() - started) / 3}
import numpy as np
import pandas as pd
adult = plainnet.load_adult()
row, pandas = adult[5:6], adult[5:6].to_pandas()
array = np.random.default_rng(0).normal(size=(1, 10))
calls = {
    "one network, polars row": lambda: models["one"].predict_proba(row),
    "one network, pandas row": lambda: models["one"].predict_proba(pandas),
    "one network, array of 10 numbers": lambda: models["array"].predict_proba(array),
    "the default pack, polars row": lambda: models["pack"].predict_proba(row),
}
assert "torch" not in sys.modules
from sklearn.compose import make_column_transformer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
table = adult[:3000].to_pandas().dropna()
rest = list(table.columns[:-1][[pd.api.types.is_numeric_dtype(table[name]) for name in table.columns[:-1]]])
texts = [name for name in table.columns[:-1] if name not in rest]
encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), texts), (StandardScaler(), rest))
peer = make_pipeline(encoder, MLPClassifier(max_iter=3)).fit(table[texts + rest], table[table.columns[-1]])
calls["scikit-learn's pipeline, pandas row"] = lambda: peer.predict_proba(pandas)
bare = MLPClassifier(max_iter=3).fit(np.random.default_rng(0).normal(size=(300, 10)), np.arange(300) % 2)
calls["scikit-learn's MLP, array of 10 numbers"] = lambda: bare.predict_proba(array)
for name, call in calls.items():
    taken = []
    for _ in range(520):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    seconds[name] = float(np.median(taken[20:]))
print(seconds)
"""


def one_row():
    """Median time of reading a model and of predicting one row, in a process that never imports torch."""
    import numpy as np

    import plainnet

    adult = plainnet.load_adult()
    target = adult.columns[-1]
    with tempfile.TemporaryDirectory() as folder:
        plainnet.NetClassifier(members=1, epochs=2).fit(adult[:3000], target).save(f"{folder}/one.safetensors")
        plainnet.NetClassifier(epochs=2).fit(adult[:3000], target).save(f"{folder}/pack.safetensors")
        x = np.random.default_rng(0).normal(size=(500, 10))
        plainnet.NetClassifier(members=1, epochs=2).fit(x, x[:, 0] > 0).save(f"{folder}/array.safetensors")
        ran = subprocess.run([sys.executable, "-c", ONE_ROW, folder], check=True, capture_output=True, text=True)
    seconds = literal_eval(ran.stdout)
    lines = [f"| reading a model (mean of three; libraries loaded) | {1000 * seconds.pop('read'):.1f} |"]
    return lines + [f"| one row: {name} | {1000 * each:.3f} |" for name, each in seconds.items()]


def main():
    lines = []
    for name, arguments in COMMANDS.items():
        seconds(arguments)  # the first fills the disk cache
        lines.append(f"| {name} | {1000 * median(seconds(arguments) for _ in range(11)):.0f} |")
        print(lines[-1], flush=True)
    first_steps = [*steps(), *one_row()]
    text = f"""# Start-up and one row

Written by `make bench`. Whole processes: median of 11; one row: median of 500 calls.
{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.

| command | ms |
|---|---|
""" + "\n".join([*lines, *first_steps])
    (HERE / "results.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
