"""Both programs under everything that strangers can do to them at once; `python3 -m hostile` in tools/ runs it.

origin.py, clients.py, neighbours.py and surroundings.py hold the attacks, each a small function; honest.py is what must not
notice any of it.
"""
