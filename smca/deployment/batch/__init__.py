"""`smca batch`: millions of images through a model on Ray Data, from a tree or Parquet into Parquet, restartable.

The source is listed once into shards of some images each (listing.py, tables.py). Workers predict shards and write
one Parquet file each (worker.py, table.py), which is also how a restart knows what is done (folder.py). An image that
kills its worker again and again is found out and noted as bad (attempts.py). command.py puts it together.
"""
