"""The layouts of data sets, one file each: which clips there are, and how their labels are read.

A layout is a module with ``clips(root, layout)``, which returns the clips of the data set in the folder ``root``, and
one line in ``vadistill.settings.LAYOUTS``. At its top it imports nothing but the standard library.
"""
