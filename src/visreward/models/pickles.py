"""Read pickled weights in a process of their own; the only place where a pickle is opened.

The child reads with `weights_only=True`, which builds tensors and plain containers and nothing
else. As a second wall it refuses network, processes and writing from the moment before it opens
the pickle. What reaches this process is a safetensors file and one line of JSON.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from visreward.core.errors import UnsafePickleError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Sequence

TIME_LIMIT_S: Final = 1200.0
STATE_DICT: Final = "state_dict"

_KEPT_VARIABLES: Final = ("LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
_REFUSED_EVENTS: Final = (
    "socket.",
    "subprocess.",
    "shutil.",
    "ctypes.",
    "os.system",
    "os.exec",
    "os.spawn",
    "os.posix_spawn",
    "os.fork",
    "os.startfile",
    "os.putenv",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
)
_GLOBAL: Final = re.compile(r"(?:GLOBAL|class|function|global)\s+`?([A-Za-z_][\w.]*)")


def convert_pickle(path: Path, *, output: Path, time_limit_s: float = TIME_LIMIT_S) -> list[str]:
    """Write the tensors of a pickled state dict to a safetensors file.

    Args:
        path: A file of `torch.save`, in its zip or its older layout; the state dict may lie under
            the key `state_dict`.
        output: The safetensors file to write.
        time_limit_s: After how many seconds to give up.

    Returns:
        What lies beside a nested state dict, by name, and is left out.

    Raises:
        UnsafePickleError: if the pickle holds more than tensors and plain containers.
        WeightsError: if it cannot be read, or holds no state dict.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(  # noqa: S603  our own module, no shell
                [
                    *(sys.executable, "-P", "-s", "-B", "-m", "visreward.models.pickles"),
                    *(str(path.resolve()), str(output.resolve())),
                ],
                env=_clean_environment(),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=time_limit_s,
                check=False,
                text=True,
            )
        except subprocess.TimeoutExpired as error:
            raise WeightsError(
                f"Reading {path} took longer than {time_limit_s:.0f} s and was stopped. "
                "Copy it to a faster disk, or get it as safetensors."
            ) from error
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        raise WeightsError(
            f"{path} could not be read: the reading process ended with status {done.returncode}. "
            "Check that it is a whole file of torch.save and that there is memory for it."
        )
    answer = json.loads(lines[-1])
    if "unsafe" in answer:
        raise UnsafePickleError(
            f"{path} was not loaded: it holds something other than tensors and plain containers "
            f"({answer['unsafe']}). Get the weights as safetensors, or from another source."
        )
    if "damaged" in answer:
        raise WeightsError(
            f"{path} holds no weights that can be read: {answer['damaged']}. "
            "Copy or download the file again."
        )
    return list(answer["left_out"])


def _clean_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def main(arguments: Sequence[str]) -> None:
    """Convert one pickle and print one line of JSON; runs in the child process."""
    source, output = Path(arguments[0]), Path(arguments[1])
    answer: dict[str, object]
    try:
        is_zip = zipfile.is_zipfile(source)
        sys.addaudithook(_refuse)
        read = torch.load(source, map_location="cpu", weights_only=True, mmap=is_zip)
        tensors, left_out = _state_dict(read)
        save_file(tensors, output, metadata={"format": "pt"})
        answer = {"left_out": left_out}
    except (pickle.UnpicklingError, UnsafePickleError) as error:
        answer = {"unsafe": _reason(error)}
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError) as error:
        # torch's own errors on damaged files, and what a crafted pickle makes of its opcodes.
        answer = {"damaged": _plain(f"{type(error).__name__}: {error}")}
    except OSError as error:
        answer = {"damaged": _plain(str(error))}
    sys.stdout.write(json.dumps(answer) + "\n")


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Stop what reading tensors never needs; an audit hook, so it cannot be taken back."""
    is_writing = (
        event == "open"
        and len(arguments) == 3
        and isinstance(arguments[2], int)
        and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    )
    if is_writing or event.startswith(_REFUSED_EVENTS):
        raise UnsafePickleError(f"tried {event}")


def _state_dict(read: object) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of a state dict, nested or not, and the names beside it."""
    left_out: list[str] = []
    if isinstance(read, Mapping) and isinstance(read.get(STATE_DICT), Mapping):
        left_out = [_plain(str(name)) for name in read if name != STATE_DICT]
        read = read[STATE_DICT]
    if not isinstance(read, Mapping) or not read:
        raise ValueError(f"expected a state dict, found {type(read).__name__}")
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in read.items():
        if not isinstance(name, str) or not name.isprintable() or not isinstance(value, Tensor):
            raise ValueError(f"the entry {name!r} is a {type(value).__name__}, expected a tensor")
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise ValueError(f"the tensor {name!r} is not a plain one")
        tensor = value.detach().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        # safetensors refuses tensors that share memory.
        tensors[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return tensors, sorted(left_out)


def _reason(error: BaseException) -> str:
    """Return what the pickle holds, from torch's long message."""
    found = _GLOBAL.search(str(error))
    if found:
        return found.group(1)
    return _plain(str(error).rpartition("WeightsUnpickler error:")[2])


def _plain(text: str) -> str:
    """Return the first sentence in ASCII; a crafted file must not reach the terminal."""
    first = text.strip().partition("\n")[0].partition(". ")[0]
    return ascii(first)[1:-1][:200]


if __name__ == "__main__":
    main(sys.argv[1:])
