"""How fast training is on the CPU: ours and the rivals', cell by cell. Run it as a module."""
