"""Packs: an encoded table  ->  many plain networks, trained at once, voting. Rooms: packs, members, voting, selection."""
