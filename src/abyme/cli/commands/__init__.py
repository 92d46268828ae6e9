"""The commands: what each takes, and what its help says. Their bodies import what they need.

So that the command starts at once: to import these modules is to import click, and little else.
"""
