"""Data: files on disk -> one record type -> tensors a model trains on; and a generated data set that needs no
files.

`records` is the type everything else speaks, `coco` and `reading` fill it, `images` decodes, `transforms`
augments, `dataset` feeds a DataLoader, `scenes` (with `glyphs` and `textures`) makes data from nothing.
"""
