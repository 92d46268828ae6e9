"""What runs inside the worker. Standard library only: the worker has nothing else.

The worker loads this folder as a package under another name (:mod:`.start`), so that importing it
there never imports the host's part of Abyme. Hence relative imports throughout.
"""
