"""What the stages of a job do differently: before their script, and with what has come of it."""
