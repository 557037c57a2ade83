"""The generators that ship with the program: trained by the stages, packed, measured."""
