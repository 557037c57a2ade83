"""A page in the browser: pick a person, pick or bend a pose, see the drawing. On this computer alone, without network."""
