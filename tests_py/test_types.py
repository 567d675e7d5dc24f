"""The stubs say what the binaries do."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

MODULES = ["voicecore._core", "voicecore._codec"]

PYBIND11S_OWN = (
    "is inconsistent, metaclass differs",
    # Classes without a constructor take anything until they refuse it.
    '__init__ is inconsistent, stub does not have *args parameter "args"',
    "__pybind11_native_enum__ is not present in stub",
)


def test_the_package_says_that_it_is_typed() -> None:
    assert files("voicecore").joinpath("py.typed").is_file()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("module", MODULES)
def test_stubs_match_the_binaries(module: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", module, "--concise"],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        cwd="/",
    )
    assert not result.stderr
    said = [line for line in result.stdout.splitlines() if not line.endswith(PYBIND11S_OWN)]
    assert said == []


def parameters_in_docstring(function: Any) -> list[str]:
    """As pybind11 writes them into the first line: "name(self: X, a: int, b: str = 'c') -> X"."""
    signature = re.match(r"\w+\((.*)\) -> ", function.__doc__ or "")
    assert signature is not None, function
    depth, names, word = 0, [], ""
    for letter in signature[1] + ",":
        depth += letter in "([{"
        depth -= letter in ")]}"
        if letter == "," and depth == 0:
            names.append(word.split(":")[0].strip())
            word = ""
        else:
            word += letter
    return [name for name in names if name]


def functions_of(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                # A property has no signature.
                if isinstance(inner, ast.FunctionDef) and not inner.decorator_list:
                    yield f"{node.name}.{inner.name}", inner


@pytest.mark.parametrize("module", MODULES)
def test_stubs_name_the_parameters_of_the_binaries(module: str) -> None:
    # pybind11's functions have no signature that stubtest could read.
    binary = importlib.import_module(module)
    stub = files("voicecore").joinpath(f"{module.rpartition('.')[2]}.pyi").read_text()
    compared = 0
    for name, node in functions_of(ast.parse(stub)):
        found: Any = binary
        for part in name.split("."):
            found = getattr(found, part)
        if name.endswith("__init__") and "Overloaded" in (found.__doc__ or ""):
            continue
        actual = parameters_in_docstring(found)
        stubbed = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
        if actual and re.fullmatch(r"self|arg0", actual[0]) and stubbed[:1] == ["self"]:
            actual, stubbed = actual[1:], stubbed[1:]
        assert len(actual) == len(stubbed), (name, actual, stubbed)
        for position, (real, told) in enumerate(zip(actual, stubbed, strict=True)):
            unnamed = re.fullmatch(r"arg\d+", real)
            assert unnamed or real == told, (name, position, actual, stubbed)
        compared += 1
    assert compared > 0
