"""The example: a customer directory of fictitious people, world facts, unseen people and deletion requests.

Everything is drawn from a seed. Knows nothing of models.
"""

from unilogit.data.example.generate import generate_example

__all__ = ["generate_example"]
