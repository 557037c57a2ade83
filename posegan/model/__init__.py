"""The generator and the discriminator: networks, deformable skips, geometry, and the file that a generator is kept in."""
