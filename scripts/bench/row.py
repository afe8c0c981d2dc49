"""A line of the table, and how it is judged."""

import statistics


class Row:
    """One line of the table. `ours` and `peers` are by round; the ratio is the median of the ratios of the rounds."""

    def __init__(self, what, target, unit, ours, peers=None, bound=None, notes="", details=None, judged=statistics.median):
        self.what, self.target, self.unit, self.ours, self.peers = what, target, unit, ours, peers
        self.ratios = [our / peer for our, peer in zip(ours, peers)] if peers else None
        self.short_percent = bound(judged(self.ratios if peers else ours)) if bound else None
        self.notes, self.details = notes, details or {}

    def as_json(self):
        return vars(self)


def at_least(bound):
    """By how much less a measure is, in percent of the bound; 0 for none."""
    return lambda measured: max(0, 100 * (bound - measured) / bound)


def at_most(bound):
    """By how much more a measure is, in percent of the bound; 0 for none."""
    return lambda measured: max(0, 100 * (measured - bound) / max(bound, 1))


def medians(rounds):
    """Of each name over the rounds."""
    return {name: round(statistics.median(one.get(name, 0) for one in rounds), 2) for name in rounds[0]}
