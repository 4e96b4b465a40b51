"""Expert files -> Trajectory (section 2 of docs/method.md): one short file per part of the way.

``rows`` reads files, ``fields`` picks columns, ``headers`` and ``segment`` cut solutions into steps, ``answers`` finds
final answers, ``reader`` puts them together, ``reasons`` names what is dropped.
"""
