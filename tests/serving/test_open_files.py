from __future__ import annotations

import resource

import pytest

from visreward.serving.run import allow_open_files

SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)


@pytest.mark.parametrize("before", [256, 1024])
def test_allow_open_files_takes_what_the_system_grants(before: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, HARD))
    try:
        allow_open_files()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
    assert hard == HARD
    assert soft == (65_536 if HARD == resource.RLIM_INFINITY else min(HARD, 65_536))


def test_allow_open_files_leaves_a_higher_limit() -> None:
    if HARD != resource.RLIM_INFINITY and HARD < 70_000:
        pytest.skip(f"this user may open {HARD} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (70_000, HARD))
    try:
        allow_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 70_000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
