"""How long who comes has to wait, where many are served at once: M/G/c by Allen and Cunneen.

Knows: formulas. Times are in one unit, whichever the caller likes.
Must not know: engines, audio, money.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Queue:
    """Who comes at random is served first come, first served, by any of `places`.

    `rate` is arrivals a unit of time (Poisson), `service` the mean time in a place, `cv` that
    time's standard deviation by its mean.
    """

    rate: float
    service: float
    cv: float
    places: int

    @property
    def utilisation(self) -> float:
        """The share of the places that is taken on the average; from 1 on the line has no end."""
        return self.rate * self.service / self.places

    @property
    def waits(self) -> float:
        """The probability of having to wait: Erlang's C formula, which holds for `cv` 1.

        By its reciprocal B formula, whose recursion adds and multiplies positive numbers alone, so
        that any number of places will do (Jagerman, Bell System Technical Journal 53, 1974).
        """
        load = self.rate * self.service
        if self.utilisation >= 1:
            return 1.0
        if not load:
            return 0.0
        inverse = 1.0
        for place in range(1, self.places + 1):
            inverse = 1.0 + inverse * place / load
        return 1.0 / (inverse * (1.0 - self.utilisation) + self.utilisation)

    @property
    def mean_wait(self) -> float:
        """Allen and Cunneen: that of M/M/c, times half of (1 + cv²).

        Allen, Probability, Statistics, and Queueing Theory, 2nd edition, 1990, section 5.3. Exact
        for one place (Pollaczek and Khinchine) and for `cv` 1; elsewhere an approximation: too
        careful where `cv` is above 1, as the tests show beside a simulation.
        """
        if self.utilisation >= 1:
            return math.inf
        free = self.places * (1.0 - self.utilisation) / self.service
        return self.waits / free * (1.0 + self.cv**2) / 2.0

    def wait(self, share: float) -> float:
        """The time within which this share of all who come are served, 0.95 for example.

        Those who wait at all are taken to wait exponentially, as they do for `cv` 1.
        """
        if self.utilisation >= 1:
            return math.inf
        waits = self.waits
        if waits <= 1.0 - share:
            return 0.0
        return self.mean_wait / waits * math.log(waits / (1.0 - share))
