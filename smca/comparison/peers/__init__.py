"""The other detectors of the paper's tables, one file each, as models of type "smca-peer" (registration.py makes
transformers know them).
"""
