"""A model over HTTP: `smca serve`.

FastAPI on uvicorn with a batcher of our own, not litserve: of a batch with one bad image litserve fails every image,
it knows no limit on pixels or on waiting, its refusals are not JSON, and its `/` and `/health` are in the way.

A request goes `routes` -> `uploads` (bytes, all in memory) -> `service` (decoding, limits, time) -> `batching` ->
`engine` (the model, in one thread) and back.
"""
