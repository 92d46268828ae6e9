"""What a run may still spend: reserved before a call goes out, settled when its reply is in.

Every node of the recursion has an :class:`Account`; a child's stands below its parent's. Of each
kind (calls, tokens, input tokens, output tokens, US dollars) an account knows four sums, its own
and those of all below it together:

- What is *settled* was spent. What is *reserved* may yet be spent by calls in flight. What is
  *held* is kept back for last calls, one for each node that is at work.
- ``settled + reserved + held`` passes no limit of an account or of any above it, by a reservation
  or by holding. It can by an actual that turned out larger than its reservation: what was spent is
  spent, and is counted in full. Then :meth:`Account.overrun` tells.
- What is held by *other* nodes is in the way of a call only as long as they go on: it waits for
  their end, as it waits for calls in flight (:mod:`abyme.ledger.queue`,
  :mod:`abyme.ledger.tree`).
- An unknown price is unknown. It is reported as ``None``, never as 0, and the dollar limit cannot
  bind for such a call.
- Dollars are kept as whole nano-dollars, so that a million small sums come back to exactly zero.

Not safe across threads: a tree of accounts belongs to one event loop.
"""

from abyme.ledger.account import Account
from abyme.ledger.amounts import Amount, Spent
from abyme.ledger.reservation import Reservation

__all__ = ["Account", "Amount", "Reservation", "Spent"]
