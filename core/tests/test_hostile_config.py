"""Configuration files and environments that no careful person makes: each is an error with words, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.config import load
from fairlead.errors import ConfigError

FILES: dict[str, bytes] = {
    "NUL in the name of a secret": b'[providers.openai]\napi_key = { file = "a\\u0000b" }\n',
    "home of nobody in a secret": b'[providers.openai]\napi_key = { file = "~nobody-here/key" }\n',
    "home of nobody": b'data_dir = "~nobody-here/data"\n',
    "20,000 lists in each other": b"x = " + b"[" * 20_000 + b"]" * 20_000,
    "integer of 5,000 digits": b"[limits]\nsteps = " + b"9" * 5_000,
    "time that is no number": b"[limits]\nseconds = nan\n",
    "another encoding": "[limits]".encode("utf-16"),
    "key of 5,000 parts": b"a" + b".a" * 5_000 + b" = 1",
}


@pytest.mark.parametrize("name", FILES)
def test_file_that_cannot_be_used_is_a_config_error(name: str, tmp_path: Path) -> None:
    """It says what is wrong and what to do."""
    file = tmp_path / "fairlead.toml"
    file.write_bytes(FILES[name])
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    assert caught.value.next_step


@pytest.mark.parametrize("path", ["a\0b", "~nobody-here/fairlead.toml"])
def test_path_that_cannot_be_is_a_config_error(path: str) -> None:
    """As it stands in an argument."""
    with pytest.raises(ConfigError):
        load(path, environ={})


@pytest.mark.parametrize("variable", ["FAIRLEAD_CONFIG", "FAIRLEAD_DATA"])
def test_environment_that_names_no_home_is_a_config_error(variable: str) -> None:
    """As it stands in a variable."""
    with pytest.raises(ConfigError):
        load(environ={variable: "~nobody-here/x"})
