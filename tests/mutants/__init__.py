"""Mistakes of one line in the core, one after another: are there tests that notice?"""
