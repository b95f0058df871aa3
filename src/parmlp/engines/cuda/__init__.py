"""The engine ``cuda``: training on an NVIDIA GPU. Nothing of CUDA is loaded before it is asked for."""
