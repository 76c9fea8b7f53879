"""The tree of errors: what each class is besides, and what its text shows."""

from __future__ import annotations

import inspect
import pickle

import pytest

from visreward.core import errors
from visreward.core.errors import UnknownNameError, VisrewardError, missing_extra

BUILTIN_PARENTS: dict[str, type[Exception]] = {
    "UsageError": ValueError,
    "UnknownNameError": KeyError,
    "ShapeError": ValueError,
    "InputError": ValueError,
    "ImageError": ValueError,
    "PromptError": ValueError,
    "DataError": ValueError,
    "WeightsError": RuntimeError,
    "UnsafePickleError": RuntimeError,
    "ModelNotFoundError": OSError,
    "NonFiniteError": ArithmeticError,
    "StorageError": OSError,
    "JudgeError": RuntimeError,
    "BudgetError": RuntimeError,
    "StoppedError": InterruptedError,
    "RewardServerError": ConnectionError,
    "MissingExtraError": ImportError,
}

PROJECT_PARENTS = {
    "UnknownNameError": "UsageError",
    "ShapeError": "UsageError",
    "ImageError": "InputError",
    "PromptError": "InputError",
    "UnsafePickleError": "WeightsError",
    "BudgetError": "JudgeError",
}


def error_classes() -> dict[str, type[VisrewardError]]:
    return {
        name: member
        for name, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, VisrewardError) and member is not VisrewardError
    }


def test_every_error_class_has_an_expected_builtin_parent() -> None:
    assert set(error_classes()) == set(BUILTIN_PARENTS)


@pytest.mark.parametrize("name", sorted(BUILTIN_PARENTS))
def test_error_is_caught_as_its_builtin_and_its_project_parent(name: str) -> None:
    error_class = error_classes()[name]
    assert issubclass(error_class, BUILTIN_PARENTS[name])
    parent = PROJECT_PARENTS.get(name, "VisrewardError")
    assert issubclass(error_class, getattr(errors, parent))


@pytest.mark.parametrize("name", sorted(BUILTIN_PARENTS))
def test_error_text_is_the_message_itself(name: str) -> None:
    message = "Unknown model 'x'. List all with: visreward models list"
    error = error_classes()[name](message)
    assert str(error) == message
    assert str(error_classes()[name]()) == ""


@pytest.mark.parametrize("name", sorted(BUILTIN_PARENTS))
def test_error_keeps_class_and_message_between_processes(name: str) -> None:
    error = error_classes()[name]("what, seen, next")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == "what, seen, next"


def test_unknown_name_error_text_has_no_quotes_of_key_error() -> None:
    assert str(KeyError("plain")) == "'plain'"
    assert str(UnknownNameError("plain")) == "plain"


@pytest.mark.parametrize("name", sorted(BUILTIN_PARENTS))
def test_error_tree_in_the_module_text_names_every_class(name: str) -> None:
    assert errors.__doc__ is not None
    assert f"{name} (" in errors.__doc__ or f"{name}  " in errors.__doc__


def test_missing_extra_names_package_and_install_command() -> None:
    error = missing_extra("gradio", "demo")
    assert isinstance(error, ImportError)
    assert "'gradio'" in str(error)
    assert "pip install 'visreward[demo]'" in str(error)
