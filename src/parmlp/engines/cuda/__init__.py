"""The engine ``cuda``: an NVIDIA GPU. Nothing of CUDA is loaded before it is asked for."""
