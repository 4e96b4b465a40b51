"""Problems that training data share with benchmarks, and near-duplicates inside it.

``text`` brings a problem into a normal form, ``sources`` reads the problems of a file, ``index`` finds a problem among
those of the benchmarks, ``duplicates`` among the earlier ones of the same pass, ``command`` is ``srl overlap``.
"""
