"""Write a small frame as this pandas pickles it: `python make_frame.py`, once per pandas version.

The pickles beside this file were written so, with pandas 1.0.5 to 3.1.1. Each holds text as
objects, as pandas' own strings and (where pyarrow was installed) as Arrow strings in two pieces,
numbers with a gap, truth values, small dtypes, numpy scalars, and rows taken out of order.
"""

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd

frame = pd.DataFrame(
    {
        "objects": pd.Series(["a red ball", "", "naïve ☃", None], dtype=object),
        "strings": pd.Series(["s0", None, "s2", "s3"], dtype="string"),
        "numbers": [0.25, np.nan, -1.5, 4.0],
        "counts": [7, 8, 9, 10],
        "flags": [True, False, True, False],
        "small": np.array([1, 2, 3, 4], dtype="int16"),
        "scalars": pd.Series([np.float64(1.5), np.int64(2), np.str_("x"), 4.5], dtype=object),
    }
)
pieces = [["a0", None, "ä2"], ["a3"]]
with contextlib.suppress(ImportError, TypeError):  # no pyarrow, or pandas before 1.3
    frame["arrow"] = pd.concat(
        [pd.Series(piece, dtype="string[pyarrow]") for piece in pieces], ignore_index=True
    )
target = Path(__file__).with_name(f"pandas-{pd.__version__}.pkl")
frame.iloc[[2, 0, 1, 3]].to_pickle(target, protocol=4)
