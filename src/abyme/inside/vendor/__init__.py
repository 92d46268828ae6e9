"""Code of others, unchanged: a worker has the standard library alone, and no package index.

``cloudpickle.py``: that file of cloudpickle 3.1.2 (PyPI), BSD-3; ``LICENSE.cloudpickle`` beside it.
"""
