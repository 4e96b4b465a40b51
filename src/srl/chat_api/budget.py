"""What may still be spent: a request is sent only if its highest possible price fits into what is left.

Requests under way hold back that highest price until they are answered. When nothing more fits, a request first waits
for those under way, which usually cost less than they hold back; only then is it refused.
"""

from __future__ import annotations

import asyncio


class Budget:
    """USD of one output. ``maximum`` 0 is no limit; amounts are counted all the same."""

    def __init__(self, *, maximum: float, spent: float) -> None:
        self._maximum = maximum
        self._held = 0.0
        self._spent = spent
        self._changed = asyncio.Condition()

    @property
    def spent(self) -> float:
        """USD spent, requests under way not counted."""
        return self._spent

    async def reserve(self, most: float) -> bool:
        """Hold back ``most`` USD for a request. False if that would exceed the maximum for certain."""
        if not self._maximum:
            return True
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(most) or not self._held)
            if not self._fits(most):
                return False
            self._held += most
            return True

    async def settle(self, most: float, spent: float) -> None:
        """A request that held back ``most`` has ended and cost ``spent``."""
        async with self._changed:
            self._spent += spent
            if self._maximum:
                self._held = max(0.0, self._held - most)
                if self._held < 1e-12:  # sums of floats do not come back to 0 by themselves
                    self._held = 0.0
            self._changed.notify_all()

    def _fits(self, most: float) -> bool:
        return self._spent + self._held + most <= self._maximum
