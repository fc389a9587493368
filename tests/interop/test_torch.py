"""`nqz.torch`, and tensors of PyTorch as arrays: `make test-torch`."""

from __future__ import annotations

import io
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

import nqz
import nqz.torch


def test_the_example_of_the_page_of_the_interface(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).resolve().parents[2] / "docs" / "api.md"
    (example,) = re.findall(
        r"^```python torch\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    exec("import nqz\n" + example, {})  # noqa: S102 - it stands in this repository


def gaussian(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
def test_a_tensor_is_encoded_as_its_array(dtype):
    t = gaussian(60, 20, dtype=dtype)
    array = t.float().numpy().astype(ml_dtypes.bfloat16) if dtype == torch.bfloat16 else t.numpy()
    assert nqz.encode(t, rate=4) == nqz.encode(array, rate=4)
    assert nqz.encode(t.T, rate=4) == nqz.encode(array.T, rate=4)
    assert nqz.encode(t[::2, 3:9], rate=4) == nqz.encode(array[::2, 3:9], rate=4)
    assert nqz.encode(torch.nn.Parameter(t), rate=4) == nqz.encode(array, rate=4)
    data = nqz.encode(t, rate=4)
    assert np.array_equal(nqz.matmul(data, t), nqz.matmul(data, array))
    m = nqz.open(data).matrix
    assert np.array_equal(t.T @ m, nqz.matmul(array, data)) and np.array_equal(
        m.T @ t, nqz.matmul(data, array)
    )
    for read in (torch.as_tensor, torch.from_dlpack, torch.asarray):
        assert np.array_equal(read(m).numpy(), m.decode())


def test_what_is_not_in_memory_is_refused():
    with pytest.raises(nqz.UnsupportedError):
        nqz.encode(torch.empty(4, 3, device="meta"), rate=4)
    with pytest.raises(nqz.UnsupportedError):
        nqz.encode(torch.eye(4).to_sparse(), rate=4)


def state():
    return {
        "a.weight": gaussian(64, 48),
        "b.weight": gaussian(32, 48, dtype=torch.bfloat16),
        "h.weight": gaussian(32, 48, dtype=torch.float16).T,
        "q": gaussian(16, 24).to(torch.float8_e4m3fn),
        "bias": gaussian(48, dtype=torch.bfloat16),
        "ids": torch.arange(7),
        "mask": torch.tensor([[True, False]]),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
    }


def test_files_give_back_what_was_saved(tmp_path):
    given = state()
    path = tmp_path / "m.nqz"
    nqz.torch.save_file(given, path, {"format": "pt"}, rate=6)
    found = nqz.torch.load_file(path)
    assert list(found) == list(given)
    for name, tensor in given.items():
        back = found[name]
        assert back.dtype == tensor.dtype and back.shape == tensor.shape
        if tensor.ndim == 2 and tensor.is_floating_point() and tensor.numel():
            error = (back.double() - tensor.double()).square().mean()
            assert error < 0.02, name
        else:
            assert torch.equal(back, tensor)
    with nqz.open(path) as container:
        assert container.metadata == {"format": "pt"} and container["a.weight"].axis == 1
    with pytest.raises(nqz.OutputExistsError, match="force=True"):
        nqz.torch.save_file(given, path, rate=6)
    nqz.torch.save_file(given, path, rate=3, force=True, axis=0, rules={"bias": "exact"})
    assert nqz.open(path)["a.weight"].axis == 0
    stream = io.BytesIO()
    nqz.torch.save_file({"w": gaussian(8, 4)}, stream, rate=5)
    assert list(nqz.torch.load_file(stream.getvalue(), device=torch.device("cpu"))) == ["w"]


def test_tensors_that_share_memory_are_refused(tmp_path):
    w = gaussian(8, 6)
    for given in ({"a": w, "b": w}, {"a": w, "b": w.T}, {"a": w[:5], "b": w[4:]}):
        with pytest.raises(nqz.UsageError, match=r"'a' and 'b' share memory.*save_model"):
            nqz.torch.save_file(given, tmp_path / "m.nqz", rate=5)
    nqz.torch.save_file({"a": w[:4], "b": w[4:]}, tmp_path / "m.nqz", rate=5)
    with pytest.raises(nqz.UnsupportedError, match="to_dense"):
        nqz.torch.save_file({"a": torch.eye(4).to_sparse()}, tmp_path / "n.nqz", rate=5)
    with pytest.raises(nqz.UsageError, match="is no tensor"):
        nqz.torch.save_file({"a": np.ones((3, 3))}, tmp_path / "n.nqz", rate=5)


class Tied(torch.nn.Module):
    """A head that is the embedding."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(40, 32)
        self.norm = torch.nn.LayerNorm(32)
        self.head = torch.nn.Linear(32, 40, bias=False)
        self.head.weight = self.embed.weight


def test_models_keep_tied_tensors_once(tmp_path):
    torch.manual_seed(1)
    model, other = Tied(), Tied()
    nqz.torch.save_model(model, tmp_path / "m.nqz", {"note": "x"}, rate=8)
    with nqz.open(tmp_path / "m.nqz") as container:
        assert sum(tensor.size for tensor in container.values()) == 40 * 32 + 64
        assert container.metadata["note"] == "x"
    assert nqz.torch.load_model(other, tmp_path / "m.nqz") == ([], [])
    assert other.head.weight is other.embed.weight
    assert (other.embed.weight - model.embed.weight).square().mean() < 0.01
    with pytest.raises(RuntimeError, match="Missing key"):
        nqz.torch.load_model(torch.nn.Linear(3, 3), tmp_path / "m.nqz")
    missing, unexpected = nqz.torch.load_model(torch.nn.Linear(3, 3), tmp_path / "m.nqz", strict=False)
    assert missing == ["weight", "bias"] and len(unexpected) == 4
