"""The driver: runs a program for many steps and epochs in one call, without Python.

It knows nothing of layers: a program is a table of operations (the address of a kernel and its words), and a training is
gather, forward, loss, backward over the parts of each batch, then the optimizer's operations. Everything it needs and
leaves is in two flat arrays, ``k`` (words) and ``r`` (reals), whose places are named here.
"""

from __future__ import annotations

import math

from numba.extending import register_jitable

from plainnet.kernels.crew import DONE_UNITS, add, get, pause, publish, take
from plainnet.kernels.kernels import call, number, numbers_at, reals_at, shift, words_at
from plainnet.kernels.products import lanes_of

# isort: off
from plainnet.kernels.state import (
    BATCH_MEMORY, COLUMNS, CONSTANTS, FEW, FIRST, FIXED, GOES_ON, LEAD, LOSS, N_STATE_REALS, N_STATE_WORDS, OPERATION, ORDER, OUT,
    OWN_COUNT, OWN_FIRST, ROWS, SCALE, SETTINGS, STEP, WEIGHT, X, Y,
)  # fmt: skip
# isort: on

# Words: addresses of the memory of a batch, of all parameters, of their gradients, of the optimizer's moments.
MEMORY, PARAMETERS, GRADIENTS, MOMENTS = range(4)
# The program: addresses of its operations and their constants, of the state; the operations of a step (the first
# KEEPS_DATA fetch the data: needed once where every step takes the same rows), of the gradient of weights (which follow
# them), of the update, of the scale (-1: none).
(
    OPERATIONS, OPERATION_CONSTANTS, STATE, STATE_REALS, TRAIN_FIRST, TRAIN_STOP, KEEPS_DATA, UPDATE_FIRST, UPDATE_STOP, SCALER,
) = range(4, 14)  # fmt: skip
# Rows in all, in a step, in a part of one, numbers from feature to feature there; 1 for few rows; steps in an epoch.
N_ROWS, BATCH, PART, PART_LEAD, IS_FEW, N_BATCHES = range(14, 20)
# Addresses of the data, and of the orders of the chunk's epochs (0: as the rows lie), with their length.
DATA_X, DATA_Y, DATA_WEIGHT, ORDERS, ORDER_SIZE = range(20, 25)
# Address of the parameter groups' settings; a row of this table lasts STEPS_A_SETTING steps.
SETTINGS_TABLE, N_GROUPS, STEPS_A_SETTING = range(25, 28)
# Numbers a row's loss is the mean of; 1 where losses are summed; 1 where gradients are clipped.
PER_VALUE, SUMS, CLIPS = range(28, 31)
# Parameters with a gradient; these with frozen ones and buffers. Addresses of copies: weights at the epoch's start, at
# that of the epoch before, and the best.
N_TRAINABLE, N_ALL, BEFORE, EARLIER, BEST = range(31, 36)
# The same for validation rows and predictions.
VALIDATES, VALID_MEMORY, VALID_FIRST, VALID_STOP, VALID_SCALER, VALID_ROWS, VALID_PART, VALID_LEAD = range(36, 44)
VALID_X, VALID_Y, VALID_WEIGHT, PREDICTIONS = range(44, 48)
# Early stopping (PATIENCE -1: never), epochs and steps done, the step of the chunk that was not finite.
STOPS, PATIENCE, BEST_EPOCH, EPOCH, STEP_NOW, BAD_STEP = range(48, 54)
# Addresses of the results: the loss of each step of the chunk, of each epoch, on the validation rows after it.
LOSSES, EPOCH_LOSSES, VALID_LOSSES = range(54, 57)
# The gradient of weights ends at GRADIENT_STOP. Addresses of the constant numbers of the two programs.
GRADIENT_STOP, FIXED_NUMBERS, VALID_FIXED = range(57, 60)
# Sharing a step: rows of a unit of work (0: the step is not shared), its states, and the units of the gradient of weights
# (operation, first output, outputs); addresses of the crew's words, and of the system's function to yield; the end.
PIECE, UNIT_STATES, UNIT_REALS, WEIGHT_UNITS, N_WEIGHT_UNITS, CREW, YIELD, QUIT = range(60, 68)
SETTING = 68  # the row of the settings' table that holds now
N_WORDS = 69

# Kinds of shared work.
PASS, GRADIENT, UPDATE = range(3)

# Reals.
MAX_NORM, MIN_DELTA, BEST_LOSS, VALID_TOTAL = range(4)
N_REALS = 4

# What ``train`` returns.
DONE, OVER, DIVERGED = range(3)

#: Rows whose losses are joined before the mean over such blocks is taken, as the eager engine does.
EVALUATION_BLOCK = 65_536

