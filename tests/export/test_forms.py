from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from gnas.errors import ConfigError, DataError, UnsupportedError
from gnas.export import FORMS, export, metadata
from gnas.export.names import SUFFIXES, Form
from gnas.export.programs import export_pt2
from gnas.models import NetworkMetadata, load_network, num_params
from gnas.spaces import SPACES, space_of_record, space_of_text
from tests.export.networks import odd, trained

SMALLEST = {
    "nasbench101": (
        "input,conv1x1-bn-relu,maxpool3x3,output|37",
        {"num_stacks": 1, "cells_per_stack": 1},
    ),
    "nasbench201": (
        "|nor_conv_1x1~0|+|none~0|avg_pool_3x3~1|+|none~0|skip_connect~1|none~2|",
        {"cells_per_stage": 1},
    ),
    "nasgem": ("conv_1x1,dw_sep_conv_3x3,conv_1x1|7", {"num_stages": 2}),
    "toponas": (
        "Genotype(normal=[('skip_connect', 0), ('dil_conv_3x3', 1)], normal_concat=[2], "
        "reduce=[('max_pool_3x3', 0), ('avg_pool_3x3', 1)], reduce_concat=[2])",
        {"num_cells": 3, "auxiliary": True},
    ),
}


def smallest(name: str, size: int = 9) -> NetworkMetadata:
    text, form = SMALLEST[name]
    space = space_of_text(text)
    config = space.network_config(num_classes=4, **form)
    return NetworkMetadata(space=space, architecture=text, config=config, image_size=size)


FED = {
    "mean": (0.1, 0.25, 0.3),
    "std": (0.5, 0.4, 1 / 3),
    "classes": ("cat", 'a "dog"', "eel's", "\u00fc\u2028\U0001f41f"),
}
"""What networks for three channels and four classes are fed and give, with odd names."""


def program(form: str, path: Path) -> tuple[Callable[[Tensor], Tensor], dict[str, str]]:
    """An exported program, and the metadata in its file."""
    if form == "pt2":
        extra = {"gnas.json": ""}
        read = torch.export.load(path, extra_files=extra).module()
        return (lambda images: read(images)), json.loads(extra["gnas.json"])
    session = onnxruntime.InferenceSession(path)
    return (
        lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0]),
        session.get_modelmeta().custom_metadata_map,
    )


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_programs_of_one_size(form: Form, name: str, tmp_path: Path) -> None:
    """They compute what the network does, and say what to feed them."""
    facts = replace(smallest(name), **FED)  # type: ignore[arg-type]  # of one kind each
    network, path = trained(facts), tmp_path / f"net.{form}"
    done = export(network, facts, form, path)
    tolerance = 1e-4 if form == "onnx" else 1e-5
    assert done.largest_difference is not None and done.largest_difference < tolerance
    assert list(tmp_path.iterdir()) == list(done.files)  # weights are inside
    run, told = program(form, path)
    images = torch.randn(5, *facts.input_shape)  # any number of images
    with torch.no_grad():
        expected = network.eval()(images)
    torch.testing.assert_close(run(images), expected, rtol=1e-5, atol=tolerance)
    with pytest.raises(Exception, match=r"(?i)dimension|shape|guard"):
        run(torch.randn(2, 3, 24, 24))
    assert told == metadata(facts)
    assert tuple(json.loads(told["classes"])) == FED["classes"]
    assert (json.loads(told["mean"]), json.loads(told["std"])) == (
        list(FED["mean"]), list(FED["std"]),
    )  # fmt: skip
    assert (told["image_size"], told["num_classes"]) == ("9", "4")
    assert told["architecture"] == facts.architecture
    space = space_of_record(json.loads(told["space"]))
    assert space == facts.space
    assert json.loads(told["axes"]) == {"0": "batch"}
    if form == "onnx":
        assert onnx_ends(path) == [("images", ["batch", 3, 9, 9]), ("logits", ["batch", 4])]


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_programs_of_any_size(form: Form, name: str, tmp_path: Path) -> None:
    facts = smallest(name, 16)
    network = trained(facts)
    path = tmp_path / f"net.{form}"
    export(network, facts, form, path, dynamic_size=True)
    run, told = program(form, path)
    assert json.loads(told["axes"]) == {"0": "batch", "2": "height", "3": "width"}
    for count, height, width in ((1, 16, 16), (5, 24, 19), (2, 13, 32)):
        images = torch.randn(count, 3, height, width)
        with torch.no_grad():
            expected = network.eval()(images)
        torch.testing.assert_close(run(images), expected, rtol=1e-4, atol=1e-4)
    if form == "onnx":
        size = ["batch", 3, "height", "width"]
        assert onnx_ends(path) == [("images", size), ("logits", ["batch", 4])]


