"""The Python interface: encode arrays, open containers, decode, multiply, and say what error to expect."""

from __future__ import annotations

# The command line loads these when it needs them. Here nothing may be imported later, while threads are at work:
# a child forked at that moment would find the module locked, for ever.
import concurrent.futures.thread  # noqa: F401  isort: skip
import difflib  # noqa: F401
import tempfile  # noqa: F401

import msgpack  # noqa: F401
import threadpoolctl  # noqa: F401
import zstandard  # noqa: F401

from nqz import kernels as _kernels
from nqz.api.container import Container, open
from nqz.api.decoding import decode
from nqz.api.encoding import encode
from nqz.api.exact import ExactTensor
from nqz.api.matrix import CompressedMatrix
from nqz.api.pages import diff, report
from nqz.api.products import matmul, predicted_error, predicted_sigma
from nqz.api.reports import compare, inspect, plan_product, sweep, verify
from nqz.api.resident import ResidentOperand
from nqz.api.search import topk
from nqz.api.sets import encode_set
from nqz.api.sliced import SlicedTensor
from nqz.commands import beside as _beside  # noqa: F401
from nqz.commands.elsewhere import code as _code  # noqa: F401
from nqz.commands.elsewhere import verify as _verify  # noqa: F401
from nqz.commands.sets import verify as _set  # noqa: F401
from nqz.files import unzip as _unzip  # noqa: F401
from nqz.ground import copies as _copies  # noqa: F401
from nqz.models import config as _config  # noqa: F401

_kernels.load()

__all__ = [
    "CompressedMatrix",
    "Container",
    "ExactTensor",
    "ResidentOperand",
    "SlicedTensor",
    "compare",
    "decode",
    "diff",
    "encode",
    "encode_set",
    "inspect",
    "matmul",
    "open",
    "plan_product",
    "predicted_error",
    "predicted_sigma",
    "report",
    "sweep",
    "topk",
    "verify",
]
