"""What happens when a core is busy, or threads are more than cores?"""
