"""When is the sparse first layer faster than the dense one?"""
