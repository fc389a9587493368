"""Objects that are not files of this machine: buckets, servers, whatever fsspec knows; read by ranges, written whole.

`nqz.files.remote.items` has a class for each way to read a range; a new one is a class, and a line of `_item` there.
fsspec is imported when an address is opened, and not before.
"""
