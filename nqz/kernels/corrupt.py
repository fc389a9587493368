"""Where the compiled kernels look for the error of their decoders."""

from nqz.ground.corrupt import CorruptStream as CorruptStream
