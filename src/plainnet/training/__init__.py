"""Training: the user's own network, loss, optimizer and data  ->  a History.

Rooms: ``training`` (train), ``checks`` (the classic traps, caught before the first step), ``history`` (History),
``devices`` (moving to the GPU and back), ``progress`` (the progress bar).
"""