def onnx_ends(path: Path) -> list[tuple[str, list[str | int]]]:
    """Names and shapes of what an ONNX program takes and gives."""
    session = onnxruntime.InferenceSession(path)
    return [(end.name, end.shape) for end in (*session.get_inputs(), *session.get_outputs())]


def test_safetensors_folder_without_the_auxiliary_head(tmp_path: Path) -> None:
    facts = smallest("toponas", 16)
    network = trained(facts)
    done = export(network, facts, "safetensors", tmp_path / "folder")
    loaded, found = load_network(tmp_path / "folder")
    assert not any("auxiliary" in name for name in loaded.state_dict())
    assert found.architecture == facts.architecture
    assert done.params == num_params(network)
    assert done.input_shape == (3, 16, 16)
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(loaded(images), network.eval()(images))


def test_the_caller_keeps_its_network(tmp_path: Path) -> None:
    facts = odd("no separable convolution")
    network = trained(facts)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export(network, facts, "python", tmp_path / "net.py")
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class _Deceives(nn.Module):
    """Gives other logits when it is traced."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) * (1.1 if torch.compiler.is_exporting() else 1.0)


def test_a_program_that_disagrees_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"must agree with the network, but outputs up to .* differ"
    ):
        export_pt2(_Deceives(), (3, 4, 4), tmp_path / "net.pt2", metadata={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_a_program_that_cannot_be_run_is_not_kept(
    form: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As PyTorch's programs of any size before its version 2.13, and ONNX of other versions."""

    def fails(*_: Any, **__: Any) -> None:
        raise AssertionError("Guard failed:\nsize % 2 != 0")

    monkeypatch.setattr("gnas.export.programs._difference_at", fails)
    facts = smallest("nasgem")
    wanted = "must be able to hold .*: AssertionError: Guard failed: size % 2 != 0; write its"
    with pytest.raises(UnsupportedError, match=wanted):
        export(trained(facts), facts, form, tmp_path / f"net{SUFFIXES[form]}")
    assert not list(tmp_path.iterdir())


def test_what_is_refused(tmp_path: Path) -> None:
    facts = smallest("nasgem")
    network = trained(facts)
    with pytest.raises(ConfigError, match=r"the form must be one of .* but got 'tflite'"):
        export(network, facts, "tflite", tmp_path / "x")  # type: ignore[arg-type]
    for form in FORMS:
        if SUFFIXES[form]:
            with pytest.raises(ConfigError, match=f"'{form}' must end in {SUFFIXES[form]}"):
                export(network, facts, form, tmp_path / "net.bin")
            (tmp_path / f"folder{SUFFIXES[form]}").mkdir()
            with pytest.raises(ConfigError, match=r"must be a file, but .* is a folder"):
                export(network, facts, form, tmp_path / f"folder{SUFFIXES[form]}")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"must be a folder, but .*file is a file"):
        export(network, facts, "safetensors", tmp_path / "file")


def test_onnx_without_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    facts = smallest("nasgem")
    with pytest.raises(UnsupportedError, match=r"needs onnxscript; install it: pip install 'gnas"):
        export(trained(facts), facts, "onnx", tmp_path / "net.onnx")
