"""`frcore doctor`: what training would use here and why, and what would be faster.

Decisions are asked of the functions that training asks (`frcore.device`, `frcore.residence`,
`frcore.splits`); what is measured is measured by training.
"""
