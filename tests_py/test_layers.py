"""Who may include whom: the layers of cpp/voicecore, read from its #include lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CPP = Path(__file__).resolve().parent.parent / "cpp"
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)

ALLOWED: dict[str, set[str]] = {
    "base": set(),
    "audio": {"base"},
    "sources": {"base", "audio"},
    "opus": {"base", "audio"},
    "pipeline": {"base", "audio", "opus"},
    "codec": {"base", "audio"},
    "transport": {"base", "audio"},
    "playback": {"base", "audio"},
    "command": {"base"},
    "engine": {"base", "audio", "sources", "opus", "pipeline", "transport", "playback", "command"},
}

# The one layer that may see each C library.
LIBRARIES: dict[str, set[str]] = {
    r"opus/": {"opus"},
    r"libav\w+/|libsw\w+/": {"codec"},
    r"openssl/": {"codec"},
    r"sodium|ogg/": {"transport"},
    r"sqlite3": {"command"},
    r"[Pp]ython\.h|pybind11/": set(),
}


def sources(layer: str) -> list[Path]:
    return [p for p in (CPP / "voicecore" / layer).rglob("*") if p.suffix in {".cpp", ".hpp"}]


def test_every_folder_is_a_known_layer() -> None:
    folders = {p.name for p in (CPP / "voicecore").iterdir() if p.is_dir()}
    assert folders == set(ALLOWED)


@pytest.mark.parametrize("layer", sorted(ALLOWED))
def test_a_layer_includes_only_what_it_may(layer: str) -> None:
    assert sources(layer)
    wrong = []
    for path in sources(layer):
        for include in INCLUDE.findall(path.read_text()):
            if match := re.match(r"voicecore/(\w+)/", include):
                if match[1] != layer and match[1] not in ALLOWED[layer]:
                    wrong.append(f"{path.relative_to(CPP)}: {include}")
                continue
            for library, layers in LIBRARIES.items():
                if re.match(library, include) and layer not in layers:
                    wrong.append(f"{path.relative_to(CPP)}: {include}")
    assert wrong == []


def test_only_bindings_know_python_and_nothing_includes_them() -> None:
    for path in (CPP / "voicecore").rglob("*.?pp"):
        assert "bindings" not in " ".join(INCLUDE.findall(path.read_text())), path