__all__ = ["evaluate", "finish_epoch", "gradient", "help_out", "predict", "train_epochs", "train_steps", "update"]


@register_jitable
def _is_finite(x):
    return x - x == 0.0


@register_jitable
def _copy(unit, to, source, count):
    a, b = numbers_at(unit, to), numbers_at(unit, source)
    for i in range(count):
        a[i] = b[i]


@register_jitable
def _operate(m, p, g, k, first, stop, s, d):
    code, constants = words_at(k[OPERATIONS]), reals_at(k[OPERATION_CONSTANTS])
    for i in range(first, stop):
        call(code[i * OPERATION], m, p, g, shift(code, i * OPERATION + 1), shift(constants, i * CONSTANTS), s, d)


@register_jitable
def _set_part(s, m, first, rows):
    lanes = lanes_of(m)
    s[FIRST], s[ROWS] = first, rows
    s[COLUMNS] = (rows + lanes - 1) // lanes * lanes


@register_jitable
def _set_scale(m, p, g, k, s, d, scaler, rows):
    """Set what the sum of the rows' losses is multiplied by."""
    if k[SUMS] == 1:
        d[SCALE] = 1.0
    elif scaler >= 0:
        s[ROWS] = rows
        _operate(m, p, g, k, scaler, scaler + 1, s, d)
    else:
        d[SCALE] = 1.0 / (rows * k[PER_VALUE])


