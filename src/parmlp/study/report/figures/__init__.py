"""The figures of the report; each module draws those of one part of it."""
