"""Where a solution's text may be cut into steps: one file per kind of sign.

``lines`` and ``regions`` say what must stay whole, ``headers`` and ``numbers`` read numbered steps, ``marks`` headings,
bold titles and "Case N", ``lists`` tight and bulleted lists, ``breaks`` and ``prose`` paragraphs and sentences. All
give ``cuts``; ``srl.trajectories.segment`` decides which of them serve.
"""
