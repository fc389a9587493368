"""Rules: what they say, of which tensors, and which of several decides."""

from __future__ import annotations

import pytest

from nqz.ground.errors import UsageError
from nqz.models.rules import EXACT, SKIP, parse, rulings

NAMES = [("enc.0.weight", True), ("enc.1.weight", True), ("head.weight", True), ("head.bias", False)]


def said(*rules):
    """What rules say of each of the names."""
    return dict(zip([name for name, _ in NAMES], rulings(rules, NAMES, "m"), strict=True))


def test_attributes_are_decided_one_by_one_by_the_last_rule_for_each():
    found = said("*.weight=3,axis:1", "enc*=coding:voronoi", "enc.1*=4.5", "head*=exact")
    assert found["enc.0.weight"].values == {"treatment": 3.0, "axis": 1, "coding": "voronoi"}
    assert found["enc.0.weight"].rules == ("*.weight=3,axis:1", "enc*=coding:voronoi")
    assert (found["enc.0.weight"].rate, found["enc.1.weight"].rate) == (3.0, 4.5)
    assert found["head.weight"].kept_as == found["head.bias"].kept_as == EXACT
    assert found["head.weight"].rate is None and not found["head.weight"].codes
    assert said("*=skip", "head*=2")["head.bias"].values == {"treatment": 2.0}
    assert said("*=skip")["enc.0.weight"].kept_as == SKIP


def test_a_rule_is_split_at_its_last_equals_sign():
    assert parse("a=b*=2").pattern == "a=b*"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weight", "PATTERN=ITEM"),
        ("=3", "PATTERN=ITEM"),
        ("a=", "'' is none of a rate, exact, skip, axis:0|1, coding:"),
        ("a=three", "'three' is none of"),
        ("a=nan", "a rate from 0.05 to 12"),
        ("a=0.01", "a rate from 0.05 to 12"),
        ("a=axis:2", "axis:0 or 1 is needed"),
        ("a=axis", "axis:0 or 1 is needed"),
        ("a=exact:1", "exact is needed"),
        ("a=coding:zip", "coding:entropy, voronoi or trellis is needed"),
        ("a=window:13", "window:12, 14 or 16 is needed"),
        ("a=3,4", "'4' contradicts"),
        ("a=3,exact", "'exact' contradicts"),
        ("a=axis:1,axis:0", "'axis:0' contradicts"),
        ("a=exact,axis:1", "'exact' goes with nothing else"),
        ("a=coding:entropy,skip", "'skip' goes with nothing else"),
    ],
)
def test_what_is_malformed_is_refused_with_the_rule(text, message):
    with pytest.raises(UsageError) as error:
        parse(text)
    assert f"rule {text!r}" in str(error.value) and message in str(error.value)


def test_rules_that_take_nothing_are_refused():
    with pytest.raises(UsageError, match=r"m: rule 'x\*=3': no tensor is called 'x\*'"):
        said("x*=3")
    with pytest.raises(UsageError, match="takes no matrix"):
        said("*.bias=3")
    assert said("*.bias=exact")["head.bias"].kept_as == EXACT
