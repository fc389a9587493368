"""`nqz report` and `nqz.report`: where pages go, what they are of, and what is refused."""

from __future__ import annotations

import json
import shlex
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

import nqz
from cli_tools import fail, invoke, listing, matrix, save, succeed
from page_tools import EVIL, Parsed, model


@pytest.fixture
def files(tmp_path, monkeypatch, capsys):
    """Two containers that can be multiplied, and what they were made from, in the current folder."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.npy", matrix(128, 40))
    save(tmp_path / "b.npy", matrix(128, 24, seed=1))
    for name in ("a", "b"):
        succeed(capsys, "encode", f"{name}.npy", "-r", "3", "-q")
    return tmp_path


def test_a_page_is_written_beside_its_file_or_where_it_is_wanted(files, capsys):
    result = succeed(capsys, "report", "a.nqz")
    page = (files / "a.html").read_text()
    assert result.err == f"nqz: a.nqz -> a.html: {len(page.encode())} bytes\n" and result.out == ""
    assert succeed(capsys, "report", "a.nqz", "-o", "-", "-q").out == page
    assert "exists already" in fail(capsys, 9, "report", "a.nqz")
    succeed(capsys, "report", "a.nqz", "-f", "-q")
    assert (files / "a.html").read_text() == page == nqz.report("a.nqz")
    (files / "elsewhere").mkdir()
    shutil.copy("a.nqz", "elsewhere/a.nqz")
    assert nqz.report(files / "elsewhere" / "a.nqz") == page  # the name counts, the folder does not
    succeed(capsys, "report", "a.nqz", "-o", "card.md", "-q")
    assert (files / "card.md").read_text() == nqz.report("a.nqz", format="md")
    assert (files / "card.md").read_text() == succeed(
        capsys, "report", "a.nqz", "--format", "md", "-o", "-"
    ).out
    succeed(capsys, "report", "a.nqz", "b.nqz", "-q")
    assert (files / "a-b.html").exists()


def test_the_command_in_a_page_makes_it(files, capsys):
    shutil.copy("a.nqz", "-a b.nqz")
    for words in (["a.nqz"], ["./-a b.nqz", "--against", "a.npy"], ["a.nqz", "b.npy", "--axis-b", "0"]):
        page = succeed(capsys, "report", *words, "-o", "-").out
        (command,) = Parsed(page).text["code"][:1]
        assert succeed(capsys, *shlex.split(command)[1:], "-o", "-").out == page


def test_a_measured_page_has_the_status_of_verify(files, capsys):
    page = succeed(capsys, "report", "a.nqz", "--against", "a.npy", "-o", "-").out
    assert "Measured against its original" in page and page == nqz.report("a.nqz", against="a.npy")
    save(files / "other.npy", matrix(128, 40, seed=9))
    result = invoke(capsys, "report", "a.nqz", "--against", "other.npy", "-o", "bad.html")
    assert result.code == 8 and "error" in result.err
    assert "1 of 1 tensor is not as expected" in (files / "bad.html").read_text()


def test_a_measured_page_has_what_is_above_a_limit_of_ones_own(files, capsys):
    (one,) = nqz.verify("a.nqz", "a.npy")["tensors"]
    loose, tight = 1.01 * one["measured"], 0.99 * one["measured"]
    page = succeed(capsys, "report", "a.nqz", "--against", "a.npy", "--max-error", loose, "-o", "-").out
    assert page == nqz.report("a.nqz", against="a.npy", max_error=loose, check=True)
    assert "Measured against its original" in page
    result = invoke(capsys, "report", "a.nqz", "--against", "a.npy", "--max-error", tight, "-o", "far.html")
    assert result.code == 8 and "at most is wanted" in result.err
    page = (files / "far.html").read_text()
    assert page == nqz.report("a.nqz", against="a.npy", max_error=tight)
    assert "1 of 1 tensor is not as expected" in page and "at most is wanted" in page
    (command,) = Parsed(page).text["code"][:1]
    assert f"--max-error {tight!r}" in command
    again = invoke(capsys, *shlex.split(command)[1:], "-o", "-")
    assert again.code == 8 and again.out == page
    with pytest.raises(nqz.VerifyError, match="at most is wanted"):
        nqz.report("a.nqz", to="raised.html", against="a.npy", max_error=tight, check=True)
    assert (files / "raised.html").read_text() == page
    assert "--against" in fail(capsys, 2, "report", "a.nqz", "--max-error", "1", "-o", "-")
    with pytest.raises(nqz.UsageError, match="max_error"):
        nqz.report("a.nqz", max_error=1)


def test_a_page_of_a_product_has_what_matmul_says(files, capsys):
    page = succeed(capsys, "report", "a.nqz", "b.nqz", "-o", "-").out
    expected = 100 * nqz.predicted_error("a.nqz", "b.nqz") ** 0.5
    assert f"is expected to be {expected:.1f} % off" in page and "40 × 24" in page
    assert page == nqz.report("a.nqz", "b.nqz")
    plain = succeed(capsys, "report", "a.nqz", "b.npy", "-o", "-").out
    assert f"{100 * nqz.predicted_error('a.nqz', 'b.npy') ** 0.5:.1f} %" in plain
    assert "40 × 24" in nqz.report("a.nqz", np.load("b.npy")) and "one matrix" in nqz.report("a.nqz", "a.nqz")
    save_file({"x": matrix(128, 8), "y": matrix(128, 9)}, "m.safetensors")
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    chosen = succeed(capsys, "report", "m.nqz", "a.nqz", "--tensor-a", "y", "-o", "-").out
    assert "9 × 40" in chosen and chosen == nqz.report("m.nqz", "a.nqz", tensor_a="y")
    both = nqz.report("m.nqz", "m.nqz", format="md")
    assert both.count("| x | x |") == both.count("| y | y |") == 1


def test_a_model_has_one_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MODEL").mkdir()
    save_file({"w": matrix(64, 40)}, "MODEL/model-00001-of-00002.safetensors")
    save_file({EVIL: matrix(64, 30)}, "MODEL/model-00002-of-00002.safetensors")
    succeed(capsys, "encode", "MODEL", "-r", "3", "-q")
    succeed(capsys, "report", "MODEL-nqz/", "--against", "MODEL", "-q")
    page = (tmp_path / "MODEL-nqz.html").read_text()
    parsed = Parsed(page)
    assert {"w", EVIL} <= set(parsed.text["bdi"]) and "model-00001-of-00002.nqz" in parsed.text["dd"]
    assert page == nqz.report("MODEL-nqz", against="MODEL")
    monkeypatch.chdir(tmp_path / "MODEL-nqz")
    assert "MODEL-nqz" in Parsed(nqz.report(".")).text["title"][0]


def test_what_does_not_go_together_is_refused_before_work(files, capsys):
    assert "two files are given" in fail(capsys, 2, "report", "a.nqz", "b.nqz", "--against", "a.npy")
    assert "needs a second file" in fail(capsys, 2, "report", "a.nqz", "--tensor-a", "x")
    assert "must be .html or .md" in fail(capsys, 2, "report", "a.nqz", "-o", "a.txt")
    assert "name it .md" in fail(capsys, 2, "report", "a.nqz", "-o", "a.html", "--format", "md")
    assert "compress it first" in fail(capsys, 4, "report", "a.npy")
    assert "neither is compressed" in fail(capsys, 7, "report", "a.npy", "b.npy")
    assert "same file as an input" in fail(
        capsys, 9, "report", "a.nqz", "-o", "a.nqz", "--format", "md", "-f"
    )
    assert "not both" in fail(capsys, 2, "report", "-", "-")
    with open("a.nqz", "r+b") as file:
        file.truncate(300)
    fail(capsys, 5, "report", "a.nqz")
    assert listing(files) == ["a.npy", "a.nqz", "b.npy", "b.nqz"]
    with pytest.raises(nqz.UsageError, match="needs a second file"):
        nqz.report("b.nqz", axis_a=1)
    with pytest.raises(nqz.UsageError, match="'html' or 'md' is needed"):
        nqz.report("b.nqz", format="pdf")


def test_pages_of_what_is_in_memory(files):
    data = nqz.encode(model(), rate=3)
    page = nqz.report(data, against=model())
    assert "Measured against its original" in page and "code" not in Parsed(page).text
    assert nqz.report(data, to="page.md", against=model()) is None
    assert (files / "page.md").read_text().startswith("## Compression")
    with nqz.open(data) as container:
        assert Parsed(nqz.report(container)).all("tr", class_="m")


def test_dropped_vectors_are_counted_in_inspect(files, capsys):
    tensors = model()
    save_file(tensors, "m.safetensors")
    succeed(capsys, "encode", "m.safetensors", "-r", "3", "-q")
    found = {
        one["name"]: one for one in json.loads(succeed(capsys, "inspect", "m.nqz", "--json").out)["tensors"]
    }
    assert (
        found["quiet"]["dropped"] == 20
        and found["plain"]["dropped"] == 0
        and found["bias"]["dropped"] is None
    )


def test_addresses_are_shown_without_what_opens_them():
    from nqz.commands.report import called, command_line

    address = "https://user:secret@host/a b.nqz?signature=secret"
    assert called(address) == "a b.nqz"
    assert command_line([address], address, None, {}) == (
        "nqz report 'https://host/a b.nqz' --against 'https://host/a b.nqz'"
    )


def test_a_part_set_has_a_page_and_so_has_a_product_of_two(files, capsys):
    for name in ("a", "b"):
        nqz.encode_set(f"{name}.npy", f"{name}s.nqzset", rate=6, parts=(2, 1))
    succeed(capsys, "report", "as.nqzset", "--against", "a.npy", "-q")
    page = (files / "as.html").read_text()
    rows = {name for name in Parsed(page).text["bdi"] if name.startswith("as-")}
    assert len(rows) == 2 and page == nqz.report("as.nqzset", against="a.npy")
    expected = 100 * nqz.predicted_error("as.nqzset", "bs.nqzset") ** 0.5
    assert f"is expected to be {expected:.1f} % off" in nqz.report("as.nqzset", "bs.nqzset")
