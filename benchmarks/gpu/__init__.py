"""Steps a second on a GPU, beside PyTorch and JAX at equal precision. See README.md."""
