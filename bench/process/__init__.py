"""Processes of a run: started, watched, stopped; and the machine they run on."""
