"""Fixtures that several test files share."""

from __future__ import annotations

import pytest

from nqz import kernels

NATIVE = [name for name in kernels.implementations() if name != "reference"]


@pytest.fixture(params=NATIVE or ["reference"])
def native(request):
    """Every build of the native kernels that runs here (the reference itself where none was built)."""
    return kernels.implementations()[request.param]
