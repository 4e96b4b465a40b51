"""``srl decompose``: expert files -> shards of step examples, on all cores, in flat memory.

``worker`` turns one unit of input into records, ``parallel`` runs the units on several processes in order, ``filters``
drops what repeats an earlier record, ``shards`` writes, ``summary`` counts and shows, ``run`` puts them together.
"""
