"""The container file and the systemd unit against the project: sources, options, signals, times."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from visreward.cli.main import load_command
from visreward.serving.settings import ServerSettings


@pytest.fixture
def instructions(project_dir: Path) -> list[tuple[str, str]]:
    """Return the container file as (instruction, argument) pairs."""
    text = (project_dir / "deploy" / "Containerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    pairs = [line.split(maxsplit=1) for line in joined]
    return [(name, argument) for name, argument in pairs]


@pytest.fixture
def unit(project_dir: Path) -> dict[str, list[str]]:
    """Return the [Service] section: all values of each key."""
    found: dict[str, list[str]] = {}
    text = (project_dir / "deploy" / "visreward.service").read_text()
    section = text.partition("[Service]\n")[2].partition("[Install]")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def refused_options(arguments: list[str]) -> list[str]:
    """Return the options of a command line that `visreward` does not know."""
    command = load_command(arguments[0])
    known = {name for parameter in command.params for name in parameter.opts}
    return [each for each in arguments[1:] if each.startswith("-") and each not in known]


def test_container_every_copied_source_exists_and_is_not_ignored(
    instructions: list[tuple[str, str]], project_dir: Path
) -> None:
    ignored = (project_dir / "deploy" / "Containerfile.containerignore").read_text().splitlines()
    copied = [
        source
        for name, argument in instructions
        if name == "COPY" and "--from" not in argument
        for source in argument.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (project_dir / source).exists()
        assert f"!{source}" in ignored
    assert ignored[0] == "**"


def test_container_runs_serve_in_exec_form_with_options_that_exist(
    instructions: list[tuple[str, str]],
) -> None:
    final = dict(instructions)
    program, *arguments = json.loads(final["ENTRYPOINT"]) + json.loads(final["CMD"])

    assert program == "visreward"
    assert refused_options(arguments) == []
    assert final["STOPSIGNAL"] == "SIGTERM"
    assert arguments[arguments.index("--port") + 1] == final["EXPOSE"]


def test_container_is_not_root_and_its_check_asks_for_ready_without_a_shell(
    instructions: list[tuple[str, str]],
) -> None:
    names = [name for name, _ in instructions]
    final = dict(instructions)
    assert int(final["USER"]) > 0
    assert names.index("USER") < names.index("ENTRYPOINT")

    check = json.loads(final["HEALTHCHECK"].partition("CMD ")[2])
    assert check[:2] == ["python", "-c"]
    assert f"127.0.0.1:{final['EXPOSE']}/ready" in check[2]
    # Nothing answers here: the check must say so by its status.
    check[2] = check[2].replace(final["EXPOSE"], "1")
    done = subprocess.run([sys.executable, *check[1:]], capture_output=True, check=False)
    assert done.returncode != 0


def test_container_every_stage_has_one_base_of_a_named_release(
    instructions: list[tuple[str, str]],
) -> None:
    (base,) = [
        argument for name, argument in instructions if name == "ARG" and argument.startswith("BASE")
    ]
    assert re.fullmatch(r"BASE=docker\.io/library/python:3\.\d+-slim-[a-z]+", base)
    assert {argument.split()[0] for name, argument in instructions if name == "FROM"} == {"${BASE}"}


def test_container_docs_build_in_the_format_that_keeps_the_health_check(project_dir: Path) -> None:
    # An OCI image has none, and podman makes one unless it is told otherwise.
    for path in ("docs/deploy.md", "deploy/Containerfile"):
        builds = re.findall(r"podman build.*", (project_dir / path).read_text())
        assert builds
        assert all("--format docker" in line for line in builds)


def test_container_extras_are_those_of_the_project(
    instructions: list[tuple[str, str]], project_dir: Path
) -> None:
    import tomllib

    (extras,) = [
        re.search(r"'\.\[([a-z,]+)\]'", argument).group(1).split(",")  # type: ignore[union-attr]
        for name, argument in instructions
        if name == "RUN" and "'.[" in argument
    ]
    project = tomllib.loads((project_dir / "pyproject.toml").read_text())["project"]
    assert "serve" in extras
    assert set(extras) <= set(project["optional-dependencies"])


def test_unit_runs_serve_with_options_that_exist(unit: dict[str, list[str]]) -> None:
    program, *arguments = shlex.split(unit["ExecStart"][0])

    assert Path(program).name == "visreward"
    assert refused_options(arguments) == []


def test_unit_leaves_more_time_than_the_server_drains(unit: dict[str, list[str]]) -> None:
    arguments = shlex.split(unit["ExecStart"][0])
    drain_s = float(arguments[arguments.index("--drain-s") + 1])

    assert drain_s == ServerSettings.__dataclass_fields__["drain_s"].default
    assert float(unit["TimeoutStopSec"][0]) >= drain_s + 10
    assert unit["KillMode"] == ["mixed"]
    assert unit["Restart"] == ["on-failure"]


def test_unit_passes_systemd_analyze(project_dir: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    text = (project_dir / "deploy" / "visreward.service").read_text()
    copy = tmp_path / "visreward.service"
    copy.write_text(text.replace("/opt/visreward/bin/visreward", "/bin/true"))

    done = subprocess.run(
        [analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )

    said = [line for line in done.stderr.splitlines() if "visreward" in line]
    assert said == []
