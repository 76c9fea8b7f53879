"""Metrics load with numpy alone."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

from visreward.evaluation import metrics


def test_metrics_import_neither_torch_nor_scipy() -> None:
    names = [each.name for each in pkgutil.iter_modules(metrics.__path__, f"{metrics.__name__}.")]
    assert len(names) >= 10
    program = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        "print(sorted({'torch', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
