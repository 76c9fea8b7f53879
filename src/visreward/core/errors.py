"""The tree of errors that visreward raises.

VisrewardError
├── UsageError (ValueError)              a wrong argument, option or config value
│   ├── UnknownNameError (KeyError)      a name that no registry knows
│   └── ShapeError                       tensors or arrays of the wrong shape
├── InputError (ValueError)              one sample cannot be scored
│   ├── ImageError                       the image cannot be read
│   └── PromptError                      the prompt cannot be used
├── DataError (ValueError)               a dataset's file or row is wrong
├── WeightsError (RuntimeError)          weights are missing, unexpected or misshapen
│   └── UnsafePickleError                a pickle holds more than plain data
├── ModelNotFoundError (OSError)         a model's files are not at hand
├── NonFiniteError (ArithmeticError)     NaN or infinity in a score or a loss
├── StorageError (OSError)               a disk is full or takes no more
├── JudgeError (RuntimeError)            a judge's endpoint cannot be used any more
│   └── BudgetError                      a judge has spent what it may
├── StoppedError (InterruptedError)      a signal asked a run to stop, and it saved its state
├── RewardServerError (ConnectionError)  a reward server refused, failed or did not answer
└── MissingExtraError (ImportError)      an optional package is not installed

Every message has three parts: what was wrong, the value seen, what to do next.
"""

from __future__ import annotations


class VisrewardError(Exception):
    """Base of every error that visreward raises on purpose.

    Attributes:
        exit_status: What the command line ends with.
    """

    exit_status = 2

    def __str__(self) -> str:
        """Return the message itself, also where a builtin parent would quote it."""
        return str(self.args[0]) if self.args else ""


class UsageError(VisrewardError, ValueError):
    """A wrong argument, option or config value."""


class UnknownNameError(UsageError, KeyError):
    """A name that no registry knows."""


class ShapeError(UsageError):
    """Tensors or arrays of the wrong shape."""


class InputError(VisrewardError, ValueError):
    """One sample cannot be scored; the others can."""


class ImageError(InputError):
    """An image cannot be read."""


class PromptError(InputError):
    """A prompt cannot be used by the model."""


class DataError(VisrewardError, ValueError):
    """A dataset's file or row is wrong."""


class WeightsError(VisrewardError, RuntimeError):
    """Weights are missing, unexpected, misshapen or not finite."""


class UnsafePickleError(WeightsError):
    """A pickle holds more than plain data and was not loaded."""


class ModelNotFoundError(VisrewardError, OSError):
    """A model's files are not at hand."""


class NonFiniteError(VisrewardError, ArithmeticError):
    """A score or a loss is NaN or infinite."""


class StorageError(VisrewardError, OSError):
    """A disk is full, or takes no more for another reason."""


class JudgeError(VisrewardError, RuntimeError):
    """A judge's endpoint cannot be used any more; what it has answered is kept."""


class BudgetError(JudgeError):
    """A judge has spent what it may; what it has answered is kept."""


class StoppedError(VisrewardError, InterruptedError):
    """A signal asked a run to stop; its state is saved.

    The exit status is the signal's number plus 128, as shells and schedulers know it.
    """


class RewardServerError(VisrewardError, ConnectionError):
    """A reward server refused a request, failed at it, or did not answer.

    Attributes:
        code: Of the server's catalogue, or None where it gave none.
        status: HTTP status of a request that failed as a whole, or None.
    """

    def __init__(self, *args: object, code: str | None = None, status: int | None = None) -> None:
        super().__init__(*args)
        self.code = code
        self.status = status


class MissingExtraError(VisrewardError, ImportError):
    """An optional package is not installed."""


def missing_extra(package: str, extra: str) -> MissingExtraError:
    """Return the error that names a missing optional package and the extra that brings it."""
    return MissingExtraError(
        f"This needs the package '{package}', which is not installed. "
        f"Install it with: pip install 'visreward[{extra}]'"
    )
