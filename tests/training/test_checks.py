"""Each classic trap is an error before the first step, and says what to do."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from torch import nn
from torch.nn import functional as F  # noqa: N812

import plainnet
from plainnet import SettingError, TrainingError

X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
Y = (torch.rand(20, 1, generator=torch.Generator().manual_seed(1)) < 0.5).float()
CLASSES = torch.randint(0, 3, (20,), generator=torch.Generator().manual_seed(2))


def linear(n_out: int = 1, *last: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, n_out), *last)


def run(model, x, y, loss, **options):
    before = [parameter.clone() for parameter in model.parameters()]
    optimizer = options.pop("optimizer", None) or torch.optim.SGD(model.parameters(), lr=0.1)
    try:
        return plainnet.train(model, x, y, loss=loss, optimizer=optimizer, **{"epochs": 2, **options})
    except plainnet.PlainnetError:
        for now, then in zip(model.parameters(), before, strict=True):
            assert torch.equal(now, then), "an error before the first step leaves the weights alone"
        raise


def own_loss(prediction, target):
    return ((prediction - target) ** 2).mean()


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x):
        return torch.sigmoid(self.layer(x)).squeeze(1)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, a, b):
        return self.layer(a) + b


TRAPS = {
    "(N,) against (N, 1)": (linear(1), X, Y[:, 0], nn.MSELoss(), r"pass y.reshape\(-1, 1\)"),
    "(N,) against (N, 1), function": (linear(1), X, Y[:, 0], F.l1_loss, r"pass y.reshape\(-1, 1\)"),
    "(N,) against (N, 1), own loss": (linear(1), X, Y[:, 0], own_loss, r"own_loss.*pass y.reshape\(-1, 1\)"),
    "(N, 1) against (N,)": (Functional(), X, Y, nn.MSELoss(), r"pass y.reshape\(-1\)"),
    "wrong width": (linear(3), X, Y, nn.MSELoss(), "last layer 1 outputs, or y 3 columns"),
    "class numbers to MSELoss": (linear(3), X, CLASSES, nn.MSELoss(), "for classes use nn.CrossEntropyLoss"),
    "class numbers to BCELoss": (
        linear(1, nn.Sigmoid()),
        X,
        CLASSES[:, None].float(),
        nn.BCELoss(),
        r"targets in \[0, 1\].*CrossEntropyLoss",
    ),
    "int 0/1 to BCELoss": (linear(1, nn.Sigmoid()), X, Y.long(), nn.BCELoss(), r"y.to\(torch.float32\)"),
    "logits to BCELoss": (linear(1), X, Y, nn.BCELoss(), "nn.Sigmoid.*BCEWithLogitsLoss"),
    "sigmoid to BCEWithLogitsLoss": (
        linear(1, nn.Sigmoid()),
        X,
        Y,
        nn.BCEWithLogitsLoss(),
        "applies the sigmoid itself",
    ),
    "sigmoid by function": (Functional(), X, Y[:, 0], nn.BCEWithLogitsLoss(), "applies the sigmoid itself"),
    "softmax to CrossEntropyLoss": (
        linear(3, nn.Softmax(dim=1)),
        X,
        CLASSES,
        nn.CrossEntropyLoss(),
        "applies the softmax itself",
    ),
    "softmax to NLLLoss": (linear(3, nn.Softmax(dim=1)), X, CLASSES, nn.NLLLoss(), "LogSoftmax"),
    "one output to CrossEntropyLoss": (linear(1), X, Y, nn.CrossEntropyLoss(), "one output for each class"),
    "column of classes": (linear(3), X, CLASSES[:, None], nn.CrossEntropyLoss(), r"pass y.reshape\(-1\)"),
    "float classes": (
        linear(3),
        X,
        CLASSES.float(),
        nn.CrossEntropyLoss(),
        r"wants class numbers 0 … 2 as int64, .* pass y.long\(\)",
    ),
    "int32 classes": (
        linear(3),
        X,
        CLASSES.int(),
        nn.CrossEntropyLoss(),
        r"wants class numbers as int64, .* pass y.long\(\)",
    ),
    "classes from 1": (linear(3), X, CLASSES + 1, nn.CrossEntropyLoss(), "count classes from 0"),
    "float64 x": (linear(1), X.double(), Y, nn.MSELoss(), r"x is float64.*x.to\(torch.float32\)"),
    "int x": (linear(1), X.long(), Y, nn.MSELoss(), "x is int64"),
    "NumPy float64 x": (linear(1), X.numpy().astype(np.float64), Y, nn.MSELoss(), r"x.astype\(np.float32\)"),
    "float64 y": (linear(1), X, Y.double(), nn.MSELoss(), "y is float64"),
    "NaN in x": (
        linear(1),
        X.clone().index_put_((torch.tensor(3), torch.tensor(2)), torch.tensor(float("nan"))),
        Y,
        nn.MSELoss(),
        r"x holds 1 values.*\[3, 2\]",
    ),
    "infinity in y": (linear(1), X, Y + float("inf"), nn.MSELoss(), "y holds 20 values"),
    "different lengths": (linear(1), X, Y[:5], nn.MSELoss(), "x has 20 rows and y has 5"),
    "no rows": (linear(1), X[:0], Y[:0], nn.MSELoss(), "x has no rows"),
    "wrong number of features": (linear(1), X[:, :3], Y, nn.MSELoss(), "the network cannot take x"),
    "loss of every row": (linear(1), X, Y, nn.MSELoss(reduction="none"), "reduction='none'"),
    "own loss, no scalar": (linear(1), X, Y, lambda p, t: (p - t) ** 2, "has to give one number"),
    "own loss, fails": (linear(1), X, Y, lambda p, t: torch.mm(p, t), "the loss cannot take predictions"),
    "class numbers of a one-hot target": (
        linear(3),
        X,
        F.one_hot(CLASSES, 3),
        nn.CrossEntropyLoss(),
        r"pass y.argmax\(dim=1\).*else y.float\(\)",
    ),
    "uint8 pixels": (
        nn.Conv2d(3, 2, 1),
        torch.ones(8, 3, 4, 4),
        torch.zeros(8, 4, 4, dtype=torch.uint8),
        nn.CrossEntropyLoss(),
        r"pass y.long\(\)",
    ),
    "class weights of other classes": (
        linear(3),
        X,
        CLASSES,
        nn.CrossEntropyLoss(weight=torch.ones(5)),
        "the loss cannot take predictions of shape .20, 3.*weight tensor",
    ),
    "two inputs": (TwoInputs(), X, Y, nn.MSELoss(), r"forward takes 2 inputs \(a, b\)"),
    "a column of x": (nn.Linear(1, 1), X[:, 0], Y, nn.MSELoss(), r"pass x.reshape\(-1, 1\)"),
    "a number as x": (linear(1), torch.tensor(1.0), Y, nn.MSELoss(), "x is a single number, 1"),
    "a number as y": (linear(1), X, np.array(1.0), nn.MSELoss(), "y is a single number, 1"),
    "long doubles": (linear(1), X.numpy().astype(np.longdouble), Y, nn.MSELoss(), r"x.astype\(np.float32\)"),
    "sparse x": (linear(1), X.to_sparse(), Y, nn.MSELoss(), r"x is a sparse tensor, .* pass x.to_dense\(\)"),
    "sparse matrix as x": (
        linear(1),
        csr_matrix(X.numpy()),
        Y,
        nn.MSELoss(),
        r"not a csr_matrix. Pass its .toarray\(\)",
    ),
    "the class of a loss": (linear(1), X, Y, nn.MSELoss, r"loss is the class MSELoss: pass an object of it, MSELoss\("),
    "the name of a loss": (linear(1), X, Y, "mse", r"loss is 'mse': pass one such as nn.MSELoss\(\)"),
    "no loss": (linear(1), X, Y, None, "loss is None"),
    "a list as x": (linear(1), [[1.0]], Y, nn.MSELoss(), "x is a torch tensor or a NumPy array"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_trap_is_caught(trap: str) -> None:
    model, x, y, loss, message = TRAPS[trap]
    with pytest.raises(TrainingError, match=message):
        run(model, x, y, loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)}, "parameters of another network"),
        ({"device": "cuda:77"}, "device 'cuda:77' cannot be used"),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
        ({"device": "meta"}, "device 'meta' cannot be used: its tensors have shapes and no numbers"),
        ({"device": None}, "device 'None' cannot be used"),
        ({"validation": 1.5}, "share of rows to hold out"),
        ({"validation": (X, Y[:3])}, "the validation y has 3"),
        ({"validation": (X[:, :2], Y)}, "all but the first number have to agree"),
        ({"validation": (X * float("nan"), Y)}, "the validation x holds"),
        ({"sample_weight": torch.ones(3)}, r"pass shape \(20,\)"),
        ({"sample_weight": ["a"] * 20}, "sample_weight is .'a'.*a number for each of the 20 rows"),
        ({"validation": (X, Y.long())}, "the validation rows do not fit.*y is int64 .*MSELoss wants both alike"),
        ({"optimizer": torch.optim.SGD}, "optimizer is the class SGD"),
        ({"scheduler": "cosine"}, "scheduler is 'cosine': pass one built from the optimizer"),
    ],
)
def test_what_does_not_belong_together(options, message) -> None:
    with pytest.raises(TrainingError, match=message):
        run(linear(1), X, Y, nn.MSELoss(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs is a whole number from 1, not 0"),
        ({"epochs": 2.5}, "epochs is a whole number"),
        ({"epochs": None}, "epochs is a whole number from 1, not None"),
        ({"seed": None}, "seed is a whole number, not None"),
        ({"seed": "a"}, "seed is a whole number, not 'a'"),
        ({"seed": 2**64}, "seed is a whole number from"),
        ({"clip_grad_norm": float("inf")}, "clip_grad_norm is a number above 0, not inf"),
        ({"batch_size": 0}, "batch_size is a whole number from 1"),
        ({"clip_grad_norm": 0}, "clip_grad_norm is a number above 0"),
        ({"scheduler_every": "year"}, "scheduler_every is 'epoch' or 'step'"),
    ],
)
def test_settings_outside_their_range(options, message) -> None:
    with pytest.raises(SettingError, match=message):
        run(linear(1), X, Y, nn.MSELoss(), **options)


def test_schedulers_of_another_optimizer_or_rhythm_are_refused() -> None:
    model = linear(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    other = torch.optim.lr_scheduler.StepLR(torch.optim.SGD(model.parameters(), lr=0.1), 2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    for scheduler, every, message in (
        (other, "epoch", "belongs to another optimizer"),
        (cycle, "epoch", "is made for single steps: pass scheduler_every='step'"),
        (plateau, "step", "scheduler_every='epoch'"),
    ):
        with pytest.raises(TrainingError, match=message):
            run(model, X, Y, nn.MSELoss(), optimizer=optimizer, scheduler=scheduler, scheduler_every=every)


def test_a_frozen_network_is_refused() -> None:
    model = linear(1).requires_grad_(False)
    with pytest.raises(TrainingError, match="frozen"):
        run(model, X, Y, nn.MSELoss(), optimizer=torch.optim.SGD(model.parameters(), lr=0.1))


@pytest.mark.parametrize(
    ("model", "y", "loss"),
    [
        (linear(1, nn.Sigmoid()), Y, nn.BCELoss()),
        (linear(1), Y, nn.BCEWithLogitsLoss()),
        (linear(3), CLASSES, nn.CrossEntropyLoss()),
        (linear(3), F.one_hot(CLASSES, 3).float(), nn.CrossEntropyLoss()),
        (linear(3, nn.LogSoftmax(dim=1)), CLASSES, nn.NLLLoss()),
        (linear(1), Y[:, 0], lambda p, t: ((p[:, 0] - t) ** 2).mean()),  # a loss that wants just these shapes
        (linear(1), Y, own_loss),
        (linear(1), Y, nn.PoissonNLLLoss()),
    ],
)
def test_what_fits_together_trains(model, y, loss) -> None:
    history = run(model, X, y, loss, epochs=30)
    assert history.losses[-1] < history.losses[0]


def test_an_embedding_may_have_whole_numbers() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 1))
    x = torch.randint(0, 5, (20, 2))
    assert len(run(model, x, Y, nn.MSELoss())) == 2


def test_the_trial_leaves_no_trace() -> None:
    """Dropout and BatchNorm: random numbers, running statistics and modes are as if the checks had not looked."""

    def losses(checked: bool) -> list[float]:
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if checked:
            return list(
                plainnet.train(model, X, Y, loss=nn.MSELoss(), optimizer=optimizer, epochs=5, engine="eager").losses
            )
        found = []
        for _ in range(5):
            loss = F.mse_loss(model(X), Y)
            found.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return found

    assert losses(True) == losses(False)


def test_a_last_batch_of_one_row_is_refused_for_batch_norm() -> None:
    def model() -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))

    with pytest.raises(TrainingError, match="batch of one row.*drop_last=True"):
        run(model(), X, Y, nn.MSELoss(), batch_size=19)
    with pytest.raises(TrainingError, match="batch of one row: pass more rows, or a larger batch_size"):
        run(model(), X, Y, nn.MSELoss(), batch_size=1)
    for layers in ([nn.Conv2d(1, 3, (2, 2)), nn.BatchNorm2d(3), nn.Flatten()], [nn.Flatten(), nn.BatchNorm1d(4)]):
        images = nn.Sequential(*layers, nn.LazyLinear(1))
        images.eval()(X.reshape(20, 1, 2, 2))
        with pytest.raises(TrainingError, match="batch of one row.*drop_last=True"):
            run(images.train(), X.reshape(20, 1, 2, 2), Y, nn.MSELoss(), batch_size=19)
    assert len(run(model(), X, Y, nn.MSELoss(), batch_size=19, drop_last=True)) == 2


def test_validation_rows_of_another_dtype_are_refused() -> None:
    with pytest.raises(TrainingError, match="the validation x is float64"):
        run(linear(1), X, Y, nn.MSELoss(), validation=(X.double(), Y))


def test_a_loss_of_shape_one_and_a_float64_network_train() -> None:
    history = run(linear(1), X, Y, lambda p, t: ((p - t) ** 2).mean().reshape(1), validation=0.2)
    assert history.losses.shape == (2,)
    history = run(linear(1).double(), X.double(), Y.double(), nn.MSELoss(), sample_weight=torch.ones(20))
    assert history.losses.shape == (2,)


def test_numbers_of_numpy_are_numbers() -> None:
    history = run(linear(1), X, Y, nn.MSELoss(), validation=np.float32(0.2), seed=np.int64(3), batch_size=np.int32(5))
    assert history.validation_losses.shape == (2,)


def test_validation_classes_out_of_range_are_refused() -> None:
    with pytest.raises(TrainingError, match="validation rows do not fit.*count classes from 0"):
        run(linear(3), X, CLASSES, nn.CrossEntropyLoss(), validation=(X, CLASSES + 1))


def test_networks_without_sizes_or_numbers_are_refused() -> None:
    for model, message in (
        (nn.LazyLinear(1), r"LazyLinear. Show them some rows"),
        (linear(1).to("meta"), "device 'meta'"),
    ):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(TrainingError, match=message):
            plainnet.train(model, X, Y, loss=nn.MSELoss(), optimizer=optimizer, epochs=2)


def test_arrays_of_another_byte_order_and_read_only_ones_train() -> None:
    read_only = X.numpy().copy()
    read_only.flags.writeable = False
    expected = run(linear_of(0), X, Y, nn.MSELoss()).losses
    for x in (X.numpy().astype(">f4"), read_only, X.numpy()[:, ::-1][:, ::-1]):
        assert run(linear_of(0), x, Y.numpy().astype(">f4"), nn.MSELoss()).losses == pytest.approx(expected)
    weight = pd.Series(np.ones(20), index=range(5, 25))
    assert run(linear_of(0), X, Y, nn.MSELoss(), sample_weight=weight).losses == pytest.approx(expected)


def linear_of(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return linear(1)
