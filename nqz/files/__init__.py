"""Matrices as files: reading and writing .npy and .safetensors, and publishing outputs whole."""
