"""Environments of rivals: what is listed, found and refused; nothing is downloaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parmlp.study import peers
from parmlp.study.implementations import IMPLEMENTATIONS


def test_every_rival_has_pinned_requirements(tmp_path: Path) -> None:
    found = {peer.name: peer for peer in peers.peers(tmp_path)}
    assert {i.venv for i in IMPLEMENTATIONS.values() if i.venv} == set(found)
    for peer in found.values():
        assert peer.python is None
        assert peer.implementations
        assert all("==" in pin for pin in peer.pins)
    assert "Theano==1.0.5" in found["theano"].pins


def test_an_environment_is_made_and_its_pins_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def create(target: Path, **options: Any) -> None:
        (target / "bin").mkdir(parents=True)
        (target / "bin" / "python").touch()

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, returncode=0)

    monkeypatch.setattr(peers.venv, "create", create)
    monkeypatch.setattr(peers.subprocess, "run", run)
    assert peers.install(tmp_path, ["jax"]) == 0
    python = str(tmp_path / "jax" / "bin" / "python")
    assert commands == [[python, "-m", "pip", "install", "-r", str(peers.requirements()["jax"])]]
    assert peers.interpreters(tmp_path) == {"jax": python}


def test_gigabytes_for_a_gpu_are_installed_by_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def make(target: Path, name: str, file: Path) -> bool:
        made.append(name)
        return True

    monkeypatch.setattr(peers, "_install_one", make)
    assert peers.install(tmp_path, []) == 0
    assert made == ["jax", "numpy", "pytensor", "theano", "torch"]
    made.clear()
    assert peers.install(tmp_path, ["torch_gpu"]) == 0
    assert made == ["torch_gpu"]


def test_theano_without_its_python_is_a_failure_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    monkeypatch.setattr(peers.venv, "create", lambda target, **options: None)
    monkeypatch.setattr(
        peers.subprocess, "run", lambda c, check: subprocess.CompletedProcess(c, returncode=0)
    )
    assert peers.install(tmp_path, ["theano", "jax"]) == 1
    assert "theano needs python3.11, which is not on the PATH" in capsys.readouterr().err


def test_an_unknown_environment_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no environment keras; there are jax, .*theano"):
        peers.install(tmp_path, ["keras"])
    assert list(tmp_path.iterdir()) == []


def test_the_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PARMLP_PEERS", str(tmp_path))
    assert peers.default_folder() == tmp_path
    monkeypatch.delenv("PARMLP_PEERS")
    monkeypatch.setenv("PARMLP_CACHE", str(tmp_path))
    assert peers.default_folder() == tmp_path / "peers"
