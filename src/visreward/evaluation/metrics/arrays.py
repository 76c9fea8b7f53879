"""What metrics take: arrays of one length, checked once, and clusters as numbers.

Shape letters: M pairs or values, G clusters.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visreward.core.errors import NonFiniteError, ShapeError, UsageError


def read_column(values: ArrayLike, *, name: str, length: int | None = None) -> NDArray[np.float64]:
    """Return values as (M,) float64; NaN stays.

    Args:
        values: (M,) numbers.
        name: For messages.
        length: M that other arrays have, or None for any.

    Raises:
        ShapeError: if the shape is not (M,).
        NonFiniteError: if a value is infinite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or (length is not None and len(array) != length):
        wanted = "(M,)" if length is None else f"({length},)"
        raise ShapeError(
            f"{name} has shape {array.shape}, expected {wanted}. Pass one number for each pair or "
            "item, in one order."
        )
    is_infinite = np.isinf(array)
    if is_infinite.any():
        place = int(is_infinite.argmax())
        raise NonFiniteError(
            f"{name} is infinite in {int(is_infinite.sum())} of {len(array)} places, first in "
            f"place {place}: {array[place]}. Find out why; pass NaN where there is no answer."
        )
    return array


def read_finite(values: ArrayLike, *, name: str, length: int | None = None) -> NDArray[np.float64]:
    """Return values as (M,) float64.

    Raises:
        ShapeError: if the shape is not (M,).
        NonFiniteError: if a value is NaN or infinite.
    """
    array = read_column(values, name=name, length=length)
    is_missing = np.isnan(array)
    if is_missing.any():
        raise NonFiniteError(
            f"{name} is NaN in {int(is_missing.sum())} of {len(array)} places, first in place "
            f"{int(is_missing.argmax())}. Decide what a missing answer counts, and pass that."
        )
    return array


def read_weights(weights: ArrayLike, *, length: int) -> NDArray[np.float64]:
    """Return weights as (M,) float64.

    Raises:
        ShapeError: if the shape is not (M,).
        NonFiniteError: if a weight is NaN or infinite.
        UsageError: if a weight is negative.
    """
    array = read_finite(weights, name="weights", length=length)
    if (array < 0).any():
        raise UsageError(f"A weight is {array.min()}. Give weights of 0 or more.")
    return array


def read_pairs(
    margin: ArrayLike, label: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return margins, with NaN for no verdict, and labels of 1, 0 or -1, as (M,) float64.

    Raises:
        ShapeError: if they are not both (M,).
        NonFiniteError: if a margin is infinite.
        UsageError: if a label is another number.
    """
    margins = read_column(margin, name="margin")
    labels = read_column(label, name="label", length=len(margins))
    is_wrong = ~np.isin(labels, (-1, 0, 1))
    if is_wrong.any():
        place = int(is_wrong.argmax())
        raise UsageError(
            f"label is {labels[place]} in place {place}. Give 1 where the first is better, -1 "
            "where the second is, and 0 for a tie."
        )
    return margins, labels


def number_clusters(clusters: Iterable[Hashable] | None, *, num: int) -> NDArray[np.intp]:
    """Return the cluster of each value as a number from 0, (M,).

    Args:
        clusters: (M,) what tells clusters apart, numbers or anything hashable; None makes each
            value a cluster of its own.
        num: M.

    Raises:
        ShapeError: if there are more or fewer than M.
    """
    if clusters is None:
        return np.arange(num)
    if isinstance(clusters, np.ndarray) and clusters.ndim == 1 and clusters.dtype != object:
        numbers = np.unique(clusters, return_inverse=True)[1]
    else:
        known: dict[Hashable, int] = {}
        numbers = np.array([known.setdefault(each, len(known)) for each in clusters], dtype=np.intp)
    if len(numbers) != num:
        raise ShapeError(
            f"clusters has {len(numbers)} entries, expected {num}: one for each value."
        )
    return numbers


def cluster_sums(*columns: NDArray[np.float64], numbers: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the sums of columns within clusters, (G, number of columns).

    Args:
        columns: (M,) finite numbers each.
        numbers: (M,) cluster of each, from 0.
    """
    return np.stack([np.bincount(numbers, weights=column) for column in columns], axis=1)