@register_jitable
def gradient(unit, k, r, position, in_chunk):
    """Compute the loss of the batch at ``position`` in its epoch, and the gradient of all parameters, clipped; take no step."""
    m, p, g = numbers_at(unit, k[MEMORY]), numbers_at(unit, k[PARAMETERS]), numbers_at(unit, k[GRADIENTS])
    s, d = words_at(k[STATE]), reals_at(k[STATE_REALS])
    s[FEW], s[LEAD], s[STEP], s[BATCH_MEMORY] = k[IS_FEW], k[PART_LEAD], k[STEP_NOW], k[MEMORY]
    s[X], s[Y], s[WEIGHT], s[FIXED] = k[DATA_X], k[DATA_Y], k[DATA_WEIGHT], k[FIXED_NUMBERS]
    s[ORDER] = k[ORDERS] + 8 * k[ORDER_SIZE] * (in_chunk // k[N_BATCHES]) if k[ORDERS] != 0 else 0
    first = position * k[BATCH]
    rows = min(k[BATCH], k[N_ROWS] - first)
    s[FIRST] = first
    _set_scale(m, p, g, k, s, d, k[SCALER], rows)
    d[LOSS] = 0.0
    for start in range(0, rows, k[PART]):
        _set_part(s, m, first + start, min(k[PART], rows - start))
        s[GOES_ON] = 0 if start == 0 else 1
        if k[PIECE] > 0:
            _share_part(unit, k)
            continue
        _operate(m, p, g, k, _first_operation(k), k[TRAIN_STOP], s, d)
        s[OWN_FIRST], s[OWN_COUNT] = 0, 1 << 40
        _operate(m, p, g, k, k[TRAIN_STOP], k[GRADIENT_STOP], s, d)
    if k[CLIPS] == 1:
        _clip(g, k[N_TRAINABLE], r[MAX_NORM])
    reals_at(k[LOSSES])[in_chunk] = d[LOSS] * d[SCALE]
    return DONE


@register_jitable
def update(unit, k, r, in_chunk, _):
    """Let the optimizer take its step on the gradient that is there."""
    k[SETTING] = in_chunk // k[STEPS_A_SETTING]
    if k[PIECE] > 0:
        _share(unit, k, UPDATE, k[UPDATE_STOP] - k[UPDATE_FIRST])
    else:
        for i in range(k[UPDATE_STOP] - k[UPDATE_FIRST]):
            _update_unit(unit, k, i)
    k[STEP_NOW] += 1
    return DONE


@register_jitable
def _update_unit(unit, k, i):
    """Let the optimizer step over one run of parameters."""
    code, moments = shift(words_at(k[OPERATIONS]), (k[UPDATE_FIRST] + i) * OPERATION), numbers_at(unit, k[MOMENTS])
    row = k[SETTING] * k[N_GROUPS] + code[1]  # the word after the address
    group = shift(reals_at(k[SETTINGS_TABLE]), row * SETTINGS)
    p, g = numbers_at(unit, k[PARAMETERS]), numbers_at(unit, k[GRADIENTS])
    call(code[0], moments, p, g, shift(code, 2), group, words_at(k[STATE]), reals_at(k[STATE_REALS]))


@register_jitable
def _first_operation(k):
    """Where a step begins: after fetching the data, if the last step's are still there and the same."""
    return k[TRAIN_FIRST] + (k[KEEPS_DATA] if k[STEP_NOW] > 0 else 0)


@register_jitable
def _share_part(unit, k):
    """Pass forward and back through a part of a batch in pieces of rows, then sum up the gradient of weights."""
    s, d = words_at(k[STATE]), reals_at(k[STATE_REALS])
    states, reals = words_at(k[UNIT_STATES]), reals_at(k[UNIT_REALS])
    n_pieces = (s[ROWS] + k[PIECE] - 1) // k[PIECE]
    for i in range(n_pieces):
        own = shift(states, i * N_STATE_WORDS)
        for j in range(N_STATE_WORDS):
            own[j] = s[j]
        _set_part(own, numbers_at(unit, 0), s[FIRST] + i * k[PIECE], min(k[PIECE], s[ROWS] - i * k[PIECE]))
        reals[i * N_STATE_REALS + LOSS], reals[i * N_STATE_REALS + SCALE] = 0.0, d[SCALE]
    _share(unit, k, PASS, n_pieces)
    for i in range(n_pieces):  # always in this order
        d[LOSS] += reals[i * N_STATE_REALS + LOSS]
    for i in range(k[N_WEIGHT_UNITS]):
        own, row = shift(states, i * N_STATE_WORDS), shift(words_at(k[WEIGHT_UNITS]), 3 * i)
        for j in range(N_STATE_WORDS):
            own[j] = s[j]
        own[OWN_FIRST], own[OWN_COUNT] = row[1], row[2]
    _share(unit, k, GRADIENT, k[N_WEIGHT_UNITS])


@register_jitable
def _share(unit, k, kind, units):
    """Have units of work done, by this thread and the helpers; return when all are."""
    crew = words_at(k[CREW])
    publish(crew, kind, units)
    while True:
        kind, i = take(crew)
        if i < 0:
            break
        _work(unit, k, kind, i)
    turns = 0
    while get(crew, DONE_UNITS) < units:
        pause(k[YIELD], turns)
        turns += 1


@register_jitable
def _work(unit, k, kind, i):
    """Do one unit of shared work."""
    if kind == UPDATE:
        _update_unit(unit, k, i)
    else:
        m, p, g = numbers_at(unit, k[MEMORY]), numbers_at(unit, k[PARAMETERS]), numbers_at(unit, k[GRADIENTS])
        s, d = shift(words_at(k[UNIT_STATES]), i * N_STATE_WORDS), shift(reals_at(k[UNIT_REALS]), i * N_STATE_REALS)
        if kind == PASS:
            _operate(shift(m, i * k[PIECE]), p, g, k, _first_operation(k), k[TRAIN_STOP], s, d)
        else:
            operation = words_at(k[WEIGHT_UNITS])[3 * i]
            _operate(m, p, g, k, operation, operation + 1, s, d)
    add(words_at(k[CREW]), DONE_UNITS, 1)


def help_out(unit, k, r, _, __):
    """Take units of work until the driver's call ends: the life of a helping thread."""
    crew, turns = words_at(k[CREW]), 0
    while get(k, QUIT) == 0:
        kind, i = take(crew)
        if i >= 0:
            _work(unit, k, kind, i)
            turns = 0
        else:
            pause(k[YIELD], turns)
            turns += 1
    return DONE


@register_jitable(fastmath={"reassoc", "contract"}, error_model="numpy")
def _squares(g, count):
    total = 0.0
    for i in range(count):
        total += float(g[i]) * float(g[i])
    return total


@register_jitable
def _clip(g, count, max_norm):
    factor = max_norm / (math.sqrt(_squares(g, count)) + 1e-6)
    if factor < 1.0:
        for i in range(count):
            g[i] *= number(g, factor)


@register_jitable
def train_steps(unit, k, r, first, stop):
    """Take some steps of the chunk."""
    for step in range(first, stop):
        position = step % k[N_BATCHES]
        if position == 0:  # the weights an epoch begins with, in turns with those of the epoch before
            k[BEFORE], k[EARLIER] = k[EARLIER], k[BEFORE]
            _copy(unit, k[BEFORE], k[PARAMETERS], k[N_ALL])
        gradient(unit, k, r, position, step)
        update(unit, k, r, step, 0)
    return DONE


@register_jitable
def evaluate(unit, k, r, first, stop):
    """Add the joined losses of validation rows first … stop to VALID_TOTAL; first is a multiple of the block."""
    m, p, g = numbers_at(unit, k[VALID_MEMORY]), numbers_at(unit, k[PARAMETERS]), numbers_at(unit, k[GRADIENTS])
    s, d = words_at(k[STATE]), reals_at(k[STATE_REALS])
    s[FEW], s[LEAD], s[ORDER] = 0, k[VALID_LEAD], 0
    s[X], s[Y], s[WEIGHT], s[FIXED] = k[VALID_X], k[VALID_Y], k[VALID_WEIGHT], k[VALID_FIXED]
    if first == 0:
        r[VALID_TOTAL] = 0.0
    for block in range(first, stop, EVALUATION_BLOCK):
        s[FIRST], rows = block, min(EVALUATION_BLOCK, stop - block)
        _set_scale(m, p, g, k, s, d, k[VALID_SCALER], rows)
        d[LOSS] = 0.0
        for start in range(0, rows, k[VALID_PART]):
            _set_part(s, m, block + start, min(k[VALID_PART], rows - start))
            s[GOES_ON] = 0 if block == first and start == 0 else 1
            _operate(m, p, g, k, k[VALID_FIRST], k[VALID_STOP], s, d)
        loss = d[LOSS] * d[SCALE]
        r[VALID_TOTAL] += loss if k[SUMS] == 1 else loss * rows
    return DONE


@register_jitable
def finish_epoch(unit, k, r, index, _):
    """Judge epoch ``index`` of the chunk: join its losses, look for NaN, keep the best weights; return what to do."""
    n_batches = k[N_BATCHES]
    losses = shift(reals_at(k[LOSSES]), index * n_batches)
    total, count = 0.0, 0
    for i in range(n_batches):
        if not _is_finite(losses[i]):
            # A first batch that is not finite condemns the weights this epoch began with, a later one does not.
            _copy(unit, k[PARAMETERS], k[BEFORE] if i > 0 else k[EARLIER], k[N_ALL])
            k[BAD_STEP] = index * n_batches + i
            return DIVERGED
        rows = min(k[BATCH], k[N_ROWS] - i * k[BATCH])
        total += losses[i] if k[SUMS] == 1 else losses[i] * rows
        count += rows
    loss = total if k[SUMS] == 1 else (losses[0] if n_batches == 1 else total / count)
    watched = loss
    reals_at(k[EPOCH_LOSSES])[index] = loss
    if k[VALIDATES] == 1:
        watched = r[VALID_TOTAL] if k[SUMS] == 1 else r[VALID_TOTAL] / k[VALID_ROWS]
        reals_at(k[VALID_LOSSES])[index] = watched
    epoch, k[EPOCH] = k[EPOCH], k[EPOCH] + 1
    if k[STOPS] == 0:
        return DONE
    if watched < r[BEST_LOSS] - r[MIN_DELTA]:
        r[BEST_LOSS] = watched
        k[BEST_EPOCH] = epoch
        # A full batch's own loss is that of the weights before its step; every other, of those after.
        is_own = k[VALIDATES] == 0 and k[BATCH] >= k[N_ROWS]
        _copy(unit, k[BEST], k[BEFORE] if is_own else k[PARAMETERS], k[N_ALL])
    return OVER if k[PATIENCE] >= 0 and epoch - k[BEST_EPOCH] >= k[PATIENCE] else DONE


def train_epochs(unit, k, r, epochs, _):
    """Train whole epochs; EPOCH counts those that were finished."""
    for epoch in range(epochs):
        train_steps(unit, k, r, epoch * k[N_BATCHES], (epoch + 1) * k[N_BATCHES])
        if k[VALIDATES] == 1:
            evaluate(unit, k, r, 0, k[VALID_ROWS])
        end = finish_epoch(unit, k, r, epoch, 0)
        if end != DONE:
            return end
    return DONE


def predict(unit, k, r, first, stop):
    """Predict rows first … stop."""
    m, p, g = numbers_at(unit, k[VALID_MEMORY]), numbers_at(unit, k[PARAMETERS]), numbers_at(unit, k[GRADIENTS])
    s, d = words_at(k[STATE]), reals_at(k[STATE_REALS])
    s[FEW], s[LEAD], s[ORDER] = k[IS_FEW], k[VALID_LEAD], 0
    s[X], s[OUT], s[FIXED] = k[VALID_X], k[PREDICTIONS], k[VALID_FIXED]
    for start in range(first, stop, k[VALID_PART]):
        _set_part(s, m, start, min(k[VALID_PART], stop - start))
        s[GOES_ON] = 0 if start == first else 1
        _operate(m, p, g, k, k[VALID_FIRST], k[VALID_STOP], s, d)
    return DONE
