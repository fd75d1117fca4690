"""A run as Python: the same in plainnet calls, and one of its networks as the loop one writes by hand."""

from __future__ import annotations

from pprint import pformat
from typing import Any

from torch import nn

from plainnet.errors import RunError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.networks.layers import PiecewiseLinearEncoding
from plainnet.packs.members import DECAY, default_rate
from plainnet.runs.runs import Run
from plainnet.settings import FitSettings

__all__ = ["script_of"]

#: Settings that are a dict, which JSON holds as pairs.
DICTS = ("kinds", "monotone", "class_weight")


def script_of(run: Run, kind: str) -> str:
    """Return a script that can be run.

    Args:
        run: whose rows were drawn by a seed, as the page's own are.
        kind: 'plainnet', which gives the same model; or 'pytorch', which trains one network of the same shape by a plain loop.

    Raises:
        RunError: another kind, or a run whose rows were split by groups or time.
    """
    if kind not in ("plainnet", "pytorch"):
        raise RunError(f"a script is 'plainnet' or 'pytorch', not {kind[:40]!r}.")
    by = str(run.facts["split"]["by"])
    if not by.startswith("seed"):
        raise RunError(f"the rows of this run were split by {by}. `plainnet train --help` says how to train it again.")
    return _plainnet(run) if kind == "plainnet" else _pytorch(run)


def _rows(run: Run) -> list[str]:
    """Read the table and split it, as train_run does."""
    facts, target = run.facts, run.target
    share = facts.get("test_share", 0.2)
    stratify = f", stratify=table[{target!r}].to_numpy()" if facts["task"] == "classes" else ""
    split = [f"train, test = split_rows(table.height, {share!r}, seed={facts['seed']}{stratify})"] if share else []
    return [
        f"table = plainnet.read_table({facts['table']['source']!r})",
        f"table = table.filter(table[{target!r}].is_not_null())",
        *(split or ["train = test = range(table.height)  # no rows were held out"]),
    ]


def _arguments(run: Run) -> dict[str, Any]:
    """Return the estimator's arguments that are not the default."""
    defaults = (NetClassifier if run.facts["task"] == "classes" else NetRegressor)().get_params()
    found = {}
    for name, value in run.facts["settings"].items():
        own = dict(value) if name in DICTS and isinstance(value, list) else value
        if (
            name in defaults
            and name not in ("random_state", "verbose")
            and own != defaults[name]
            and own not in ({}, [])
        ):
            found[name] = own
    return found


def _plainnet(run: Run) -> str:
    facts = run.facts
    name = "NetClassifier" if facts["task"] == "classes" else "NetRegressor"
    arguments = [f"{key}={pformat(value, width=100)}" for key, value in _arguments(run).items()]
    arguments.append(f"random_state={facts['seed']}")
    stopped = ["# The run was stopped early: this trains to the end, and gives another model."]
    lines = [
        *(stopped if facts["training"].get("stopped_by") in ("on_epoch", "interrupt", "time") else []),
        "import plainnet", "from plainnet.tables.split import split_rows", "", *_rows(run), "",
        f"model = plainnet.{name}({', '.join(arguments)})",
        f"model.fit(table[train], {run.target!r})",
        f"print(model.score(table[test], {run.target!r}))",
        "model.save('model.safetensors')",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _pytorch(run: Run) -> str:
    facts, settings = run.facts, run.facts["settings"]
    estimator = run.estimator()
    members = estimator.members_
    is_plain = [not isinstance(member.network[0], PiecewiseLinearEncoding) for member in members]  # type: ignore[index]
    member = members[is_plain.index(True) if True in is_plain else 0]
    is_class = facts["task"] == "classes"
    plan = FitSettings.derive(
        estimator.schema_.n_rows,
        **{key: settings.get(key) for key in ("members", "batch_size", "epochs")},
        effort=settings.get("effort", "default"),
    )
    rate = settings.get("learning_rate") or default_rate(member.recipe.shape, is_class=is_class)
    kinds = _arguments(run).get("kinds")
    coding = [] if is_plain[members.index(member)] else ["from plainnet.networks.layers import PiecewiseLinearEncoding"]
    target = f"table[{run.target!r}].to_numpy()"
    goal = (
        [f"classes, codes = np.unique({target}, return_inverse=True)", "y = torch.from_numpy(codes)"]
        if is_class
        else [f"numbers = {target}.astype(float)", "mean, scale = numbers[train].mean(), numbers[train].std()",
              "y = torch.from_numpy((numbers - mean) / scale).float()[:, None]"]
    )  # fmt: skip
    loss = "nn.CrossEntropyLoss()" if is_class else "nn.MSELoss()"
    score = (
        'print("accuracy", (model(x[test]).argmax(dim=1) == y[test]).float().mean().item())'
        if is_class
        else 'print("RMSE", loss(model(x[test]), y[test]).item() ** 0.5 * scale)'
    )
    lines = [
        "import numpy as np", "import torch", "from torch import nn", "", "import plainnet", *coding,
        "from plainnet.tables.encode import encode", "from plainnet.tables.split import split_rows", "",
        *_rows(run), "",
        "# Columns to features: what each column is, learnt from the training rows alone.",
        f"columns = table.drop({run.target!r})",
        f"schema = plainnet.Schema.learn(columns[train]{f', kinds={kinds!r}' if kinds else ''})",
        "x = torch.from_numpy(encode(schema, columns)[0])",
        *goal,
        "",
        f"torch.manual_seed({facts['seed']})",
        "model = nn.Sequential(", *(f"    {_layer(layer)}," for layer in member.network.children()), ")",
        f"loss = {loss}",
        f"optimizer = torch.optim.AdamW(model.parameters(), lr={rate!r}, betas=(0.9, 0.95), weight_decay={DECAY})",
        "rows = torch.as_tensor(np.asarray(train))",
        f"for epoch in range({plan.epochs}):",
        f"    for batch in rows[torch.randperm(len(rows))].split({plan.batch_size}):",
        "        optimizer.zero_grad()",
        "        error = loss(model(x[batch]), y[batch])",
        "        error.backward()",
        "        optimizer.step()",
        "model.eval()",
        "with torch.no_grad():",
        f"    {score}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _layer(layer: nn.Module) -> str:
    """Spell a layer as Python."""
    if isinstance(layer, nn.Linear):
        return f"nn.Linear({layer.in_features}, {layer.out_features})"
    if isinstance(layer, PiecewiseLinearEncoding):
        return f"PiecewiseLinearEncoding({layer.plain}, {list(layer.bins)}, {layer.scale})"
    return f"nn.{layer!r}"
