"""What all readers share: the problem log, file listings, paths, optional packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from visreward.core.errors import DataError, MissingExtraError
from visreward.data.base import (
    DatasetReport,
    Problem,
    ProblemLog,
    list_files,
    load_optional,
    path_inside,
    read_parquet,
    write_parquet,
)


def test_problem_log_keeps_first_examples_and_counts_all() -> None:
    log = ProblemLog()
    log.add("broken", (f"row {i}" for i in range(15)))
    log.add("odd", ["x"], is_warning=True)
    log.add("broken", (f"more {i}" for i in range(100)), count=100)
    broken, odd = log.problems()
    assert (broken.kind, broken.count, broken.is_warning) == ("broken", 115, False)
    assert broken.examples == tuple(f"row {i}" for i in range(15)) + tuple(
        f"more {i}" for i in range(5)
    )
    assert odd == Problem(kind="odd", count=1, examples=("x",), is_warning=True)


def test_problem_log_takes_no_more_examples_than_it_keeps() -> None:
    taken = []

    def examples() -> Iterator[str]:
        for i in range(1000):
            taken.append(i)
            yield str(i)

    log = ProblemLog()
    log.add("broken", examples(), count=1000)
    assert len(taken) == 20


def test_problem_log_nothing_found_is_no_problem() -> None:
    log = ProblemLog()
    log.add("broken", [])
    log.add("broken", [], count=0)
    assert log.problems() == ()


@pytest.mark.parametrize(("is_warning", "ok"), [(True, True), (False, False)])
def test_report_is_ok_unless_a_problem_is_more_than_a_warning(is_warning: bool, ok: bool) -> None:
    problem = Problem(kind="k", count=1, examples=(), is_warning=is_warning)
    report = DatasetReport(dataset="d", path=Path("p"), counts={}, problems=(problem,))
    assert report.ok is ok


def test_list_files_gives_relative_names_at_all_depths(tmp_path: Path) -> None:
    for name in ("a.png", "b/c.png", "b/d/e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    assert sorted(list_files(tmp_path)) == ["a.png", "b/c.png", "b/d/e.png"]
    assert list_files(tmp_path / "absent") == []


@pytest.mark.parametrize("name", ["a.png", "b/c.png", "./a.png", "..a"])
def test_path_inside_relative_name_is_joined(name: str) -> None:
    assert path_inside(Path("/data"), name) == Path("/data") / name


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "b/../../a", "/etc/passwd"])
def test_path_inside_name_that_leads_out_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="does not lead into the folder '/data'"):
        path_inside(Path("/data"), name)


def test_load_optional_missing_package_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"'no_such_package'.*visreward\[train\]"):
        load_optional("no_such_package.part", extra="train")


def test_write_parquet_interrupted_leaves_the_old_file(tmp_path: Path) -> None:
    arrow = load_optional("pyarrow", extra="train")
    file = tmp_path / "new" / "table.parquet"
    write_parquet(arrow.table({"a": [1]}), file)

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_parquet(arrow.table({"a": [2, 3]}), file, progress=stop)
    assert read_parquet(file).column("a").to_pylist() == [1]


def test_read_parquet_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.parquet' cannot be read"):
        read_parquet(tmp_path / "absent.parquet")
