"""Telling others that a job has ended: where to, in which words, by which connection.

Jobs write down what is to be told (`server/jobs/outbox.py`) and say when it is sent.
"""
