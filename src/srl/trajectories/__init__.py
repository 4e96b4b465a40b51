"""Expert files -> Trajectory (section 2 of docs/method.md): one short file per part of the way.

``rows`` reads sources of every kind as rows, ``formats`` names what a row can be, ``solutions`` and ``agents`` read
each format, ``segment`` and ``segmentation`` cut written solutions into steps, ``fields`` and ``answers`` pick columns
and final answers, ``reader`` puts them together, ``reasons`` names what is dropped.
"""
