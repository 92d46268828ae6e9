"""What a request may cost: estimated, with as long a reply as what is left of the budget bears."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

from abyme.ledger import Account, Amount
from abyme.models.base import Model, Request
from abyme.models.estimator import TokenEstimator
from abyme.models.prices import Price
from abyme.types import Usage

MARGIN = 1.25
"""Reservations are this times the estimated input, plus the output asked for."""
LEAST_OUTPUT = 256
"""Tokens. A reply clamped to fewer by what is left of the budget is not worth asking for."""

MODEST = 1 / 16
"""The part of what a node may still spend that is kept for its last call, within the next two."""
LEAST_HELD, MOST_HELD = 512, 4_096
"""Output tokens that are kept for a last call at the least, and at the most."""


class Sizing:
    """That of one node's calls, whose account is ``account``."""

    def __init__(
        self,
        account: Account,
        estimator: TokenEstimator,
        price_of: Callable[[Model], Price | None],
    ) -> None:
        self._account = account
        self._estimator = estimator
        self._price_of = price_of

    def of(self, account: Account) -> Sizing:
        """The same for another node of the run."""
        return Sizing(account, self._estimator, self._price_of)

    def call(
        self, model: Model, request: Request, *, final: bool, calls: int, least: bool
    ) -> Amount:
        """What the request may cost, with the most output tokens that the budget bears.

        A neighbour's reservation makes a call wait, never makes its reply shorter. What other
        nodes hold does, but not below a modest reply: then the call waits for them to end.
        ``least`` and the last call take what there is beside them.
        """
        wanted, input_tokens = self._wanted(model, request)
        price = self._price_of(model)
        enough = min(wanted, LEAST_OUTPUT)
        most = self._affordable(wanted, input_tokens, price, enough, final=final)
        beside = self._outputs(input_tokens, price, final=final, alone=False)
        output = int(min(most, *beside.values()))
        if output < most:
            if not (least or final):
                enough = min(wanted, self._modest(input_tokens, price))
            output = max(output, min(most, enough))
        return _amount(input_tokens, output, calls, price)

    def last_call(self, model: Model, request: Request, *, grows: int = 0) -> Amount:
        """What is to be held for a last call like ``request``.

        By then it may have grown by so many characters (``grows``): they are held for too, as far
        as they take no more than a ``MODEST`` part of what is left.
        """
        wanted, input_tokens = self._wanted(model, request)
        price = self._price_of(model)
        output = min(wanted, self._modest(input_tokens, price))
        if grows:
            rooms = self._account.rooms(final=True)
            modest = {kind: MODEST * room for kind, room in rooms.items()}
            more = min(self._input(model, grows), modest["tokens"], modest["input_tokens"])
            if price is not None:
                more = min(more, price.input_for(modest["cost"]))
            input_tokens += int(more)
        return _amount(input_tokens, output, 1, price)

    def last_characters(self, model: Model) -> int:
        """So long the request of a last call may be that is to be made now; -1 for none.

        Beside all that is in flight and that others hold, with a reply of ``LEAST_HELD`` tokens.
        """
        price = self._price_of(model)

        def fits(characters: int) -> bool:
            outputs = self._outputs(
                self._input(model, characters), price, final=True, alone=False, in_flight=True
            )
            return min(outputs.values()) >= LEAST_HELD

        most = self._estimator.fits(model.name, model.window, model.max_output)
        return bisect_left(range(most + 1), True, key=lambda each: not fits(each)) - 1

    def entry(self, model: Model, characters: int, *, least: bool) -> tuple[Amount, Amount]:
        """What a child of ``model`` will hold, and that with its first call.

        ``characters``: how long its opening is about. ``least``: what it can do with, the
        ``LEAST_HELD`` tokens of a last reply and the ``LEAST_OUTPUT`` of a first.
        Raises :class:`BudgetExceeded` where there is not even that.
        """
        price, most = self._price_of(model), model.max_output
        input_tokens = self._input(model, characters)
        held, first = min(LEAST_HELD, most), min(LEAST_OUTPUT, most)
        wanted = held + first
        if not least:
            wanted = max(wanted, 2 * min(self._modest(input_tokens, price), most))
        both = self._affordable(wanted, 2 * input_tokens, price, held + first, who="a child")
        hold = _amount(input_tokens, max(held, both // 2), 1, price)
        return hold, _amount(2 * input_tokens, both, 2, price)

    def _wanted(self, model: Model, request: Request) -> tuple[int, int]:
        """Output tokens to ask for where nothing is scarce, and input tokens to reserve."""
        asked = request.max_tokens
        output = model.max_output if asked is None else min(asked, model.max_output)
        return output, self._input(model, request.characters)

    def _input(self, model: Model, characters: int) -> int:
        """Input tokens to reserve for a prompt of so many characters."""
        return math.ceil(MARGIN * self._estimator.tokens(model.name, characters))

    def _affordable(
        self,
        wanted: int,
        input_tokens: int,
        price: Price | None,
        least: int,
        *,
        final: bool = False,
        who: str = "this call",
    ) -> int:
        """Output tokens, ``wanted`` or fewer; raises where fewer than ``least`` are left.

        Goes by what could be left when all in flight is over, and all other nodes have ended.
        """
        rooms = self._outputs(input_tokens, price, final=final, alone=True)
        for kind, room in rooms.items():
            if room < least:
                need = f"{who} needs about {input_tokens:,} tokens in and {least:,} out"
                raise self._account.too_little(kind, need, final=final)
        return int(min(wanted, *rooms.values()))

    def _modest(self, input_tokens: int, price: Price | None) -> int:
        """Output tokens of a reply that takes a ``MODEST`` part of what the node has left."""
        rooms = self._outputs(input_tokens, price, final=True, alone=True, part=MODEST)
        return int(max(LEAST_HELD, min(MOST_HELD, *rooms.values())))

    def _outputs(
        self,
        input_tokens: int,
        price: Price | None,
        *,
        final: bool,
        alone: bool,
        in_flight: bool = False,
        part: float = 1.0,
    ) -> dict[str, float]:
        """The output tokens that there are by each kind of limit, beside those of the input."""
        rooms = self._account.rooms(final=final, alone=alone, in_flight=in_flight)
        cost = math.inf
        if price is not None:
            cost = price.output_for(part * rooms["cost"], input_tokens)
        return {
            "cost": cost,
            "tokens": part * rooms["tokens"] - input_tokens,
            "input_tokens": math.inf if input_tokens <= part * rooms["input_tokens"] else 0,
            "output_tokens": part * rooms["output_tokens"],
        }


def _amount(input_tokens: int, output: int, calls: int, price: Price | None) -> Amount:
    cost = None if price is None else price.cost(Usage(input_tokens, output))
    return Amount(input_tokens + output, cost, calls, output)
