"""Registries: lazy entries, and errors that name the nearest right name."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visreward.core.errors import UnknownNameError, UsageError
from visreward.core.registry import Registry, closest_name, unknown_name

MODELS = ("clipscore", "hp", "hpsv2", "hpsv3", "ict", "ict-hp", "pickscore")


@pytest.fixture
def registry() -> Registry[type[Fraction]]:
    """Return a registry of number classes with one entry, which is at hand."""
    registry: Registry[type[Fraction]] = Registry("number", list_with="visreward numbers list")
    registry.register("fraction", Fraction)
    return registry


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hpsv33", "hpsv3"),
        ("HPSv3", "hpsv3"),
        ("ict_hp", "ict-hp"),
        ("icthp", "ict-hp"),
        ("clip-score", "clipscore"),
        ("pikscore", "pickscore"),
        ("ict", "ict"),
        ("stable-diffusion", None),
        ("", None),
    ],
)
def test_closest_name_of_misspelt_name_is_the_right_one(name: str, expected: str | None) -> None:
    assert closest_name(name, MODELS) == expected


def test_closest_name_of_two_equally_close_is_the_first_in_the_alphabet() -> None:
    assert closest_name("hpsv", ("hpsv3", "hpsv2")) == closest_name("hpsv", ("hpsv2", "hpsv3"))


def test_closest_name_with_nothing_known_is_none() -> None:
    assert closest_name("ict", ()) is None


@given(name=st.text(), known=st.lists(st.text()))
def test_closest_name_of_any_text_is_known_or_none(name: str, known: list[str]) -> None:
    closest = closest_name(name, known)
    assert closest is None or closest in known


@given(known=st.lists(st.sampled_from(MODELS), min_size=1))
def test_closest_name_of_a_known_name_is_itself(known: list[str]) -> None:
    assert closest_name(known[0], known) == known[0]


def test_unknown_name_with_a_close_one_offers_it() -> None:
    error = unknown_name("model", name="hpsv33", known=MODELS, list_with="visreward models list")
    assert isinstance(error, UnknownNameError)
    assert str(error) == (
        "Unknown model 'hpsv33'. Did you mean 'hpsv3'? List all with: visreward models list"
    )


def test_unknown_name_without_a_close_one_says_how_to_list() -> None:
    error = unknown_name("model", name="zebra", known=MODELS, list_with="visreward models list")
    assert str(error) == "Unknown model 'zebra'. List all with: visreward models list"


def test_registry_get_returns_the_registered_object(registry: Registry[type[Fraction]]) -> None:
    assert registry.get("fraction") is Fraction
    assert "fraction" in registry
    assert "decimal" not in registry


def test_registry_lists_names_in_order(registry: Registry[type[Fraction]]) -> None:
    registry.register("a-first", Fraction)
    assert registry.names() == ("a-first", "fraction")
    assert list(registry) == ["a-first", "fraction"]
    assert len(registry) == 2


def test_registry_lazy_entry_is_imported_once_at_get(
    registry: Registry[type[Fraction]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lazy_entry_module.py").write_text("class Lazy: ...\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    registry.register("lazy", "lazy_entry_module:Lazy")
    assert registry.names() == ("fraction", "lazy")
    assert "lazy_entry_module" not in sys.modules
    lazy = registry.get("lazy")
    assert lazy.__name__ == "Lazy"
    monkeypatch.delitem(sys.modules, "lazy_entry_module")
    assert registry.get("lazy") is lazy


def test_registry_get_unknown_name_raises_with_hint(registry: Registry[type[Fraction]]) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'fraction'"):
        registry.get("fractions")


def test_registry_get_with_missing_module_raises_import_error(
    registry: Registry[type[Fraction]],
) -> None:
    registry.register("gone", "no_such_module_at_all:Thing")
    with pytest.raises(ImportError, match="no_such_module_at_all"):
        registry.get("gone")


def test_registry_name_twice_is_refused(registry: Registry[type[Fraction]]) -> None:
    with pytest.raises(UsageError, match="'fraction' is registered twice"):
        registry.register("fraction", Fraction)


@pytest.mark.parametrize("name", ["", "Fraction", "a_b", "-a", "a-", "a--b", "a b"])
def test_registry_name_not_lower_case_with_dashes_is_refused(
    registry: Registry[type[Fraction]], name: str
) -> None:
    with pytest.raises(UsageError, match="lower case with dashes"):
        registry.register(name, Fraction)


@pytest.mark.parametrize("name", ["ict", "ict-hp", "hpsv2.1", "qwen2.5-vl", "3d"])
def test_registry_name_in_house_style_is_accepted(
    registry: Registry[type[Fraction]], name: str
) -> None:
    registry.register(name, Fraction)
    assert registry.get(name) is Fraction


@pytest.mark.parametrize("entry", ["module", "module:", ":name", "a:b:c", "a b:c", ".a:b"])
def test_registry_text_that_is_no_import_is_refused(
    registry: Registry[type[Fraction]], entry: str
) -> None:
    with pytest.raises(UsageError, match="module:attribute"):
        registry.register("entry", entry)
