"""Measure answers: the scores of question answering, and how sure a difference between them is."""
