"""What an evaluation leaves: numbers for programs, pictures and a card for people. No row of the data is in any."""
