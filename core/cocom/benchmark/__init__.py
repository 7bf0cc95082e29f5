"""Speed, measured: compressing and answering beside text and beside the straightforward way."""
