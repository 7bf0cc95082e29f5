"""Published checkpoints, one reader a format, all into the same engine.

`source` finds the files (a folder or the hub), `formats` recognises what they are, a reader turns them
into a `Cocom`, and `published` reproduces what the published code does, whatever one thinks of it.
"""
