"""Does training on the real data reach the accuracy that is published?"""
